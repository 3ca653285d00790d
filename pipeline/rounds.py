"""The rounds of a partitioned stage: steps that see a part of all rows and send rows to the steps of later rounds.

The rounds of a stage run one after the other. The steps of one round run side by side, on any worker:

| over     | a step has                                 | receives the rows sent to |
|----------|--------------------------------------------|---------------------------|
| `shards` | the tables of a group of shards            | nothing                   |
| `parts`  | one part of `num_parts`                    | the number of its part    |
| `once`   | the whole round                            | 0                         |

After the last round, `judge` is called for each shard and receives the rows sent to the number of the shard. A stream
is declared by those that receive it, and any earlier round may send to it. How shards are grouped and how many parts
there are is decided by the engine, and must not change a result; nor must the order of received rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections import Counter

Over = Literal["shards", "parts", "once"]
Send = Callable[[str, pa.Table, NDArray[np.int64]], None]
"""`send(stream, rows, to)`: row i goes to `to[i]`: a part for a round over `parts`, 0 for one over `once`, a shard's
number for `judge`. A table may be empty."""
Received = Callable[[str], Iterator[pa.Table]]
"""Each call is a pass over the tables of a stream that were sent to this step."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RoundInput:
    """The input of one step of a round."""

    tables: Iterable[tuple[int, str, pa.Table]]
    """Over `shards`: (number, name, Table of `sample_id` and what the stage reads) of each shard; otherwise empty."""
    received: Received
    num_parts: int
    notes: Counter[str]
    """Counts of events, for the record of the stage."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Round:
    """One round: what its steps are over, the streams that they receive, and the function of a step."""

    name: str
    over: Over
    receives: tuple[str, ...]
    run: Callable[[RoundInput, Send], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Rounds:
    """The rounds of a stage, in order, and the function that gives the verdict on one shard."""

    rounds: tuple[Round, ...]
    judge: Callable[[str, pa.Table, Received], pa.Table]
    """(shard name, Table of `sample_id` and what the stage reads, received) -> Table of `sample_id`, what the stage
    writes, `reject_reason` and `reject_detail`."""
    judge_receives: tuple[str, ...]
