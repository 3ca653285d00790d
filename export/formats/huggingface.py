"""Hugging Face `datasets`: Parquet files with image columns, in the order that InstructPix2Pix's script reads."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

from export.format import Content, Format
from export.layouts.image_files import MaskChoice, mask_of
from export.layouts.tables import IMAGE, light_types, light_values, open_table, stored, table_guide

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from export.exported import Exported
    from export.format import Guide
    from export.rows import Row
    from export.shard_folder import ShardFolder

USAGE = """\
```python
from datasets import load_dataset

pairs = load_dataset("EXPORT", split="SPLIT")
pairs[0]["input_image"], pairs[0]["edit_prompt"], pairs[0]["edited_image"]
```

The first three columns are in the order in which diffusers' script takes them where no name is given:

```bash
accelerate launch examples/instruct_pix2pix/train_instruct_pix2pix.py --dataset_name EXPORT \\
  --original_image_column input_image --edit_prompt_column edit_prompt --edited_image_column edited_image …
accelerate launch examples/dreambooth/train_dreambooth_lora_flux_kontext.py --dataset_name EXPORT \\
  --image_column edited_image --cond_image_column input_image --caption_column edit_prompt …
```

with this folder for `EXPORT`. The script for Kontext holds all images in memory: give it part of a large dataset.
`further_images` has the source images after the first."""
TEXTS = ("source_caption", "target_caption", "reverse_instruction", "edit_type", "instruction")
"""Columns that come before the others, and alone where the dataset has no samples.parquet."""


class HuggingFace(Format):
    """A row a pair: the two images, the text, the mask, then every other column of the dataset."""

    name: ClassVar = "huggingface"
    version: ClassVar = 1
    reader: ClassVar = "`datasets` of Hugging Face, and diffusers' scripts"
    source: ClassVar = "huggingface/diffusers `examples/instruct_pix2pix/train_instruct_pix2pix.py` at 000280f"
    carries: ClassVar = {
        Content.SOURCES: "the first in `input_image`, the others in `further_images`",
        Content.MASK: "`mask`, white inside, or none",
        Content.CAPTIONS: "`source_caption`, `target_caption`",
        Content.REVERSE: "`reverse_instruction`",
        Content.EDIT_TYPE: "`edit_type`",
        Content.SCORES: "columns of the same names",
        Content.TURNS: "`session_id`, `turn`",
        Content.IDS: "`sample_id`",
    }

    mask: MaskChoice = "first"
    """The column of the mask; `first` is region_mask_png where a row has it, else source_mask_png."""

    @contextmanager
    def open(self, shard: ShardFolder) -> Iterator[Callable[[Row], None]]:
        """Write a row of the shard's table."""
        import pyarrow as pa

        texts = [name for name in TEXTS if name in shard.columns or not shard.columns]
        light = [*texts, *(name for name in shard.columns if name not in texts)]
        columns = {
            "input_image": IMAGE, "edit_prompt": pa.string(), "edited_image": IMAGE, "mask": IMAGE,
            "further_images": [IMAGE], "sample_id": pa.string(), **light_types(light),
        }  # fmt: skip
        with open_table(shard, columns) as table:

            def add(row: Row) -> None:
                sources, target = row.images("source_images"), row.image("target_image")
                mask = mask_of(row, self.mask, shard)
                images = [*sources, target, *([] if mask is None else [mask])]
                values = {
                    "input_image": stored(sources[0], row), "edit_prompt": row.text(self.caption),
                    "edited_image": stored(target, row), "mask": None if mask is None else stored(mask, row),
                    "further_images": [stored(one, row) for one in sources[1:]], "sample_id": row.sample_id,
                }  # fmt: skip
                table.add({**values, **light_values(row, light)}, sum(len(one.content) for one in images))

            yield add

    def finish(self, export: Exported) -> Guide:
        """Name the files of the split, for the card's head."""
        split = re.sub(r"\W", "_", export.split) or "train"
        return table_guide(USAGE.replace("SPLIT", split), split=split, tags="\ntags:\n- image-editing\n- editloom")
