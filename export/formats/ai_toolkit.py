"""ai-toolkit: paired folders, and datasets.yaml with an entry for each folder."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

from export.format import Content, Guide
from export.layouts.encodings import white_mask
from export.layouts.image_files import MaskChoice, mask_of
from export.layouts.paired import PairedFormat, images_of, pair_folders, put_pair, quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from export.exported import Exported
    from export.layouts.paired import PairFolder
    from export.rows import Row
    from export.shard_folder import ShardFolder

CONFIG = "datasets.yaml"
MOST_SOURCES = 3
USAGE = """\
Copy the entries of `datasets.yaml` under `config.process[0].datasets` of a training file of ai-toolkit, such as
`config/examples/train_lora_qwen_image_edit_2509_32gb.yaml`, and set `resolution` in them:

```bash
python run.py config/my_training.yaml
```

The loss counts where a mask is white. A row without a mask has one that is white everywhere: for an image without a
mask ai-toolkit takes a black one, once another image of the batch has a mask."""


class AiToolkit(PairedFormat):
    """Targets with captions, up to three control folders, masks that are white where the loss counts."""

    name: ClassVar = "ai-toolkit"
    version: ClassVar = 1
    reader: ClassVar = "ai-toolkit (`control_path`, `mask_path` of a dataset)"
    source: ClassVar = (
        "ostris/ai-toolkit `toolkit/data_loader.py` at 008a1f6 and `toolkit/dataloader_mixins.py` (2026-08)"
    )
    carries: ClassVar = {
        Content.SOURCES: "`control_path` with up to three folders; rows with more are left out",
        Content.MASK: "`mask_path`: white where the loss counts",
        Content.IDS: "the name of the files",
    }

    mask: MaskChoice = "first"
    """The column of the mask; `first` is region_mask_png where a row has it, else source_mask_png."""

    @contextmanager
    def open(self, shard: ShardFolder) -> Iterator[Callable[[Row], None]]:
        """Write a row's images, caption and mask."""

        def add(row: Row) -> None:
            images = images_of(row, MOST_SOURCES, self.name)
            mask = None if self.mask is None else mask_of(row, self.mask, shard) or white_mask(images[0])
            put_pair(shard, row, images, row.text(self.caption), mask)

        yield add

    def finish(self, export: Exported) -> Guide:
        """Write the entries for a training file."""
        begin = self.begin(export)
        entries = "".join(self._entry(begin, folder) for folder in pair_folders(export))
        export.write(CONFIG, f"datasets:\n{entries}")
        return Guide(usage=USAGE, files={CONFIG: "an entry a folder, for a training file of ai-toolkit"})

    def _entry(self, begin: str, folder: PairFolder) -> str:
        controls = [quoted(f"{begin}/{source}") for source in folder.sources]
        control = controls[0] if len(controls) == 1 else f"[{', '.join(controls)}]"
        lines = [f"  - folder_path: {quoted(f'{begin}/{folder.target}')}", f"    control_path: {control}"]
        lines += [f"    mask_path: {quoted(f'{begin}/{folder.mask}')}"] if self.mask is not None else []
        return "\n".join([*lines, '    caption_ext: "txt"', ""])
