"""Hugging Face `imagefolder`: image files and metadata.jsonl, which lists every one of them."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

from export.format import Content, Format, Guide
from export.layouts.image_files import MaskChoice, mask_of, one_source, put_image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from export.exported import Exported
    from export.rows import Row
    from export.shard_folder import ShardFolder

METADATA = "metadata.jsonl"
USAGE = """\
```python
from datasets import load_dataset

pairs = load_dataset("imagefolder", data_dir="EXPORT", split="train")
pairs[0]["input_image"], pairs[0]["edit_prompt"], pairs[0]["edited_image"]
```

```bash
accelerate launch examples/instruct_pix2pix/train_instruct_pix2pix.py --train_data_dir EXPORT \\
  --original_image_column input_image --edit_prompt_column edit_prompt --edited_image_column edited_image …
```

with this folder for `EXPORT`. Put no other image into the folder: `datasets` wants each one to be listed."""


class ImageFolder(Format):
    """A line a pair. Columns whose name ends in `_file_name` are images when they are loaded."""

    name: ClassVar = "imagefolder"
    version: ClassVar = 1
    reader: ClassVar = "`datasets` of Hugging Face, and diffusers' scripts with `--train_data_dir`"
    source: ClassVar = "huggingface/datasets `src/datasets/packaged_modules/folder_based_builder` of version 5.2"
    carries: ClassVar = {
        Content.MASK: "`mask_file_name`, or none",
        Content.CAPTIONS: "`source_caption`, `target_caption`",
        Content.REVERSE: "`reverse_instruction`",
        Content.EDIT_TYPE: "`edit_type`",
        Content.TURNS: "`session_id`, `turn`",
        Content.IDS: "`sample_id`",
    }

    mask: MaskChoice = "first"
    """The column of the mask; `first` is region_mask_png where a row has it, else source_mask_png."""

    @contextmanager
    def open(self, shard: ShardFolder) -> Iterator[Callable[[Row], None]]:
        """Write a row's images and its line."""
        with shard.lines(METADATA) as lines:

            def add(row: Row) -> None:
                source = one_source(row, "a line names one; the format huggingface takes several")
                source_path = put_image(shard, "source", row, source)
                target = put_image(shard, "target", row, row.image("target_image"))
                mask, turn = mask_of(row, self.mask, shard), row.light.get("turn")
                lines.add({
                    "input_image_file_name": source_path, "edit_prompt": row.text(self.caption),
                    "edited_image_file_name": target,
                    "mask_file_name": None if mask is None else put_image(shard, "mask", row, mask),
                    **{name: row.text(name) for name in ("source_caption", "target_caption", "reverse_instruction",
                                                         "edit_type", "session_id")},
                    "turn": turn if isinstance(turn, int) else None, "sample_id": row.sample_id,
                })  # fmt: skip

            yield add

    def finish(self, export: Exported) -> Guide:
        """Join the lines."""
        export.join(METADATA)
        return Guide(usage=USAGE, files={METADATA: "a line a row: image files, text and other texts"})
