"""Chosen and rejected rows of each group: ranks, ties, margins, bounds, and any number of parts and shards."""

import pickle
import random

import pyarrow as pa
import pytest
from _fakes import entry, manifest_of
from _inputs import table
from _rounds import run_rounds
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from core.errors import ManifestError, PlanError
from core.settings import checked
from pipeline.context import Context
from pipeline.partitions import hash_texts
from pipeline.plan.plan import plan_stages
from samples.columns import REJECT_DETAIL, REJECT_REASON, SAMPLE_ID
from stages.pair_preferences import PairPreferences, PreferenceReject
from stages.pair_scores.bounds import BOUND_REASONS
from stages.preferences.verdicts import OWN_REASONS, WRITES
from stages.read_webdataset import ReadWebdataset

BY = "target_caption_cos"


def pairing(**settings):
    return checked(PairPreferences, {"by": BY, **settings}, "pair_preferences", ManifestError)


def refusal(**settings):
    with pytest.raises(ManifestError) as caught:
        pairing(**settings)
    return str(caught.value)


def verdicts(scores, groups=None, *, ids=None, ctx=None, shards=2, columns=(), **settings):
    """Id -> verdict on rows s0, s1 …, all of group p unless `groups` says otherwise."""
    ids = ids or [f"s{n}" for n in range(len(scores))]
    rows = table(ids, **{BY: scores, "parent_id": groups or ["p"] * len(scores)}, **dict(columns))
    size = -(-len(ids) // shards)
    tables = {f"shard{n}": rows.slice(n * size, size) for n in range(shards)}
    found = run_rounds(pairing(**settings), ctx or Context(stage_name="pair_preferences"), tables)
    return {row[SAMPLE_ID]: row for one in found.values() for row in one.to_pylist()}


def outcome(scores, groups=None, **given):
    """Id -> the rejected id of a row that stays (empty for none), or the reject reason in brackets."""
    found = verdicts(scores, groups, **given)
    return {
        own: f"({row[REJECT_REASON]})" if row[REJECT_REASON] else row["rejected_id"] or "" for own, row in found.items()
    }


def test_best_row_is_chosen_and_worst_row_rejected():
    found = verdicts([0.3, 0.7, 0.1, 0.5])
    assert [found["s1"][name] for name in WRITES] == pytest.approx(["s2", 0.7, 0.1, 0.6])
    assert {own: row[REJECT_REASON] for own, row in found.items()} == {
        "s0": "not_chosen", "s1": None, "s2": "rejected_of_pair", "s3": "not_chosen",
    }  # fmt: skip
    assert {row[REJECT_DETAIL] for own, row in found.items() if own != "s1"} == {"s1 is chosen"}
    assert all(found[own][name] is None for own in ("s0", "s2", "s3") for name in WRITES)


@pytest.mark.parametrize(("rejected", "wanted"), [("worst", "s2"), ("next", "s0"), ("random", None)])
@pytest.mark.parametrize("prefer", ["highest", "lowest"])
def test_rejected_row_follows_the_rule(rejected, wanted, prefer):
    scores = [0.4, 0.7, 0.1, 0.2, 0.65]
    if prefer == "lowest":
        scores = [1 - score for score in scores]
    if rejected == "random":
        hashes = hash_texts(pa.array(["s0", "s2", "s3"])).tolist()
        wanted = ["s0", "s2", "s3"][hashes.index(min(hashes))]
    found = verdicts(scores, rejected=rejected, min_margin=0.1, prefer=prefer)
    assert found["s1"]["rejected_id"] == wanted
    assert found["s1"]["preference_margin"] == pytest.approx(0.7 - [0.4, 0.7, 0.1, 0.2][int(wanted[1])])


def test_random_choice_is_spread_over_the_candidates():
    ids = [f"{group}-c{n}" for group in range(300) for n in range(4)]
    groups = [own.partition("-")[0] for own in ids]
    found = verdicts([1 - n / 10 for _ in range(300) for n in range(4)], groups, ids=ids, rejected="random")
    chosen = [row["rejected_id"][-1] for row in found.values() if row[REJECT_REASON] is None]
    assert len(chosen) == 300
    assert all(70 < chosen.count(n) < 130 for n in "123")


def test_ties_go_by_id_at_both_ends():
    ids = ["d", "b", "c", "a", "f", "e"]
    found = outcome([0.9, 0.9, 0.5, 0.5, 0.1, 0.1], ids=ids)
    assert found == {
        "b": "e", "d": "(not_chosen)", "c": "(not_chosen)", "a": "(not_chosen)", "f": "(not_chosen)",
        "e": "(rejected_of_pair)",
    }  # fmt: skip


def test_rows_of_equal_score_never_make_a_pair():
    assert outcome([0.5, 0.5]) == {"s0": "(no_margin)", "s1": "(not_chosen)"}


@pytest.mark.parametrize(("one", "other", "margin"), [(0.8, 0.6, 0.2), (0.3, 0.1, 0.2), (7.0, 4.0, 3.0)])
def test_margin_on_the_bound_passes_in_spite_of_single_precision(one, other, margin):
    column = {"synthesis_guidance_scale": [one, other]}  # a column without a range
    settings = {"by": "synthesis_guidance_scale", "columns": column}
    assert outcome([None] * 2, min_margin=margin, **settings)["s0"] == "s1"
    assert outcome([None] * 2, min_margin=margin + 1e-4, **settings)["s0"] == "(no_margin)"


@pytest.mark.parametrize("none", [None, float("nan"), float("inf"), -float("inf")])
def test_row_without_a_score_is_neither_chosen_nor_rejected(none):
    assert outcome([0.5, none, 0.4]) == {"s0": "s2", "s1": "(no_score)", "s2": "(rejected_of_pair)"}
    found = verdicts([0.5, none])
    assert (found["s0"][REJECT_REASON], found["s1"][REJECT_REASON]) == ("no_rival", "no_score")
    assert found["s0"][REJECT_DETAIL] == f"no other row of its parent_id has a value of {BY}"
    assert found["s1"][REJECT_DETAIL] == f"no value of {BY}"
    assert set(outcome([none, none]).values()) == {"(no_score)"}


def test_edits_by_different_instructions_are_not_compared():
    asked = {"instruction": ["add a dog", "add a cat", "add a dog", None, None]}
    assert outcome([0.5, 0.9, 0.1, 0.4, 0.3], columns=asked) == {
        "s0": "s2", "s1": "(no_rival)", "s2": "(rejected_of_pair)", "s3": "s4", "s4": "(rejected_of_pair)",
    }  # fmt: skip


def test_group_and_instruction_are_told_apart():
    columns = {"instruction": ["1 b c", "c"], "target_id": ["a", "a 1 b"]}
    assert set(outcome([0.5, 0.1], per="target_id", columns=columns).values()) == {"(no_rival)"}


def test_row_without_a_group_has_no_rival():
    assert outcome([0.5, 0.4, 0.3], [None, None, "p"]) == dict.fromkeys(("s0", "s1", "s2"), "(no_rival)")
    assert set(outcome([0.5, 0.4, 0.3], [None, None, "p"], keep_unpaired=True).values()) == {""}


def test_unpaired_rows_stay_where_that_is_asked_for():
    groups = ["p", "p", "q", "r", "r"]
    found = verdicts([0.5, 0.45, 0.3, 0.9, 0.1], groups, min_margin=0.2, keep_unpaired=True)
    kept = {own: [row[name] for name in WRITES] for own, row in found.items() if row[REJECT_REASON] is None}
    assert kept == {
        "s0": [None, 0.5, None, None], "s2": [None, pytest.approx(0.3), None, None],
        "s3": ["s4", pytest.approx(0.9), pytest.approx(0.1), pytest.approx(0.8)],
    }  # fmt: skip
    details = [verdicts([0.5, 0.5], min_margin=margin)["s0"][REJECT_DETAIL] for margin in (0.2, 0.0)]
    assert details == [f"no other row of its parent_id is worse{least} in {BY}" for least in (" by 0.2", "")]


def test_chosen_row_is_within_bounds_and_the_rejected_one_need_not_be():
    columns = {"pair_l1": [0.5, 0.1, 0.5, 0.1]}
    given = {"columns": columns, "bounds": {"pair_l1": {"max": 0.2}}}
    found = verdicts([0.9, 0.8, 0.1, 0.7], **given)
    assert {own: row[REJECT_REASON] for own, row in found.items()} == {
        "s0": "high_pair_l1", "s1": None, "s2": "rejected_of_pair", "s3": "not_chosen",
    }  # fmt: skip
    assert found["s1"]["rejected_id"] == "s2"
    assert found["s0"][REJECT_DETAIL] == "pair_l1 0.5000, bound 0.2"
    assert set(outcome([0.9, 0.8], columns={"pair_l1": [0.5, 0.6]}, bounds=given["bounds"]).values()) == {
        "(high_pair_l1)"
    }


def test_a_better_row_outside_of_bounds_is_no_rejected_one():
    given = {"columns": {"pair_l1": [0.5, 0.1]}, "bounds": {"pair_l1": {"max": 0.2}}}
    assert outcome([0.9, 0.8], **given) == {"s0": "(high_pair_l1)", "s1": "(no_margin)"}


def test_unpaired_rows_outside_of_bounds_do_not_stay():
    given = {"columns": {"pair_l1": [0.5, 0.1]}, "bounds": {"pair_l1": {"max": 0.2}}, "keep_unpaired": True}
    assert outcome([0.9, 0.8], [None, None], **given) == {"s0": "(high_pair_l1)", "s1": ""}


def test_whole_numbers_are_scores_too():
    scores = {"by": "candidate_number", "columns": {"candidate_number": [3, None, 1]}}
    assert outcome([None] * 3, **scores) == {"s0": "s2", "s1": "(no_score)", "s2": "(rejected_of_pair)"}


def test_groups_are_counted_by_what_came_of_them():
    ctx = Context(stage_name="pair_preferences")
    groups = ["a", "a", "b", "c", "c", "d", "d", "e"]
    columns = {"pair_l1": [0.1, 0.1, 0.1, 0.1, 0.1, 0.9, 0.9, 0.1]}
    scores = [0.9, 0.1, 0.5, 0.5, 0.5, 0.9, 0.1, None]
    verdicts(scores, groups, ctx=ctx, columns=columns, bounds={"pair_l1": {"max": 0.2}})
    assert dict(ctx.notes) == {
        "groups that gave a pair": 1, "groups of which no row is worse by the margin": 1,
        "groups of which one row has a score": 1, "groups of which no row may be chosen": 2,
    }  # fmt: skip


def plain(rows, rejected, min_margin, bound):
    """Chosen id -> rejected id, or None, by sorting the rows of each group."""
    found = {}
    for group in {row["group"] for row in rows}:
        ranked = sorted(
            (-row["score"], row["id"]) for row in rows if row["group"] == group and row["score"] is not None
        )
        allowed = {row["id"] for row in rows if row["l1"] <= bound}
        best = next(((score, own) for score, own in ranked if own in allowed), None)
        if best is None:
            continue
        worse = [(score, own) for score, own in ranked if round(score - best[0], 5) >= max(min_margin, 1e-5)]
        order = (lambda one: (-one[0], one[1])) if rejected == "worst" else None
        found[best[1]] = min(worse, key=order)[1] if worse else None
    return found


ROWS = st.lists(st.tuples(st.integers(0, 4), st.none() | st.integers(0, 6), st.integers(0, 4)), min_size=1, max_size=40)


@hypothesis_settings(max_examples=60, deadline=None)
@given(ROWS, st.sampled_from(["worst", "next"]), st.sampled_from([0.0, 0.2, 0.4]), st.integers(1, 5), st.integers(1, 4))
def test_pairs_are_those_of_a_plain_sort_for_any_parts_and_shards(drawn, rejected, min_margin, num_parts, num_shards):
    names = [f"s{n:02}" for n in range(len(drawn))]
    random.Random(len(drawn)).shuffle(names)
    rows = [
        {"id": own, "group": f"p{group}", "score": None if score is None else score / 10, "l1": l1 / 10}
        for own, (group, score, l1) in zip(names, drawn, strict=True)
    ]
    stage = pairing(rejected=rejected, min_margin=min_margin, bounds={"pair_l1": {"max": 0.2}}, keep_unpaired=True)
    whole = table(
        names, parent_id=[row["group"] for row in rows], pair_l1=[row["l1"] for row in rows],
        **{BY: [row["score"] for row in rows]},
    )  # fmt: skip
    size = -(-len(names) // num_shards)
    tables = {f"shard{n}": whole.slice(n * size, size) for n in range(num_shards)}
    found = run_rounds(stage, Context(stage_name="x"), tables, num_parts=num_parts, group_size=1)
    kept = {
        row[SAMPLE_ID]: row["rejected_id"]
        for one in found.values()
        for row in one.to_pylist()
        if not row[REJECT_REASON]
    }
    assert kept == plain(rows, rejected, min_margin, 0.2)


@pytest.mark.parametrize("num_parts", [1, 2, 7])
def test_verdict_tables_are_equal_for_any_parts_and_groups_of_shards(num_parts):
    draw = random.Random(0)
    count = 400
    ids = [f"{draw.getrandbits(64):016x}-c{n}" for n in range(count)]
    groups = [f"p{draw.randrange(90)}" for _ in range(count)]
    rows = table(ids, parent_id=groups, **{BY: [draw.randrange(20) / 20 for _ in range(count)]})
    tables = {f"shard{n}": rows.slice(n * 57, 57) for n in range(8)}
    stage = pairing(rejected="random", min_margin=0.1)
    whole = run_rounds(stage, Context(stage_name="x"), tables, num_parts=3, group_size=8)
    split = run_rounds(
        pickle.loads(pickle.dumps(stage)), Context(stage_name="x"), tables, num_parts=num_parts, group_size=1
    )
    assert whole == split


def test_columns_that_cannot_rank_or_group_are_refused():
    assert "column 'target_caption' holds no numbers: pairs cannot be ranked by it" in refusal(by="target_caption")
    assert "column 'source_images' holds no single value" in refusal(per="source_images")
    assert "min_margin" in refusal(min_margin=-0.1)
    assert "column 'source_caption' holds no numbers" in refusal(bounds={"source_caption": {"min": 1}})


def test_columns_that_no_stage_writes_are_refused():
    stage = pairing(bounds={"pair_l1": {"max": 0.2}})
    assert stage.needs_columns() == ("parent_id", BY, "pair_l1")
    with pytest.raises(
        PlanError, match="stage pair_preferences reads column 'parent_id', which no stage before it writes"
    ):
        plan_stages(manifest_of(entry(ReadWebdataset()), entry(stage).model_copy(update={"name": "pair_preferences"})))


def test_reasons_are_its_own_and_those_of_bounds():
    assert {one.value for one in PreferenceReject} == {*OWN_REASONS, *BOUND_REASONS}
