"""musubi-tuner: paired folders, and dataset.toml with an entry for each folder."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from export.format import Content, Guide
from export.layouts.paired import SOURCE, TARGET, PairedFormat, group_of, pair_folders, put_target, quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from export.exported import Exported
    from export.rows import Row
    from export.shard_folder import ShardFolder

CONFIG = "dataset.toml"
USAGE = """\
Cache latents and texts, then train, with the scripts of the model, such as those of Qwen-Image-Edit:

```bash
python src/musubi_tuner/qwen_image_cache_latents.py --dataset_config EXPORT/dataset.toml --edit_plus --vae VAE
python src/musubi_tuner/qwen_image_cache_text_encoder_outputs.py --dataset_config EXPORT/dataset.toml --edit_plus \\
  --text_encoder TEXT_ENCODER
accelerate launch src/musubi_tuner/qwen_image_train_network.py --dataset_config EXPORT/dataset.toml --edit_plus …
```

with this folder for `EXPORT`. FLUX.1 Kontext takes one control image: leave out the folders of `2-sources/` and more.
By default musubi-tuner scales control images to the size of the target; `no_resize_control = true` keeps theirs."""


class MusubiTuner(PairedFormat):
    """Targets with captions, and a folder of control images, numbered where a row has several."""

    name: ClassVar = "musubi-tuner"
    version: ClassVar = 1
    reader: ClassVar = "musubi-tuner (`image_directory`, `control_directory` of a dataset)"
    source: ClassVar = (
        "kohya-ss/musubi-tuner `docs/dataset_config.md` at 01d5904 and `src/musubi_tuner/dataset/datasources.py` at "
        "00bd97a"
    )
    carries: ClassVar = {
        Content.SOURCES: "`<sample_id>_0`, `<sample_id>_1` … in one control folder",
        Content.IDS: "the name of the files",
    }

    resolution: tuple[int, int] = (1024, 1024)
    """Width and height that the trainer's buckets are made of."""
    batch_size: int = Field(default=1, ge=1)
    """Batch size in the trainer's file."""

    @contextmanager
    def open(self, shard: ShardFolder) -> Iterator[Callable[[Row], None]]:
        """Write a row's images and caption."""

        def add(row: Row) -> None:
            sources = row.images("source_images")
            group = group_of(len(sources))
            for number, source in enumerate(sources):
                numbered = row.sample_id if len(sources) == 1 else f"{row.sample_id}_{number}"
                shard.put(f"{group}{SOURCE}/{shard.folder}/{numbered}.{source.suffix}", source.content)
            place = f"{group}{TARGET}/{shard.folder}/{row.sample_id}"
            put_target(shard, place, row.image("target_image"), row.text(self.caption))

        yield add

    def finish(self, export: Exported) -> Guide:
        """Write the dataset's file of settings."""
        begin = self.begin(export)
        general = (
            f"[general]\nresolution = [{self.resolution[0]}, {self.resolution[1]}]\nbatch_size = {self.batch_size}\n"
            'caption_extension = ".txt"\nenable_bucket = true\n'
        )
        entries = (
            f"\n[[datasets]]\nimage_directory = {quoted(f'{begin}/{folder.target}')}\n"
            f"control_directory = {quoted(f'{begin}/{folder.sources[0]}')}\n"
            f"cache_directory = {quoted(f'{begin}/cache/{folder.group}{folder.name}')}\n"
            for folder in pair_folders(export)
        )
        export.write(CONFIG, "".join([general, *entries]))
        return Guide(usage=USAGE, files={CONFIG: "an entry a folder, for `--dataset_config`"})
