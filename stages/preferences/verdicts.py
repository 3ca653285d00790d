"""The verdict on each row of a shard: the columns of a pair, or a reject reason, from the roles of the rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from samples.columns import REJECT_DETAIL, REJECT_REASON
from stages.preferences.pairing import VERDICTS, PairRule, Role, scores_of

if TYPE_CHECKING:
    from collections.abc import Iterable

OWN_REASONS = ("no_score", "rejected_of_pair", "not_chosen", "no_margin", "no_rival")
WRITES = ("rejected_id", "preference_score", "rejected_score", "preference_margin")


def judged(
    table: pa.Table, verdicts: Iterable[pa.Table], rule: PairRule, beyond: tuple[pa.Array, pa.Array], *,
    keep_unpaired: bool,
) -> pa.Table:  # fmt: skip
    """The rows with `WRITES` added, reason and detail. `beyond` has (reason, detail) of the rows outside of a bound."""
    own = _in_order(verdicts, table.num_rows)
    scores = pa.array(scores_of(table[rule.by]), from_pandas=True)
    reasons, details = _reasons(own, pc.is_null(scores), rule, beyond, keep_unpaired=keep_unpaired)
    columns = (
        pc.if_else(_has(own["role"], Role.CHOSEN), own["other_id"], None),
        pc.if_else(pc.is_null(reasons), scores.cast(pa.float32()), None),
        own["rejected_score"], own["margin"],
    )  # fmt: skip
    read = {name: table[name] for name in table.column_names}  # so that the rejects have their scores
    made = dict(zip(WRITES, columns, strict=True))
    return pa.table({**read, **made, REJECT_REASON: reasons, REJECT_DETAIL: details})


def _in_order(verdicts: Iterable[pa.Table], num_rows: int) -> dict[str, pa.Array]:
    """The columns of the verdicts, in the order of rows. A row without a verdict has no group, and so no rival."""
    found = pa.concat_tables([VERDICTS.empty_table(), *verdicts]).combine_chunks()
    at = np.full(num_rows, -1)
    at[found["row"].to_numpy()] = np.arange(found.num_rows)
    own = {name: found[name].combine_chunks().take(pa.array(at, mask=at < 0)) for name in VERDICTS.names}
    return own | {"role": own["role"].fill_null(pa.scalar(Role.NO_RIVAL, pa.int8()))}


def _reasons(
    own: dict[str, pa.Array], has_none: pa.Array, rule: PairRule, beyond: tuple[pa.Array, pa.Array], *,
    keep_unpaired: bool,
) -> tuple[pa.Array, pa.Array]:  # fmt: skip
    """(reason, detail) of each row. Of several reasons a row has the last one of the list below."""
    rival, least = f"no other row of its {rule.per}", f" by {rule.min_margin}" if rule.min_margin else ""
    unpaired = [
        (_has(own["role"], Role.NO_RIVAL), "no_rival", f"{rival} has a value of {rule.by}"),
        (_has(own["role"], Role.NO_MARGIN), "no_margin", f"{rival} is worse{least} in {rule.by}"),
    ]
    is_chosen = pc.binary_join_element_wise(own["other_id"], " is chosen", "")
    reasons = details = pa.nulls(len(has_none), pa.string())
    for which, reason, detail in (
        *(() if keep_unpaired else unpaired),
        (_has(own["role"], Role.OTHER), "not_chosen", is_chosen),
        (pc.is_valid(beyond[0]), *beyond),
        (_has(own["role"], Role.REJECTED), "rejected_of_pair", is_chosen),
        (has_none, "no_score", f"no value of {rule.by}"),
    ):
        reasons, details = pc.if_else(which, reason, reasons), pc.if_else(which, detail, details)
    return reasons, details


def _has(roles: pa.Array, role: Role) -> pa.Array:
    return pc.equal(roles, pa.scalar(role, pa.int8()))
