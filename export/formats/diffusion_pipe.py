"""diffusion-pipe: paired folders, and dataset.toml with an entry for each folder."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from export.format import Content, Guide
from export.layouts.image_files import MaskChoice, mask_of
from export.layouts.paired import PairedFormat, pair_folders, put_pair, quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from export.exported import Exported
    from export.layouts.paired import PairFolder
    from export.rows import Row
    from export.shard_folder import ShardFolder

CONFIG = "dataset.toml"
USAGE = """\
Name `dataset.toml` as the `dataset` of a training file of diffusion-pipe, such as `examples/main_example.toml`, and
change resolutions and buckets in it to your needs:

```bash
deepspeed --num_gpus=1 train.py --deepspeed --config my_training.toml
```

Entries with `control_paths` are for models that take several images, and need a version of diffusion-pipe that reads
it (a3f2362 does). The loss counts where a mask is white; an image without a mask is trained on whole. diffusion-pipe
writes its cache into the folders of targets."""


class DiffusionPipe(PairedFormat):
    """Targets with captions, ordered control folders, masks that are white where the loss counts."""

    name: ClassVar = "diffusion-pipe"
    version: ClassVar = 1
    reader: ClassVar = "diffusion-pipe (`path`, `control_path` or `control_paths`, `mask_path` of a directory)"
    source: ClassVar = (
        "tdrussell/diffusion-pipe `utils/dataset.py` at 0784ca8, `examples/flux_kontext_dataset.toml` at a3f2362"
    )
    carries: ClassVar = {
        Content.SOURCES: "`control_paths`, in their order",
        Content.MASK: "`mask_path`: white where the loss counts",
        Content.IDS: "the name of the files",
    }

    mask: MaskChoice = "first"
    """The column of the mask; `first` is region_mask_png where a row has it, else source_mask_png."""
    resolutions: tuple[int, ...] = Field(default=(1024,), min_length=1)
    """Sides of squares with as many pixels as images are scaled to."""

    @contextmanager
    def open(self, shard: ShardFolder) -> Iterator[Callable[[Row], None]]:
        """Write a row's images, caption and mask."""

        def add(row: Row) -> None:
            images = [row.image("target_image"), *row.images("source_images")]
            put_pair(shard, row, images, row.text(self.caption), mask_of(row, self.mask, shard))

        yield add

    def finish(self, export: Exported) -> Guide:
        """Write the dataset's file of settings."""
        sides = ", ".join(map(str, self.resolutions))
        head = (
            f"resolutions = [{sides}]\nenable_ar_bucket = true\nmin_ar = 0.5\nmax_ar = 2.0\nnum_ar_buckets = 7\n"
            "frame_buckets = [1]\n"
        )
        begin, masked = self.begin(export), set(export.folders())
        entries = (self._entry(begin, folder, has_masks=folder.mask in masked) for folder in pair_folders(export))
        export.write(CONFIG, "".join([head, *entries]))
        return Guide(usage=USAGE, files={CONFIG: "an entry a folder, for `dataset` of a training file"})

    def _entry(self, begin: str, folder: PairFolder, *, has_masks: bool) -> str:
        lines = ["", "[[directory]]", f"path = {quoted(f'{begin}/{folder.target}')}"]
        controls = [quoted(f"{begin}/{source}") for source in folder.sources]
        lines += [f"control_path = {controls[0]}" if len(controls) == 1 else f"control_paths = [{', '.join(controls)}]"]
        lines += [f"mask_path = {quoted(f'{begin}/{folder.mask}')}"] if has_masks else []
        return "\n".join([*lines, "num_repeats = 1", ""])
