"""UltraEdit's training scripts: train.jsonl with source image, edited image, prompt and mask, beside image files."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

from export.format import Content, Guide
from export.layouts.image_files import MaskChoice, mask_of, one_source, put_image
from export.layouts.lines import START, LinesFormat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from export.exported import Exported
    from export.rows import Row
    from export.shard_folder import ShardFolder

LINES = "train.jsonl"
NO_MASK = "NONE"
USAGE = f"""\
Name `train.jsonl` in the training command of UltraEdit; `--do_mask` is for the second stage, on rows with masks:

```bash
accelerate launch training/train_sd3_pix2pix.py --train_data_jsonl train.jsonl --do_mask …
```

A mask is white where the edit may change the image. A row without one has `{NO_MASK}`, which the script reads as white
everywhere. {START}"""


class UltraEditJsonl(LinesFormat):
    """A line a pair."""

    name: ClassVar = "ultraedit-jsonl"
    version: ClassVar = 1
    reader: ClassVar = "UltraEdit's scripts (`--train_data_jsonl`)"
    source: ClassVar = "HaozheZhao/UltraEdit `traning/train_sd3_pix2pix.py` at 1af5f04"
    carries: ClassVar = {
        Content.MASK: f"`mask_image`, or `{NO_MASK}`",
        Content.IDS: "the name of the image files",
    }

    mask: MaskChoice = "first"
    """The column of the mask; `first` is region_mask_png where a row has it, else source_mask_png."""

    @contextmanager
    def open(self, shard: ShardFolder) -> Iterator[Callable[[Row], None]]:
        """Write a row's images and its line."""
        with shard.lines(LINES) as lines:

            def add(row: Row) -> None:
                source = put_image(shard, "source", row, one_source(row, "the scripts take one"))
                target = put_image(shard, "target", row, row.image("target_image"))
                mask = mask_of(row, self.mask, shard)
                placed = NO_MASK if mask is None else self.placed(put_image(shard, "mask", row, mask))
                lines.add({
                    "source_image": self.placed(source), "edited_image": self.placed(target),
                    "edit_prompt": row.text(self.caption), "mask_image": placed,
                })  # fmt: skip

            yield add

    def finish(self, export: Exported) -> Guide:
        """Join the lines."""
        export.join(LINES)
        return Guide(usage=USAGE, files={LINES: "a line a row"})
