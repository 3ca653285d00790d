"""Bounds on whole columns against bounds on each value."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.pair_scores.bound_verdicts import fixed_texts, out_of_bounds
from stages.pair_scores.bounds import Bounds

SINGLE = st.none() | st.floats(width=32)
EDGES = (0.2, -0.5, 0.0, float(np.float32(0.2)), 1e300)


@st.composite
def limits(draw):
    """Bounds with one side or both."""
    ends = sorted(draw(st.lists(st.floats(-1, 1) | st.sampled_from(EDGES[:4]), min_size=2, max_size=2)))
    sides = draw(st.sampled_from([("min", "max"), ("min",), ("max",)]))
    return Bounds(may_be_missing=draw(st.booleans()), **dict(zip(sides, ends[-len(sides) :], strict=True)))


def reference(values, bounds):
    """(reason, detail) of each row, value by value."""
    found = []
    for row in zip(*values.values(), strict=True):
        verdict = (None, None)
        for (name, one), value in zip(bounds.items(), row, strict=True):
            if failed := one.failed(value):
                text = "no value" if value is None else f"{value:.4f}"
                verdict = f"{failed[0]}_{name}", f"{name} {text}, bound {failed[1]}"
                break
        found.append(verdict)
    return found


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(SINGLE | st.sampled_from([0.2, -0.5]), st.none() | st.integers(-(2**31), 2**31 - 1))),
       limits(), limits())  # fmt: skip
def test_verdicts_are_those_on_each_value(rows, first, second):
    table = pa.table({
        "x": pa.array([row[0] for row in rows], pa.float32()), "y": pa.array([row[1] for row in rows], pa.int32()),
    })  # fmt: skip
    bounds = {"x": first, "y": second}
    reasons, details = out_of_bounds(table, [(np.arange(len(rows)), bounds)])
    expected = reference({name: table[name].to_pylist() for name in bounds}, bounds)
    assert list(zip(reasons.to_pylist(), details.to_pylist(), strict=True)) == expected
    assert reasons.type == details.type == pa.string()


def test_each_group_of_rows_has_its_own_bounds():
    table = pa.table({"x": pa.array([0.1, 0.2, 0.3, 0.4], pa.float32())})
    low, high = {"x": Bounds(min=0.15)}, {"x": Bounds(max=0.35)}
    reasons, details = out_of_bounds(table, [(np.array([3, 0]), low), (np.array([1, 2]), high)])
    assert reasons.to_pylist() == ["low_x", None, None, None]
    assert details.to_pylist() == ["x 0.1000, bound 0.15", None, None, None]


@settings(max_examples=300)
@given(st.lists(SINGLE | st.integers(-(2**15), 2**15).map(lambda n: n / 2**15)))
def test_texts_have_four_decimals_as_python_rounds_them(values):
    array = pa.array(values, pa.float32())
    assert fixed_texts(array).to_pylist() == [None if v is None else f"{v:.4f}" for v in array.to_pylist()]


@pytest.mark.parametrize("kind", [pa.int32(), pa.int64(), pa.float16(), pa.float64()])
def test_texts_of_numbers_of_any_type(kind):
    wide = [2**62, -(2**62), 2**38] if kind == pa.int64() else [2.0**62, 1e300] if kind == pa.float64() else []
    broken = [0.00005, -0.00015, 0.00025, float("inf"), float("nan")] if pa.types.is_floating(kind) else []
    array = pa.array([0, 1, -7, None, 2**14, *wide, *broken], pa.float64() if broken else kind).cast(kind)
    assert fixed_texts(array).to_pylist() == [None if v is None else f"{v:.4f}" for v in array.to_pylist()]
