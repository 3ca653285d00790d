import json
from collections import Counter

import imagehash
import numpy as np
import pyarrow as pa
import pytest
from _seeded_editor import SeededEditor
from _stage_inputs import png, rows, turn
from pydantic import ValidationError

from core.errors import PlanError
from pipeline.context import Context
from pipeline.plan.manifest import load_manifest
from pipeline.plan.plan import plan_stages
from samples.columns import COLUMNS, PARENT_ID, REJECT_DETAIL, REJECT_REASON, SAMPLE_ID, column
from samples.stored_images import made_image
from stages.chain_edits import ChainEdits
from stages.emit import sample_json
from stages.sessions.kept_columns import KEPT_COLUMNS

A, B, C, D = (
    "a red car and a cat on a beach", "a blue car and a cat on a beach", "a blue car and a dog on a beach",
    "a blue car and a dog in a street",
)  # fmt: skip
TO_C, TO_D = (
    turn("change the cat to a dog", C, reverse_instruction="change the dog to a cat"),
    turn("go to a street", D),
)
GREEN = turn("make the car green", "a green car and a cat on a beach", reverse_instruction="make the car blue")


class Lighter(SeededEditor):
    """Makes every pixel lighter by `step`, whatever the seed; `requests` holds what it was asked."""

    def __init__(self, step=3):
        super().__init__()
        self.step = step

    def answer(self, requests, *, seeds):
        self.seeds = list(seeds)
        return super().answer(requests, seeds=[self.step - 1 for _ in seeds])


def first_edits(*further_turns, **columns):
    count = len(further_turns)
    return rows(**{
        "source_images": [[png(n)] for n in range(count)], "source_format": ["png"] * count,
        "target_image": [png(n + 4) for n in range(count)], "target_format": ["png"] * count,
        "source_caption": [A] * count, "target_caption": [B] * count, "instruction": ["make the car blue"] * count,
        "reverse_instruction": ["make the car red"] * count, "edit_type": ["change_colour"] * count,
        "further_turns": list(further_turns), **columns,
    })  # fmt: skip


def run(table, editor=None, encoder_model=None, **settings):
    """(rows, notes) of the stage over the table."""
    own = editor or Lighter()
    models = {"Editor": own, "ImageEncoder": encoder_model}
    context = Context(stage_name="chain_edits", loader=lambda protocol, *_, **__: models[protocol])
    stage = ChainEdits(**{"model": "zoo:ip2p", **settings})
    return stage.open(context)(table).to_pylist(), context.notes


def by_suffix(found):
    return {row[SAMPLE_ID].rpartition("-")[2]: row for row in found}


def test_each_turn_edits_what_the_last_one_left():
    table = first_edits([TO_C, TO_D])
    found, _ = run(table, further_pairs=())
    own = table[SAMPLE_ID][0].as_py()
    assert [row[SAMPLE_ID] for row in found] == [f"{own}-s{n}" for n in (1, 2, 3)]
    assert [row[PARENT_ID] for row in found] == [own] * 3
    assert [(row["session_id"], row["turn"], row["pair_kind"]) for row in found] == [
        (own, n, "turn") for n in (1, 2, 3)
    ]
    assert [row["source_caption"] for row in found] == [A, B, C]
    assert [row["target_caption"] for row in found] == [B, C, D]
    assert [row["instruction"] for row in found] == ["make the car blue", "change the cat to a dog", "go to a street"]
    assert (found[0]["source_images"], found[0]["target_image"]) == ([png(0)], png(4))
    assert found[1]["source_images"] == [png(4)]
    assert found[2]["source_images"] == [found[1]["target_image"]]
    first, last = (np.asarray(made_image(one), int) for one in (png(4), found[2]["target_image"]))
    np.testing.assert_array_equal(last, np.minimum(255, first + 6))


def test_compositions_and_inverses_stand_beside_the_turns():
    found, notes = run(first_edits([TO_C, TO_D]))
    assert list(by_suffix(found)) == ["s1", "s2", "s3", "s1to2", "s1to3", "s1r", "s2r"]
    assert Counter(row["pair_kind"] for row in found) == {"turn": 3, "composition": 2, "inverse": 2}
    composed = by_suffix(found)["s1to3"]
    assert composed["instruction"] == "make the car blue, then change the cat to a dog, then go to a street"
    assert composed["source_images"] == [png(0)]
    assert composed["target_image"] == by_suffix(found)["s3"]["target_image"]
    assert notes["session pairs: composition"] == 2


def test_turn_that_overrides_an_earlier_one_gives_no_composition():
    found, notes = run(first_edits([GREEN]))
    assert list(by_suffix(found)) == ["s1", "s2", "s1r", "s2r"]
    assert notes["compositions left out: a turn changes an earlier one, or has no instruction"] == 1


def test_inverse_goes_back_by_the_reverse_instruction():
    found, _ = run(first_edits([TO_C]), further_pairs=("inverse",))
    back = by_suffix(found)["s2r"]
    assert back["instruction"] == "change the dog to a cat"
    assert back["source_images"] == [by_suffix(found)["s2"]["target_image"]]
    assert back["target_image"] == png(4)
    assert (back["source_caption"], back["target_caption"]) == (C, B)
    assert (back["edit_model"], back["edit_input_tokens"]) == (None, None)


def test_type_that_is_not_invertible_gives_no_inverse():
    found, _ = run(first_edits([TO_C]), inverse_types=("add",))
    assert not [row for row in found if row["pair_kind"] == "inverse"]


def test_drift_is_measured_from_the_first_source_of_the_session():
    source = png(0)
    found, _ = run(first_edits([TO_C, TO_D], target_image=[png(0)]), Lighter(5), further_pairs=())
    first = np.asarray(made_image(source), int)
    wanted = [np.abs(np.minimum(255, first + 5 * n) - first).mean() / 255 for n in (0, 1, 2)]
    assert [row["session_l1"] for row in found] == pytest.approx(wanted, abs=1e-5)
    assert [row["session_outside_l1"] for row in found] == pytest.approx(wanted, abs=1e-5)


def test_session_ends_before_the_turn_beyond_a_bound():
    table, bounds = first_edits([TO_C, TO_D], target_image=[png(0)]), {"session_outside_l1": {"max": 0.03}}
    found, notes = run(table, Lighter(5), further_pairs=(), bounds=bounds)
    assert [row["turn"] for row in found] == [1, 2]
    assert notes["sessions: ended early, drifted"] == 1


def test_session_that_drifts_too_soon_is_rejected_with_turn_and_bound():
    table, bounds = first_edits([TO_C, TO_D], target_image=[png(0)]), {"session_outside_l1": {"max": 0.01}}
    ((row,), _) = run(table, Lighter(5), bounds=bounds)
    assert row[SAMPLE_ID] == table[SAMPLE_ID][0].as_py()
    assert (row[REJECT_REASON], row[REJECT_DETAIL]) == ("drifted", "turn 2: high_session_outside_l1")


def test_given_first_turn_is_bounded_too():
    editor = Lighter()
    ((row,), _) = run(first_edits([TO_C]), editor, bounds={"session_l1": {"max": 0.0}}, min_turns=1)
    assert row[REJECT_DETAIL] == "turn 1: high_session_l1"
    assert editor.requests == []


@pytest.mark.parametrize(
    ("turns", "reason"),
    [
        ([turn("refuse", C)], "refused"),
        ([turn("do nothing", C)], "no_change"),
        ([turn(" ", C)], "missing_field"),
        ([], "no_further_turn"),
        (None, "no_further_turn"),
    ],
)
def test_session_without_a_second_turn_is_rejected_by_what_ended_it(turns, reason):
    found, _ = run(first_edits(turns, [TO_C]), SeededEditor())
    assert found[0][REJECT_REASON] == reason
    assert found[1][REJECT_REASON] is None


def test_session_that_ends_early_keeps_the_turns_before():
    found, notes = run(first_edits([TO_C, turn("refuse", D)]), further_pairs=())
    assert [row["turn"] for row in found] == [1, 2]
    assert notes["sessions: ended early, refused"] == 1


def test_session_of_one_turn_is_kept_where_that_is_enough():
    found, _ = run(first_edits(None), further_pairs=(), min_turns=1)
    assert [row["turn"] for row in found] == [1]


def manifest(tmp_path, *before, after):
    """A chain of sessions, with stages before and after them as TOML tables of their own."""
    stages = ["read_edit_triples", "normalise_image", "normalise_target", "dedup"]
    text = 'name = "a"\n' + "".join(f'[[stage]]\nuse = "{name}"\n' for name in stages)
    turns = ('use = "write_turns"\nlexicon = "wordnet:3.0"', 'use = "chain_edits"\nmodel = "zoo:ip2p"')
    (tmp_path / "a.toml").write_text(text + "".join(f"[[stage]]\n{one}\n" for one in (*before, *turns, after)))
    return load_manifest(tmp_path / "a.toml")


SCORE = 'use = "score_edit"\nencoder = "zoo:clip"'


def test_chain_that_selects_by_scores_from_before_is_refused(tmp_path):
    with pytest.raises(PlanError) as caught:
        plan_stages(manifest(tmp_path, SCORE, after='use = "select"\nbounds.target_caption_cos = { min = 0.2 }'))
    assert str(caught.value) == (
        "stage select reads column 'target_caption_cos', which score_edit wrote of the rows before chain_edits made "
        "others; place score_edit after chain_edits"
    )


def test_dataset_has_no_column_of_the_first_pair(tmp_path):
    latents = 'use = "encode_latents"\nmodel = "zoo:sd"\nsize_px = 64'
    *_, emitted = plan_stages(manifest(tmp_path, SCORE, latents, after='use = "emit"'))
    chain = emitted.index - 1
    earlier = {name for name, writer in emitted.providers.items() if writer < chain}
    assert {"source_metadata", "original_width_px", "duplicate_cluster_id"} <= earlier <= KEPT_COLUMNS
    assert not {"instructions", "target_latent", "pair_l1", "region_mask_png"} & set(emitted.providers)


def test_columns_that_stay_are_declared_and_about_the_input():
    written = set(ChainEdits.writes)
    assert set(COLUMNS) >= KEPT_COLUMNS
    assert not KEPT_COLUMNS & written
    assert not any(column(name).bulk for name in KEPT_COLUMNS)


def test_first_edit_without_instruction_gives_no_composition():
    found, notes = run(first_edits([TO_C], instruction=pa.array([None], pa.string())))
    assert list(by_suffix(found)) == ["s1", "s2", "s1r", "s2r"]
    assert notes["compositions left out: a turn changes an earlier one, or has no instruction"] == 1


def test_turn_of_another_row_changes_nothing():
    table = first_edits([TO_C, TO_D], [GREEN], [turn("refuse", C)], [TO_C])
    whole, _ = run(table, SeededEditor())
    for size in (1, 3):
        parts = [run(table.slice(at, size), SeededEditor())[0] for at in range(0, table.num_rows, size)]
        assert [row for part in parts for row in part] == whole


def test_seeds_of_turns_differ_and_are_kept():
    found, _ = run(first_edits([TO_C, TO_D], [TO_C, TO_D]), SeededEditor(), further_pairs=())
    seeds = [row["synthesis_seed"] for row in found if row["turn"] > 1]
    assert len(set(seeds)) == 4
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_how_the_first_image_was_made_is_kept_on_the_first_turn():
    made = {"edit_model": ["zoo:other"], "synthesis_seed": [9], "edit_input_tokens": [3], "edit_output_tokens": [4]}
    found, _ = run(first_edits([TO_C], **made), further_pairs=())
    assert [found[0][name] for name in made] == ["zoo:other", 9, 3, 4]
    assert found[1]["edit_model"] == "zoo:ip2p"


def test_similarity_to_the_first_source_is_by_the_encoder():
    class Brightness:
        def encode_images(self, images):
            return np.array([[np.asarray(one).mean() / 255, 0] for one in images], np.float32)

    table = first_edits([TO_C])
    without, _ = run(table, further_pairs=())
    found, _ = run(table, encoder_model=Brightness(), encoder="zoo:dino", further_pairs=())
    means = [np.asarray(made_image(one)).mean() / 255 for one in (png(0), png(4), found[1]["target_image"])]
    assert [row["session_image_cos"] for row in without] == [None, None]
    assert [row["session_image_cos"] for row in found] == pytest.approx(
        [means[0] * means[1], means[0] * means[2]], abs=1e-4
    )


def test_target_of_another_size_has_no_drift_and_fails_a_bound():
    buffer = png(4, (16, 16))
    ((row,), _) = run(first_edits([TO_C], target_image=[buffer]), bounds={"session_l1": {"max": 0.9}}, min_turns=1)
    assert row[REJECT_DETAIL] == "turn 1: high_session_l1"
    found, _ = run(first_edits([TO_C], target_image=[buffer]), further_pairs=())
    assert [row["session_l1"] for row in found] == [None, None]


def test_bounds_are_on_scores_of_sessions_alone():
    with pytest.raises(ValidationError, match=r"bounds\.pair_l1: expected a score of a session"):
        ChainEdits(model="zoo:ip2p", bounds={"pair_l1": {"max": 0.5}})
    with pytest.raises(ValidationError, match="a bound on session_image_cos needs encoder"):
        ChainEdits(model="zoo:ip2p", bounds={"session_image_cos": {"min": 0.5}})


def test_kind_of_pair_is_in_the_json_of_a_sample():
    found, _ = run(first_edits([TO_C]))
    (known,) = [
        sample_json({**row, SAMPLE_ID: "a"}) for row in found if row["turn"] == 2 and row["pair_kind"] == "inverse"
    ]
    plain = {name: value for name, value in known.items() if column(name).type == pa.string() or name == "turn"}
    assert json.loads(json.dumps(plain))["pair_kind"] == "inverse"
    assert known["turn"] == 2


def test_source_hash_and_size_are_those_of_the_rows_own_source():
    found, _ = run(first_edits([TO_C]))
    for row in found:
        image = made_image(row["source_images"][0])
        assert row["source_dhash"] == int(str(imagehash.dhash(image)), 16)
        assert (row["width_px"], row["height_px"]) == image.size
    assert len({row["source_dhash"] for row in found}) > 1
