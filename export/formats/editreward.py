"""EditReward: Parquet with the columns of its published preference data, for training reward models of edits."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from export.format import Content, Format
from export.layouts.image_files import one_source
from export.layouts.preferences import NEEDS, edits_of, is_chosen_first
from export.layouts.tables import IMAGE, open_table, stored, table_guide

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from export.exported import Exported
    from export.format import Guide
    from export.rows import Row
    from export.shard_folder import ShardFolder

SIDES = ("left", "right")
LOWER_IS_BETTER = "rows without scores, as a lower one is better in the dataset"
"""Words of the card for the number of such rows."""
SCORES = ("overall_score", "instruction_following_score", "quality_aesthetic_score")
USAGE = """\
```python
from datasets import load_dataset

pairs = load_dataset("EXPORT", split="train")
pairs[0]["source_img"], pairs[0]["left_output_image"], pairs[0]["right_output_image"], pairs[0]["vote_type"]
```

with this folder for `EXPORT`. `vote_type` is `leftvote` or `rightvote`, the side of the better edit. The overall scores
are those by which this dataset chose, on their own scale, and not the sums from 2 to 8 that people gave the published
edits: do not train one regression on both. They are left out where a lower one is better. EditReward's trainer reads a
list `train.json` with files of images (`EditReward/TRAIN_README.md`), which is made of such a table: `prompt` is
`instruction`, `path_src` a file of `source_img`, `path1` one of the better edit, `path2` one of the other."""


class EditReward(Format):
    """A row a preference pair, with the names and types of the columns of TIGER-Lab/EditReward-Data."""

    name: ClassVar = "editreward"
    version: ClassVar = 2
    reader: ClassVar = "EditReward, and whatever reads its data"
    source: ClassVar = (
        "card of the dataset TIGER-Lab/EditReward-Data at 32910be, its votes as in AgPerry/EditReward-Data-100 at "
        "75a2d1e, TIGER-AI-Lab/EditReward `EditReward/TRAIN_README.md` at 5cfbcfb"
    )
    direction: ClassVar = (
        "A row has a source image and two edits of it by the text (`{caption}`), of which the one that `vote_type` "
        "names is better."
    )
    needs: ClassVar = NEEDS
    carries: ClassVar = {
        Content.REJECTED: "`left_output_image` or `right_output_image`, the side that `vote_type` does not name",
        Content.SCORES: "only the score of the preference, in `left_overall_score` and `right_overall_score`",
        Content.IDS: "`key`, `unique_key`",
    }

    @contextmanager
    def open(self, shard: ShardFolder) -> Iterator[Callable[[Row], None]]:
        """Write a row of the shard's table."""
        with open_table(shard, _columns()) as table:

            def add(row: Row) -> None:
                source, edits = one_source(row, "the table has one"), edits_of(row)
                is_left = is_chosen_first(row, shard)
                left, right = edits if is_left else edits[::-1]
                scores = _scores_of(row, shard)
                values: dict[str, Any] = {
                    "key": row.sample_id, "unique_key": row.sample_id, "pair_index": 0,
                    "instruction": row.text(self.caption), "source_img": stored(source, row),
                    "left_output_image": stored(left, row), "right_output_image": stored(right, row),
                    "vote_type": "leftvote" if is_left else "rightvote",
                }  # fmt: skip
                for side, score in zip(SIDES, scores if is_left else scores[::-1], strict=True):
                    values[f"{side}_{SCORES[0]}"] = score
                table.add(values, sum(len(one.content) for one in (source, *edits)))

            yield add

    def finish(self, export: Exported) -> Guide:  # noqa: ARG002  nothing is joined
        """Name the files, for the card's head."""
        return table_guide(USAGE)


def _scores_of(row: Row, shard: ShardFolder) -> list[Any]:
    """Scores of the better and the other edit. None where a lower one is better: readers take a higher one for that."""
    better, other = (row.light.get(name) for name in ("preference_score", "rejected_score"))
    if isinstance(better, float | int) and isinstance(other, float | int) and better < other:
        shard.notes[LOWER_IS_BETTER] += 1
        return [None, None]
    return [better, other]


def _columns() -> dict[str, Any]:
    """The published columns in their order. What is not known here has no values."""
    import pyarrow as pa

    return {
        "key": pa.string(), "unique_key": pa.string(), "pair_index": pa.int32(), "instruction": pa.string(),
        "source_img": IMAGE, "left_output_image": IMAGE, "right_output_image": IMAGE,
        **{f"{side}_model": pa.string() for side in SIDES},
        **{f"{side}_{name}": pa.float32() for side in SIDES for name in SCORES},
        "vote_type": pa.string(), "metadata_index": pa.int32(),
        **{f"{side}_img_rel": pa.string() for side in SIDES},
    }  # fmt: skip
