"""Draws one value of each of several lists of a sample, at the same place in all of them."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from samples.members import values_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def drawn_values(
    columns: Sequence[str], raw: Mapping[str, Any], *, seed: int, number: int
) -> Mapping[str, Sequence[bytes]]:
    """Column -> its drawn value alone, nothing of empty lists, of the sample of members `raw`.

    The place depends on the seed and on the number of the sample in the training, and not on the batch or the process.
    Raises ValueError for lists of different lengths.
    """
    lists = {name: values_of(name, raw) for name in columns}
    if len({len(stored) for stored in lists.values()}) > 1:
        found = ", ".join(f"{name} has {len(stored)}" for name, stored in lists.items())
        raise ValueError(f"{found} values; expected as many in each, as one place is drawn for all")
    count = max((len(stored) for stored in lists.values()), default=0)
    place = random.Random(f"{seed}/one_of/{number}").randrange(count) if count else 0
    return {name: stored[place : place + 1] for name, stored in lists.items()}
