"""UltraEdit's published tables: Parquet with its names of columns."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

from export.format import Content, Format
from export.layouts.image_files import MaskChoice, mask_of, one_source
from export.layouts.tables import IMAGE, open_table, stored, table_guide

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from export.exported import Exported
    from export.format import Guide
    from export.rows import Row
    from export.shard_folder import ShardFolder

SCORES = {
    "clip_sim_source": "source_caption_cos", "clip_sim_target": "target_caption_cos",
    "clip_sim_dir": "pair_direction_cos", "clip_sim_image": "pair_image_cos", "dinov2_sim": "pair_dino_cos",
    "ssim": "pair_ssim",
}  # fmt: skip
"""UltraEdit's name of a score -> the dataset's column."""
NO_OBJECT = "NONE"
USAGE = """\
```bash
accelerate launch training/train_sd3_pix2pix.py --dataset_name EXPORT --original_image_column source_image \\
  --edited_image_column edited_image --edit_prompt_column edit_prompt --mask_column mask_image --do_mask …
```

with this folder for `EXPORT`. A row without a mask has none, which the script reads as white everywhere."""


class UltraEdit(Format):
    """A row a pair, with images, mask, captions and those of UltraEdit's scores that the dataset has."""

    name: ClassVar = "ultraedit"
    version: ClassVar = 1
    reader: ClassVar = "UltraEdit's scripts (`--dataset_name`)"
    source: ClassVar = (
        "HaozheZhao/UltraEdit `traning/train_sd3_pix2pix.py` at 1af5f04, columns of BleachNick/UltraEdit_500k"
    )
    carries: ClassVar = {
        Content.MASK: "`mask_image`, white where the edit may change the image, or none",
        Content.CAPTIONS: "`source_caption`, `target_caption`",
        Content.SCORES: f"only {', '.join(f'`{one}`' for one in SCORES)}, where the dataset has the score",
        Content.IDS: "`idx`",
    }

    mask: MaskChoice = "first"
    """The column of the mask; `first` is region_mask_png where a row has it, else source_mask_png."""

    @contextmanager
    def open(self, shard: ShardFolder) -> Iterator[Callable[[Row], None]]:
        """Write a row of the shard's table."""
        import pyarrow as pa

        columns = {
            **dict.fromkeys(SCORES, pa.float64()), "source_caption": pa.string(), "target_caption": pa.string(),
            "source_image": IMAGE, "edited_image": IMAGE, "idx": pa.string(), "edit_prompt": pa.string(),
            "edit_object": pa.string(), "mask_image": IMAGE,
        }  # fmt: skip
        with open_table(shard, columns) as table:

            def add(row: Row) -> None:
                source, target = one_source(row, "the table has one"), row.image("target_image")
                mask = mask_of(row, self.mask, shard)
                images = [source, target, *([] if mask is None else [mask])]
                values = {
                    **{name: row.light.get(column) for name, column in SCORES.items()},
                    "source_caption": row.text("source_caption"), "target_caption": row.text("target_caption"),
                    "source_image": stored(source, row), "edited_image": stored(target, row),
                    "idx": row.sample_id, "edit_prompt": row.text(self.caption),
                    "edit_object": row.text("edit_object") or row.text("source_phrase") or NO_OBJECT,
                    "mask_image": None if mask is None else stored(mask, row),
                }  # fmt: skip
                table.add(values, sum(len(one.content) for one in images))

            yield add

    def finish(self, export: Exported) -> Guide:  # noqa: ARG002  nothing is joined
        """Name the files, for the card's head."""
        return table_guide(USAGE)
