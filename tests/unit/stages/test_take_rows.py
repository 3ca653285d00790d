"""The first rows of the input, in all and by edit type."""

import itertools
from types import SimpleNamespace

import pyarrow as pa
import pytest
from _fakes import manifest_of
from _inputs import table
from _rounds import run_rounds
from hypothesis import given
from hypothesis import strategies as st

from core.errors import ManifestError, PlanError
from core.settings import checked
from pipeline.context import Context
from pipeline.plan.plan import plan_stages
from samples.columns import REJECT_DETAIL, REJECT_REASON, SAMPLE_ID
from stages.emit import Emit
from stages.filter_caption import FilterCaption
from stages.normalise_image import NormaliseImage
from stages.read_webdataset import ReadWebdataset
from stages.take_rows import TakeRows

TYPES = ["colour", "noun", "colour", None, "colour", "noun"]


def verdicts(target_rows, types, *, cuts=(2,), ctx=None, **how):
    """(reason, detail) of each row, the rows cut into shards after the numbers of `cuts`."""
    rows = table([f"s{number}" for number in range(len(types))], edit_type=pa.array(types, pa.string()))
    edges = [0, *cuts, len(types)]
    shards = {f"{n:03d}": rows.slice(a, b - a) for n, (a, b) in enumerate(itertools.pairwise(edges))}
    found = run_rounds(TakeRows(target_rows=target_rows), ctx or Context(stage_name="take_rows"), shards, **how)
    rows = pa.concat_tables(found.values()).to_pylist()
    return {row[SAMPLE_ID]: (row[REJECT_REASON], row[REJECT_DETAIL]) for row in rows}


def taken(*args, **how):
    return [name for name, (reason, _) in verdicts(*args, **how).items() if reason is None]


def test_first_rows_are_taken_and_the_others_are_beyond_the_target():
    found = verdicts(3, TYPES)
    assert [name for name, (reason, _) in found.items() if reason is None] == ["s0", "s1", "s2"]
    assert found["s3"] == ("beyond_target", None)


def test_each_edit_type_has_its_own_number():
    found = verdicts({"colour": 2, "noun": 5}, TYPES)
    assert [name for name, (reason, _) in found.items() if reason is None] == ["s0", "s1", "s2", "s5"]
    assert found["s4"] == ("beyond_target", None)
    assert found["s3"] == ("type_not_wanted", "edit type ")


def test_missing_rows_are_noted_by_edit_type():
    ctx = Context(stage_name="take_rows")
    verdicts({"colour": 2, "noun": 5, "style": 1}, TYPES, ctx=ctx)
    assert ctx.notes == {"rows missing of edit type noun": 3, "rows missing of edit type style": 1}


@given(
    st.lists(st.sampled_from(["a", "b", None]), max_size=12), st.integers(1, 8),
    st.lists(st.integers(0, 12), max_size=3), st.integers(1, 4),
)  # fmt: skip
def test_rows_are_those_of_a_plain_loop_for_any_cut_into_shards(types, number, cuts, group_size):
    cuts = sorted(min(cut, len(types)) for cut in cuts)
    want, left = [], {"a": number, "b": 1}
    for place, one in enumerate(types):
        if left.get(one):
            left[one] -= 1
            want.append(f"s{place}")
    assert taken({"a": number, "b": 1}, types, cuts=cuts, group_size=group_size) == want
    assert taken(number, types, cuts=cuts, group_size=group_size) == [f"s{n}" for n in range(min(number, len(types)))]


@pytest.mark.parametrize("wrong", [0, {}, {"colour": 0}, {"colour": 1.0}, "many", 1.5, True, 10**400, [3]])
def test_a_target_that_is_no_number_of_rows_is_refused(wrong):
    with pytest.raises(ManifestError, match=r"^take_rows: target_rows: expected a number of rows, 1 to 1,000,000,"):
        checked(TakeRows, {"target_rows": wrong}, "take_rows", ManifestError)


def test_rows_of_types_that_are_not_wanted_are_not_sent_about():
    sent = []
    table = pa.table({"edit_type": [f"type {number}" for number in range(50)] + ["colour"]})
    shards = SimpleNamespace(tables=[(0, "000", table)])
    TakeRows(target_rows={"colour": 2})._count(shards, lambda _name, rows, _to: sent.append(rows.to_pylist()))
    assert sent == [[{"type": "colour", "count_all": 1, "shard": 0}]]


def test_a_stage_that_may_reject_rows_is_refused_after_it():
    stages = [ReadWebdataset(), NormaliseImage(shorter_side_px=64), TakeRows(target_rows=3), FilterCaption(), Emit()]
    with pytest.raises(PlanError, match=r"^stage filtercaption rejects or adds rows, so it cannot be placed after "):
        plan_stages(manifest_of(*stages))
