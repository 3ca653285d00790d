"""Group the pairs that follow one instruction, hold out instructions and pairs, and name each pair's examples.

Reads   unified_instruction (string), or instruction with `text_column`; source_dhash (uint64), anchor_id (string),
        candidate_number (int32), target_id (string) and session_id (string), where some stage wrote them
Writes  instruction_group (string, of the sha256 of the text that leads the group), instruction_group_size (int32),
        split (string), example_ids (list<string>)
Drops   pairs without instruction (no_instruction), without another pair of other images that follows the same
        (single_pair), training pairs with an image of a held-out pair (shares_held_out_image), and held-out pairs that
        are left without an example (no_example)
Source  InstructGIE (Meng et al. 2024, arXiv 2403.05018), section on its dataset: at least two pairs an instruction, two
        of which are put together. How texts are compared, the splits and who is whose example are chosen:
        stages/instruction_groups/ has the rules.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from models.protocols import ImageTextEncoder
from pipeline.stage import GlobalStage, Serves, ShardTables
from samples.columns import ID_HEX_DIGITS, REJECT_DETAIL, REJECT_REASON, SAMPLE_ID, arrow_schema
from stages.instruction_groups.held_out import Division, divide
from stages.instruction_groups.near_texts import Wordings
from stages.instruction_groups.pairs import IDENTITY_COLUMNS, InstructionReject, Pair, Split, pair_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pipeline.context import Context

WRITES = ("instruction_group", "instruction_group_size", "split", "example_ids")


class GroupByInstruction(GlobalStage):
    """Groups by equal texts, and by near vectors with an `encoder`. No held-out group or image is trained on."""

    version: ClassVar[int] = 1
    reads_if_present: ClassVar = IDENTITY_COLUMNS
    writes: ClassVar = WRITES
    rejects: ClassVar = InstructionReject
    uses_rng: ClassVar = True

    text_column: Literal["unified_instruction", "instruction"] = "unified_instruction"
    """The instruction that is compared."""
    encoder: Annotated[str | None, Serves(ImageTextEncoder, only_scores=True)] = None
    """An ImageTextEncoder, by whose vectors instructions of other words are one; none: only equal words are."""
    near_cos: float = Field(default=0.95, ge=-1, le=1)
    """Least cosine of an instruction and the one that leads its group; used with an encoder only."""
    out_of_domain_frac: float = Field(default=0.05, ge=0, lt=1)
    """Share of the groups that are held out whole: the nearest number, at least one, none of fewer than four."""
    in_domain_frac: float = Field(default=0.05, ge=0, lt=1)
    """Share of the pairs of the other groups that are held out: rounded in the same way."""
    max_examples: int = Field(default=2, ge=1)
    """Most examples of a pair."""

    def needs_columns(self) -> tuple[str, ...]:
        """The instruction."""
        return (self.text_column,)

    def open(self, ctx: Context) -> Callable[[ShardTables], Iterator[tuple[str, pa.Table]]]:
        """A function from light columns of all shards to a verdict a shard.

        It takes about 1 KB a row; with an encoder also 4 bytes for each number of the vector of each distinct text.
        """
        encoder = None if self.encoder is None else ctx.load(ImageTextEncoder, self.encoder)
        division = Division(
            out_of_domain_frac=self.out_of_domain_frac, in_domain_frac=self.in_domain_frac,
            max_examples=self.max_examples, rank_of=lambda group: ctx.rng(f"group/{group}").random(),
        )  # fmt: skip

        def verdicts(tables: ShardTables) -> Iterator[tuple[str, pa.Table]]:
            wordings = Wordings()
            shards = [(name, list(self._pairs(table, wordings, ctx))) for name, table in tables()]
            pairs = [pair for _, own in shards for pair in own if pair.problem is None]
            leaders = wordings.leaders(encoder, self.near_cos)
            groups = {leader: _group_id(leader) for leader in leaders.values()}
            for pair in pairs:
                pair.group = groups[leaders[pair.text]]
            divide(pairs, division)
            sizes = Counter(pair.group for pair in pairs if pair.problem is None)
            ctx.notes["instructions joined to another by their vectors"] += len(leaders) - len(groups)
            ctx.notes.update(_notes(pairs))
            for name, own in shards:
                yield name, _verdict(own, sizes)

        return verdicts

    def _pairs(self, table: pa.Table, wordings: Wordings, ctx: Context) -> Iterator[Pair]:
        for row in table.to_pylist():
            pair = pair_of(row, wordings.add(row[self.text_column] or ""), ctx.rng(row[SAMPLE_ID]))
            if not pair.text:
                pair.problem = InstructionReject.NO_INSTRUCTION, f"{self.text_column} says nothing"
            yield pair


def _group_id(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:ID_HEX_DIGITS]


def _notes(pairs: Sequence[Pair]) -> Counter[str]:
    """Counts of groups and pairs by split, and of pairs lost to held-out images."""
    left = [pair for pair in pairs if pair.problem is None]
    found = Counter(f"pairs of split {pair.split}" for pair in left)
    found["groups"] = len({pair.group for pair in left})
    found["groups held out"] = len({pair.group for pair in left if pair.split == Split.OUT_OF_DOMAIN})
    lost = (pair for pair in pairs if pair.problem and pair.problem[0] is InstructionReject.SHARES_HELD_OUT_IMAGE)
    found["training pairs lost to images of held-out pairs"] = sum(1 for _ in lost)
    return found


def _verdict(pairs: Sequence[Pair], sizes: Counter[str]) -> pa.Table:
    schema = arrow_schema((SAMPLE_ID, *WRITES))
    rejects = [pa.field(name, pa.string()) for name in (REJECT_REASON, REJECT_DETAIL)]
    return pa.Table.from_pylist([_row(pair, sizes) for pair in pairs], pa.schema([*schema, *rejects]))


def _row(pair: Pair, sizes: Counter[str]) -> dict[str, object]:
    """The verdict on a pair. A rejected one has its group, and neither split nor examples."""
    row: dict[str, object] = {SAMPLE_ID: pair.sample_id, "instruction_group": pair.group or None}
    if pair.group:
        row["instruction_group_size"] = sizes[pair.group]
    if pair.problem is None:
        return row | {"split": str(pair.split), "example_ids": pair.examples}
    reason, detail = pair.problem
    return row | {REJECT_REASON: reason.value, REJECT_DETAIL: detail}
