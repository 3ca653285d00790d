"""Verdicts of bounds on whole columns: the same as `Bounds.failed` gives on each value."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from numpy.typing import NDArray

    from stages.pair_scores.bounds import Bounds

    Indices = NDArray[np.int64]

DECIMALS = 4
SCALE = 10**DECIMALS
EXACT_BELOW = 1 << 38
"""Numbers of 24 bits, and integers up to here, are multiplied by SCALE without rounding in double precision."""


def out_of_bounds(table: pa.Table, groups: Iterable[tuple[Indices, Mapping[str, Bounds]]]) -> tuple[pa.Array, pa.Array]:
    """(reason, detail) of the first bound, in their order, that each row is beyond; no value for a row within them.

    `groups` has the bounds of some of the rows at a time.
    """
    place = np.full(table.num_rows, -1)
    reasons, details = [pa.array([], pa.string())], [pa.array([], pa.string())]
    count = 0
    for rows, bounds in groups:
        left = rows
        for name, limits in bounds.items():
            if not len(left):
                break
            values = table[name].take(pa.array(left)).combine_chunks()
            passes = np.ones(len(left), np.bool_)
            for side, bound, is_beyond in _beyond(values, limits):
                found = left[is_beyond]
                place[found] = np.arange(count, count + len(found))
                count += len(found)
                passes &= ~is_beyond
                reasons.append(pa.repeat(f"{side}_{name}", len(found)))
                details.append(_details(values.filter(pa.array(is_beyond)), name, bound))
            left = left[passes]
    at = pa.array(place, mask=place < 0)
    return pa.concat_arrays(reasons).take(at), pa.concat_arrays(details).take(at)


def _beyond(values: pa.Array, limits: Bounds) -> Iterator[tuple[str, float, NDArray[np.bool_]]]:
    """(side, bound, which values are beyond it) of each bound that is set. A value is beyond one of them at most."""
    numbers = values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)  # no value becomes NaN
    single = numbers.astype(np.float32)
    passes = values.is_null().to_numpy(zero_copy_only=False) if limits.may_be_missing else np.zeros(len(values), bool)
    for side, bound, is_within in (("low", limits.min, np.greater_equal), ("high", limits.max, np.less_equal)):
        if bound is not None:
            is_beyond = ~(passes | is_within(numbers, bound) | (single == np.float32(bound)))
            yield side, bound, is_beyond
            passes |= is_beyond


def _details(values: pa.Array, name: str, bound: float) -> pa.Array:
    texts = fixed_texts(values).fill_null("no value")
    return pc.binary_join_element_wise(f"{name} ", texts, f", bound {bound}", "")


def fixed_texts(values: pa.Array) -> pa.Array:
    """The numbers with four decimals, as `f"{value:.4f}"` writes them. No value stays none."""
    numbers = values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    is_exact = (np.abs(numbers) < EXACT_BELOW) & (not pa.types.is_float64(values.type))
    scaled = np.rint(np.abs(np.where(is_exact, numbers, 0)) * SCALE).astype(np.int64)  # rounds half to even
    sign = pa.array(["", "-"]).take(pa.array(np.signbit(numbers).astype(np.int8)))
    whole = pc.binary_join_element_wise(sign, pa.array(scaled // SCALE).cast(pa.string()), "")
    decimals = pc.utf8_lpad(pa.array(scaled % SCALE).cast(pa.string()), DECIMALS, "0")
    texts = pc.binary_join_element_wise(whole, decimals, ".")
    if is_exact.all():
        return texts
    others = values.filter(pa.array(~is_exact)).dictionary_encode()
    plain = pa.array([f"{value:.4f}" for value in others.dictionary.to_pylist()], pa.string())
    return pc.replace_with_mask(texts, pa.array(~is_exact), plain.take(others.indices))
