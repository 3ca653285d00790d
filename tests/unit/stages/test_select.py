"""Bounds on columns by name, and the best of each group."""

import math
import pickle
from collections import defaultdict

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
from pipeline.plan.fingerprint import canonical
from pipeline.plan.manifest import load_manifest
from pipeline.plan.plan import plan_stages
from samples.columns import COLUMNS, REJECT_DETAIL, REJECT_REASON, SAMPLE_ID
from stages.count_words import CountWords
from stages.edit_caption_wordnet import EditCaptionWordnet
from stages.normalise_image import NormaliseImage
from stages.pair_scores.bounds import NUMBERS
from stages.read_webdataset import ReadWebdataset
from stages.select import Select, SelectReject
from stages.synthesise_pair import SynthesisePair

COLUMNS_OF_PAIRS = {
    "source_mask_frac": [0.2, 0.005, 0.2, 0.2],
    "target_mask_frac": [0.2, 0.2, 0.95, 0.2],
    "target_caption_cos": [0.3, 0.3, 0.3, 0.1],
    "target_id": ["t", "t", "t", "t"],
}


def select(**settings):
    return checked(Select, settings, "select", ManifestError)


def refusal(**settings):
    with pytest.raises(ManifestError) as caught:
        select(**settings)
    return str(caught.value)


def verdicts(columns, ctx=None, **settings):
    ids = [f"s{n}" for n in range(len(next(iter(columns.values()))))]
    stage = select(**settings)
    both = table(ids, **columns)
    shards = {"a": both.slice(0, 2), "b": both.slice(2)}
    found = run_rounds(stage, ctx or Context(stage_name="select"), shards)
    assert list(found) == ["a", "b"]
    rows = pa.concat_tables(found.values()).to_pylist()
    assert [row[SAMPLE_ID] for row in rows] == ids
    return {row[SAMPLE_ID]: (row[REJECT_REASON], row[REJECT_DETAIL]) for row in rows}


def reasons(columns, **settings):
    return [reason for reason, _ in verdicts(columns, **settings).values()]


def test_without_settings_everything_passes_and_no_column_is_needed():
    assert set(verdicts(COLUMNS_OF_PAIRS).values()) == {(None, None)}
    assert Select().needs_columns() == ()


def test_each_bound_names_the_column_its_value_and_the_bound():
    bounds = {
        "source_mask_frac": {"min": 0.01, "max": 0.9}, "target_mask_frac": {"min": 0.01, "max": 0.9},
        "target_caption_cos": {"min": 0.2},
    }  # fmt: skip
    found = verdicts(COLUMNS_OF_PAIRS, bounds=bounds)
    assert found["s0"] == (None, None)
    assert found["s1"] == ("low_source_mask_frac", "source_mask_frac 0.0050, bound 0.01")
    assert found["s2"] == ("high_target_mask_frac", "target_mask_frac 0.9500, bound 0.9")
    assert found["s3"] == ("low_target_caption_cos", "target_caption_cos 0.1000, bound 0.2")


@pytest.mark.parametrize("name", NUMBERS)
def test_every_column_of_numbers_can_have_a_bound(name):
    low = max(0, COLUMNS[name].value_range[0])
    columns = {name: [low, low + 1, None]}
    bounds = {name: {"min": low + 1}}
    assert reasons(columns, bounds=bounds) == [f"low_{name}", None, f"low_{name}"]
    assert reasons(columns, bounds={name: {"max": low}}) == [None, f"high_{name}", f"high_{name}"]
    assert select(bounds=bounds).needs_columns() == (name,)


def test_a_value_on_the_bound_passes_and_no_number_does_not():
    columns = {"pair_image_cos": [0.5, 0.49, float("nan"), None]}
    found = verdicts(columns, bounds={"pair_image_cos": {"min": 0.5}})
    assert [reason for reason, _ in found.values()] == [None, *["low_pair_image_cos"] * 3]
    assert found["s3"][1] == "pair_image_cos no value, bound 0.5"
    assert reasons(columns, bounds={"pair_image_cos": {"max": 0.5}})[:3] == [None, None, "high_pair_image_cos"]


def test_the_reason_does_not_depend_on_the_order_of_the_settings():
    columns = {"source_mask_frac": [0.0], "target_caption_cos": [0.0]}
    bounds = {"target_caption_cos": {"min": 0.2}, "source_mask_frac": {"min": 0.1}}
    assert reasons(columns, bounds=bounds) == ["low_source_mask_frac"]
    assert reasons(columns, bounds=dict(reversed(bounds.items()))) == ["low_source_mask_frac"]


def test_bounds_of_an_edit_type_replace_those_of_the_same_column():
    columns = {
        "edit_type": ["remove", "add", None, "remove"], "target_caption_cos": [0.1, 0.1, 0.1, 0.1],
        "pair_image_cos": [0.9, 0.9, 0.9, 0.1],
    }  # fmt: skip
    bounds = {"target_caption_cos": {"min": 0.2}, "pair_image_cos": {"min": 0.5}}
    by_type = {"remove": {"target_caption_cos": {"max": 0.15}}}
    low = "low_target_caption_cos"
    assert reasons(columns, bounds=bounds, bounds_by_edit_type=by_type) == [None, low, low, "low_pair_image_cos"]
    assert select(bounds_by_edit_type=by_type).needs_columns() == ("target_caption_cos", "edit_type")


def test_no_value_passes_where_that_is_allowed_and_nan_never():
    columns = {"outside_ssim": [0.5, 0.95, None, float("nan")]}
    low = "low_outside_ssim"
    assert reasons(columns, bounds={"outside_ssim": {"min": 0.9}}) == [low, None, low, low]
    spared = {"outside_ssim": {"min": 0.9, "may_be_missing": True}}
    assert reasons(columns, bounds=spared) == [low, None, None, low]


SCORES = ("source_caption_cos", "target_caption_cos", "pair_image_cos", "pair_direction_cos", "pair_dino_cos")
GOOD = {name: [0.9] * 6 for name in SCORES} | {"parent_id": ["p"] * 6}


@pytest.mark.parametrize(
    ("preset", "keep", "least"),
    [
        ("ultraedit-free", 4, (0.2, 0.2, 0.75, 0.22, 0.4)),
        ("ultraedit-region", 3, (0.2, 0.2, 0.70, 0.22, 0.4)),
        ("instruct-pix2pix", 4, (0.2, 0.2, 0.70, 0.2, None)),
    ],
)
def test_a_preset_is_the_published_filter(preset, keep, least):
    assert reasons(GOOD, preset=preset) == [None] * keep + ["not_among_best"] * (6 - keep)
    for name, bound in zip(SCORES, least, strict=True):
        found = reasons(GOOD | {name: [bound or 0, (bound or 0) - 0.001] * 3}, preset=preset, best=[])
        assert [reason or "kept" for reason in found].count(f"low_{name}") == (0 if bound is None else 3)
    assert set(select(preset=preset).needs_columns()) == {"parent_id", *SCORES[: 5 if least[4] else 4]}


def test_settings_replace_those_of_the_preset_score_by_score():
    columns = GOOD | {"pair_image_cos": [0.5] * 6, "pair_dino_cos": [0.1] * 6}
    bounds = {"pair_image_cos": {"min": 0.4}}
    assert set(reasons(columns, preset="ultraedit-free", bounds=bounds)) == {"low_pair_dino_cos"}
    bounds["pair_dino_cos"] = {"min": 0.1}
    best = [{"per": "parent_id", "keep": 5, "by": "pair_image_cos"}]
    assert reasons(columns, preset="ultraedit-free", bounds=bounds, best=best) == [None] * 5 + ["not_among_best"]
    by_type = {"add": {"pair_image_cos": {"min": 0.6}}}
    columns["edit_type"] = ["add"] * 3 + ["remove"] * 3
    found = reasons(columns, preset="ultraedit-free", bounds=bounds, bounds_by_edit_type=by_type)
    assert found == ["low_pair_image_cos"] * 3 + [None] * 3


def test_an_edit_type_that_no_pair_has_is_noted():
    ctx = Context(stage_name="select")
    by_type = {"remove": {"pair_image_cos": {"min": 0.1}}, "remvoe": {"pair_image_cos": {"min": 0.1}}}
    columns = {"edit_type": ["add", "add", "remove"], "pair_image_cos": [0.5] * 3}
    verdicts(columns, ctx, bounds_by_edit_type=by_type)
    assert dict(ctx.notes) == {"edit types with bounds that no pair has: remvoe": 1}


def test_a_target_keeps_its_best_pairs_across_shards_and_ties_go_by_id():
    columns = {"target_id": ["t", "t", "u", "t"], "target_caption_cos": [0.3, 0.4, 0.1, 0.4]}
    found = verdicts(columns, best=[{"per": "target_id", "keep": 1, "by": "target_caption_cos"}])
    assert [reason for reason, _ in found.values()] == ["not_among_best", None, None, "not_among_best"]
    assert found["s3"][1] == "target_id t has 1 better by target_caption_cos"


def test_a_pair_out_of_bounds_takes_no_place_of_its_target():
    columns = {"target_id": ["t", "t"], "target_caption_cos": [0.9, 0.5], "pair_image_cos": [0.0, 1.0]}
    best = [{"per": "target_id", "keep": 1, "by": "target_caption_cos"}]
    assert reasons(columns, best=best, bounds={"pair_image_cos": {"min": 0.5}}) == ["low_pair_image_cos", None]


def test_the_best_candidates_of_a_parent_stay():
    columns = {"parent_id": ["p", "p", "p", "q", None, None], "pair_direction_cos": [0.1, 0.3, 0.2, 0.0, 0.1, 0.2]}
    best = [{"per": "parent_id", "keep": 2, "by": "pair_direction_cos"}]
    assert reasons(columns, best=best) == ["not_among_best", None, None, None, None, None]


def test_lower_is_better_where_that_is_preferred_and_no_number_is_worst():
    columns = {"parent_id": ["p"] * 4, "source_mask_frac": [0.3, float("nan"), 0.1, None]}
    rule = {"per": "parent_id", "by": "source_mask_frac"}
    lowest = [{**rule, "keep": 1, "prefer": "lowest"}]
    assert reasons(columns, best=lowest) == ["not_among_best", "not_among_best", None, "not_among_best"]
    assert reasons(columns, best=[{**rule, "keep": 2}]) == [None, "not_among_best", None, "not_among_best"]


def test_a_later_rule_sees_only_what_the_earlier_ones_left():
    columns = {
        "parent_id": ["p", "p", "q"], "target_id": ["t", "u", "t"], "pair_image_cos": [0.2, 0.9, 0.1],
        "target_caption_cos": [0.9, 0.1, 0.5],
    }  # fmt: skip
    parents = {"per": "parent_id", "keep": 1, "by": "pair_image_cos"}
    targets = {"per": "target_id", "keep": 1, "by": "target_caption_cos"}
    assert reasons(columns, best=[parents, targets]) == ["not_among_best", None, None]
    assert reasons(columns, best=[targets, parents]) == ["not_among_best", None, "not_among_best"]


def reference(rows, options):
    """{id: (reason, detail)} row by row, all rows in one place."""
    stage = select(**options)
    found = {}
    for row in rows:
        bounds = {**stage.bounds, **stage.bounds_by_edit_type.get(row["edit_type"] or "", {})}
        for name in (name for name in NUMBERS if name in bounds):
            if failed := bounds[name].failed(row[name]):
                text = "no value" if row[name] is None else f"{row[name]:.4f}"
                found[row[SAMPLE_ID]] = f"{failed[0]}_{name}", f"{name} {text}, bound {failed[1]}"
                break
    for rule in stage.best:
        groups = defaultdict(list)
        for row in rows:
            group, value = row[rule.per], row[rule.by]
            if row[SAMPLE_ID] not in found and group is not None and not (rule.per in NUMBERS and math.isnan(group)):
                is_none = value is None or math.isnan(value)
                rank = math.inf if is_none else -value if rule.prefer == "highest" else value
                groups[group].append((rank, row[SAMPLE_ID]))
        for group, pairs in groups.items():
            detail = f"{rule.per} {group} has {rule.keep} better by {rule.by}"
            found |= {own: ("not_among_best", detail) for _, own in sorted(pairs)[rule.keep :]}
    return {row[SAMPLE_ID]: found.get(row[SAMPLE_ID], (None, None)) for row in rows}


VALUES = {
    "edit_type": st.sampled_from([None, "", "add", "remove"]),
    "parent_id": st.sampled_from([None, "", "p", "q", "ü"]),
    "target_id": st.sampled_from([None, "t", "u"]),
    "turn": st.none() | st.integers(-3, 3),
    "is_whole_image": st.none() | st.booleans(),
    "source_dhash": st.sampled_from([None, 0, 2**64 - 1]),
    "synthesis_seed": st.none() | st.sampled_from([-(2**63), 2**62, 2**62 + 1, 2**63 - 2]),
    "pair_image_cos": st.none() | st.sampled_from([0.0, -0.0, 0.25, 0.3, float("nan"), float("inf"), -float("inf")]),
    "target_caption_cos": st.none() | st.floats(-1, 1, width=32),
}
BOUNDS = {"pair_image_cos": {"min": 0.3, "may_be_missing": True}, "target_caption_cos": {"min": -0.5, "max": 0.5}}
GROUPED = ("parent_id", "target_id", "turn", "is_whole_image", "source_dhash", "pair_image_cos")
RULES = st.fixed_dictionaries({
    "per": st.sampled_from(GROUPED), "keep": st.integers(1, 2), "prefer": st.sampled_from(["highest", "lowest"]),
    "by": st.sampled_from(["pair_image_cos", "target_caption_cos", "turn", "synthesis_seed"]),
})  # fmt: skip


@hypothesis_settings(max_examples=150, deadline=None)
@given(data=st.data(), num_parts=st.sampled_from([1, 3, 8]), group_size=st.sampled_from([1, 2, 9]))
def test_verdicts_are_those_of_a_plain_pass_whatever_the_parts(data, num_parts, group_size):
    drawn = data.draw(st.lists(st.tuples(*VALUES.values()), max_size=25))
    ids = data.draw(st.permutations([f"{n % 7:x}-é{n}" for n in range(len(drawn))]))
    columns = {name: [row[at] for row in drawn] for at, name in enumerate(VALUES)}
    rows = table(ids, **columns) if drawn else table(["x"], **{n: [None] for n in columns}).slice(1)
    options = {
        "bounds": data.draw(st.sampled_from([{}, BOUNDS])),
        "bounds_by_edit_type": data.draw(st.sampled_from([{}, {"add": {"turn": {"min": 0}}, "": BOUNDS}])),
        "best": data.draw(st.just([]) | st.lists(RULES, min_size=2, max_size=3)),
    }
    cut = data.draw(st.integers(0, len(drawn)))
    shards = {"a": rows.slice(0, cut), "b": rows.slice(0, 0), "c": rows.slice(cut)}
    ctx = Context(stage_name="select")
    found = run_rounds(select(**options), ctx, shards, num_parts=num_parts, group_size=group_size)
    made = {row[SAMPLE_ID]: (row[REJECT_REASON], row[REJECT_DETAIL]) for t in found.values() for row in t.to_pylist()}
    expected = reference(rows.to_pylist(), options)
    assert {own: _one_zero(verdict) for own, verdict in made.items()} == {
        own: _one_zero(verdict) for own, verdict in expected.items()
    }
    absent = sorted(set(options["bounds_by_edit_type"]) - {row["edit_type"] for row in rows.to_pylist()})
    assert dict(ctx.notes) == {f"edit types with bounds that no pair has: {name}": 1 for name in absent}


def _one_zero(verdict):
    """The verdict with both zeros written alike: a group of them has the name of either."""
    reason, detail = verdict
    return reason, detail and detail.replace("pair_image_cos -0.0 has", "pair_image_cos 0.0 has")


def test_bounds_alone_need_no_round():
    assert select(bounds={"pair_image_cos": {"min": 0.3}}).open(Context(stage_name="select")).rounds == ()
    rounds = select(best=[{"per": "parent_id", "keep": 1, "by": "turn"}] * 2).open(Context(stage_name="select")).rounds
    assert [one.name for one in rounds] == ["scatter", "best_0", "best_1"]


def test_a_row_without_a_group_in_one_rule_is_judged_by_the_next():
    columns = {"parent_id": [None, None, "p"], "target_id": ["t", "t", "t"], "pair_image_cos": [0.1, 0.2, 0.3]}
    rules = [{"per": per, "keep": 1, "by": "pair_image_cos"} for per in ("parent_id", "target_id")]
    assert reasons(columns, best=rules) == ["not_among_best", "not_among_best", None]


def test_a_bound_on_a_column_that_no_stage_writes_stops_the_plan():
    chain = [entry(ReadWebdataset()), entry(CountWords())]
    for settings in ({"bounds": {"source_mask_frac": {"min": 0.1}}},
                     {"bounds_by_edit_type": {"add": {"source_mask_frac": {"min": 0.1}}}},
                     {"best": [{"per": "caption", "keep": 1, "by": "source_mask_frac"}]}):  # fmt: skip
        with pytest.raises(
            PlanError, match="stage select reads column 'source_mask_frac', which no stage before it writes"
        ):
            plan_stages(manifest_of(*chain, entry(select(**settings))))


@pytest.mark.parametrize(
    ("settings", "column"),
    [
        ({"preset": "ultraedit-free"}, "pair_dino_cos"),
        ({"best": [{"per": "parent_id", "keep": 1, "by": "outside_ssim"}]}, "outside_ssim"),
    ],
)
def test_a_bound_on_a_score_that_is_not_measured_stops_the_plan(settings, column):
    pairs = SynthesisePair(model="zoo:sd", encoder="zoo:clip", preset="instruct-pix2pix")
    chain = [entry(one) for one in (ReadWebdataset(), NormaliseImage(), EditCaptionWordnet(), pairs)]
    with pytest.raises(PlanError) as caught:
        plan_stages(manifest_of(*chain, entry(select(**settings))))
    assert str(caught.value) == (
        f"stage select needs values of {column!r}, and with its settings stage synthesisepair measures none; "
        f"change those settings, or do not name {column!r}"
    )


def test_an_unknown_column_stops_the_plan_with_the_nearest_name():
    chain = [entry(ReadWebdataset()), entry(select(bounds={"source_size_byte": {"min": 9}}))]
    with pytest.raises(PlanError, match=r"'source_size_byte', which no .* \(did you mean 'source_size_bytes'\?\)"):
        plan_stages(manifest_of(*chain))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bounds": {"source_mask_frac": {"min": 1.5}}},
         "column 'source_mask_frac' has values from 0 to 1: a bound of 1.5 is none"),
        ({"bounds": {"target_margin_cos": {"max": -3}}},
         "column 'target_margin_cos' has values from -2 to 2: a bound of -3.0 is none"),
        ({"bounds": {"caption": {"min": 0}}}, "column 'caption' holds no numbers: it cannot have a bound"),
        ({"bounds_by_edit_type": {"add": {"source_dhash": {"min": 0}}}}, "column 'source_dhash' holds no numbers"),
        ({"bounds": {"pair_image_cos": {}}}, "bounds.pair_image_cos: expected min, max or both"),
        ({"bounds": {"pair_image_cos": {"min": 0.5, "max": 0.2}}}, "min 0.5 is more than max 0.2"),
        ({"bounds": {"pair_image_cos": {"least": 0.5}}}, "bounds.pair_image_cos: unknown key 'least' (known: "),
        ({"bounds": {"pair_image_cos": {"min": float("nan")}}}, "bounds.pair_image_cos.min: "),
        ({"best": [{"per": "target_id", "keep": 0, "by": "pair_image_cos"}]}, "best.0.keep: "),
        ({"best": [{"per": "target_id", "keep": 1, "by": "pair_image_cos", "prefer": "most"}]}, "best.0.prefer: "),
        ({"best": [{"per": "target_id", "keep": 1, "by": "caption"}]},
         "best.0.by: column 'caption' holds no numbers: pairs cannot be ranked by it"),
        ({"best": [{"per": "neighbour_ids", "keep": 1, "by": "pair_image_cos"}]},
         "best.0.per: column 'neighbour_ids' holds no single value: pairs cannot be grouped by it"),
        ({"best": [{"per": "target_image", "keep": 1, "by": "pair_image_cos"}]}, "best.0.per: column 'target_image'"),
        ({"min_mask_frac": 0.1}, "unknown key 'min_mask_frac'"),
        ({"preset": "ultraedit"}, "preset: input should be 'ultraedit-free', 'ultraedit-region' or 'instruct-pix2pix'"),
    ],
)  # fmt: skip
def test_bounds_that_no_value_can_have_are_refused(settings, message):
    assert message in refusal(**settings)


def test_the_settings_are_written_as_a_table_in_a_manifest(tmp_path):
    path = tmp_path / "m.toml"
    path.write_text("""
name = "x"
[[stage]]
use = "select"
bounds.target_caption_cos = { min = 0.2, max = 0.9 }
bounds_by_edit_type.remove.target_caption_cos = { min = 0.1 }
best = [{ per = "parent_id", keep = 1, by = "target_caption_cos" }]
""")
    stage = load_manifest(path).stages[0].stage
    assert stage == select(
        bounds={"target_caption_cos": {"min": 0.2, "max": 0.9}},
        bounds_by_edit_type={"remove": {"target_caption_cos": {"min": 0.1}}},
        best=[{"per": "parent_id", "keep": 1, "by": "target_caption_cos"}],
    )
    assert stage.needs_columns() == ("target_caption_cos", "edit_type", "parent_id")
    assert pickle.loads(pickle.dumps(stage)) == stage
    canonical(stage.model_dump(mode="json"))


def test_reasons_pickle_and_name_columns():
    assert pickle.loads(pickle.dumps(list(SelectReject))) == list(SelectReject)
    assert {"low_target_caption_cos", "high_source_mask_frac", "not_among_best"} <= {r.value for r in SelectReject}
