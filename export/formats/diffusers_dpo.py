"""diffusers' scripts for Diffusion-DPO: Parquet with two images, a label that says which is better, and a caption."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar, Literal

from export.format import Content, Format
from export.layouts.preferences import NEEDS, edits_of, is_chosen_first
from export.layouts.tables import open_table, table_guide

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from export.exported import Exported
    from export.format import Guide
    from export.rows import Row
    from export.shard_folder import ShardFolder

USAGE = """\
```bash
accelerate launch examples/research_projects/diffusion_dpo/train_diffusion_dpo.py --dataset_name EXPORT \\
  --dataset_split_name train --no_hflip …
accelerate launch examples/research_projects/diffusion_dpo/train_diffusion_dpo_sdxl.py --dataset_name EXPORT \\
  --dataset_split_name train …
```

with this folder for `EXPORT`. The scripts train text-to-image models: they see no source image, so the text describes
the edited image. Without `--no_hflip` the first script mirrors the two images of a row independently of each other."""


class DiffusersDpo(Format):
    """A row a preference pair: `jpg_0`, `jpg_1`, `label_0` (1 where `jpg_0` is better, else 0), `caption`."""

    name: ClassVar = "diffusers-dpo"
    version: ClassVar = 1
    reader: ClassVar = "diffusers' scripts for Diffusion-DPO"
    source: ClassVar = (
        "huggingface/diffusers `examples/research_projects/diffusion_dpo/train_diffusion_dpo.py` at 071190d, "
        "`train_diffusion_dpo_sdxl.py` at 03ea18c; columns as those of Pick-a-Pic that they read"
    )
    direction: ClassVar = (
        "The two images of a row are edits of one image, of which one is better. Both have the text (`{caption}`). The "
        "source image has no place."
    )
    needs: ClassVar = NEEDS
    carries: ClassVar = {
        Content.REJECTED: "`jpg_0` or `jpg_1`, where the label is 0",
        Content.SCORES: "`margin`, the difference of the scores of the two",
        Content.IDS: "`sample_id`",
    }

    caption: Literal["instruction", "target_caption"] = "target_caption"
    """The text of both images. The instruction alone describes no image."""

    @contextmanager
    def open(self, shard: ShardFolder) -> Iterator[Callable[[Row], None]]:
        """Write a row of the shard's table."""
        import pyarrow as pa

        columns = {
            "jpg_0": pa.binary(), "jpg_1": pa.binary(), "label_0": pa.float64(), "label_1": pa.float64(),
            "caption": pa.string(), "sample_id": pa.string(), "margin": pa.float32(),
        }  # fmt: skip
        with open_table(shard, columns) as table:

            def add(row: Row) -> None:
                edits = edits_of(row)
                label = float(is_chosen_first(row, shard))
                first, second = edits if label else edits[::-1]
                values = {
                    "jpg_0": first.content, "jpg_1": second.content, "label_0": label, "label_1": 1 - label,
                    "caption": row.text(self.caption), "sample_id": row.sample_id,
                    "margin": row.light.get("preference_margin"),
                }  # fmt: skip
                table.add(values, len(first.content) + len(second.content))

            yield add

    def finish(self, export: Exported) -> Guide:  # noqa: ARG002  nothing is joined
        """Name the files, for the card's head."""
        return table_guide(USAGE)
