import base64
import io
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from _openai_server import image_server
from _seeded_editor import SeededEditor
from _stage_inputs import png, rows
from PIL import Image
from pydantic import ValidationError

from models import endpoint
from pipeline.context import Context
from pipeline.plan.plugins import load_model
from samples.columns import REJECT_DETAIL, REJECT_REASON, SAMPLE_ID
from samples.stored_images import made_image, mask_png
from stages.editing import orders
from stages.synthesise_edit import SynthesiseEdit


def edits(*instructions, **columns):
    return rows(source_images=[[png(n)] for n in range(len(instructions))], instruction=list(instructions), **columns)


def run(table, editor=None, **settings):
    """(rows, notes) of the stage over the table."""
    own = editor or SeededEditor()
    context = Context(stage_name="synthesise_edit", loader=lambda *_, **__: own)
    stage = SynthesiseEdit(**{"model": "zoo:ip2p", **settings})
    return stage.open(context)(table).to_pylist(), context.notes


def test_each_candidate_is_a_row_with_a_seed_of_its_own():
    table = edits("make it red", "make it blue")
    found, _ = run(table, num_candidates=3)
    first, second = table[SAMPLE_ID].to_pylist()
    assert [row[SAMPLE_ID] for row in found] == [f"{one}-c{n}" for one in (first, second) for n in (1, 2, 3)]
    assert [row["candidate_number"] for row in found] == [1, 2, 3] * 2
    assert len({row["synthesis_seed"] for row in found}) == 6
    assert len({row["target_image"] for row in found}) == 6
    assert {row["edit_model"] for row in found} == {"zoo:ip2p"}


def test_a_seed_fits_into_a_signed_integer_of_32_bits():
    found, _ = run(edits("make it red"), num_candidates=50)
    assert all(0 <= row["synthesis_seed"] < 2**31 for row in found)


def test_target_is_stored_in_the_format_that_is_asked_for():
    (row,), _ = run(edits("make it red"), format="webp")
    assert row["target_format"] == "webp"
    assert row["target_image"][8:12] == b"WEBP"
    assert made_image(row["target_image"]).size == made_image(png(0)).size


def test_refused_row_costs_that_row_alone():
    found, notes = run(edits("make it red", "refuse", "make it blue"))
    assert [row[REJECT_REASON] for row in found] == [None, "refused", None]
    assert found[1][REJECT_DETAIL] == "HTTP 400: against the rules"
    assert notes["edited images"] == 3
    assert notes["edited images: refused"] == 1


def test_edit_that_changes_no_pixel_is_rejected():
    found, _ = run(edits("do nothing"))
    assert [row[REJECT_REASON] for row in found] == ["no_change"]


def test_failed_candidate_is_left_out_and_counted():
    found, notes = run(edits("do nothing at times"), num_candidates=8)
    assert 0 < len(found) < 8
    assert [row["candidate_number"] for row in found] == [
        n for n in range(1, 9) if n in {row["candidate_number"] for row in found}
    ]
    assert len(found) + notes["edited images: no_change"] == 8


@pytest.mark.parametrize("text", [None, "", "  "])
def test_row_without_what_the_editor_needs_is_rejected_unasked(text):
    editor = SeededEditor()
    found, _ = run(edits(text, "make it red"), editor)
    assert [row[REJECT_REASON] for row in found] == ["missing_field", None]
    assert found[0][REJECT_DETAIL] == "the editor needs instruction"
    assert len(editor.requests) == 1


def test_region_is_given_to_an_editor_that_uses_it():
    editor = SeededEditor()
    mask_HW = np.zeros(made_image(png(0)).size[::-1], bool)
    mask_HW[:5] = True
    run(edits("make it red", "make it blue", region_mask_png=[mask_png(mask_HW), None]), editor)
    np.testing.assert_array_equal(editor.requests[0].mask, mask_HW)
    assert editor.requests[1].mask is None


def test_fields_that_the_editor_does_not_take_are_left_out():
    editor = SeededEditor()
    run(edits("make it red", source_caption=["a car"], target_caption=["a red car"]), editor)
    assert editor.requests[0].target_caption is None


def test_plan_asks_for_the_columns_that_the_editor_needs():
    assert SynthesiseEdit(model="zoo:ip2p").needs_columns() == ("instruction",)
    assert SynthesiseEdit(model="zoo:sd").needs_columns() == ("target_caption",)
    assert SynthesiseEdit(model="hf:somebody/editor@" + "0" * 40).needs_columns() == ()


def test_unknown_setting_of_the_editor_is_refused_with_the_nearest():
    with pytest.raises(ValidationError, match=r"editor: unknown key 'num_step' \(did you mean 'num_steps'"):
        SynthesiseEdit(model="zoo:ip2p", editor={"num_step": 3})


def test_settings_reach_the_editor_as_its_own_settings():
    given = {}

    def loader(protocol, model_id, **settings):
        given.update(settings, protocol=protocol, model=model_id)
        return SeededEditor()

    stage = SynthesiseEdit(model="zoo:ip2p", editor={"num_steps": 3})
    stage.open(Context(stage_name="synthesise_edit", loader=loader))
    assert (given["protocol"], given["model"], given["settings"].num_steps) == ("Editor", "zoo:ip2p", 3)


def test_editor_is_asked_in_parts_of_bounded_size(monkeypatch):
    sizes = []

    class Counting(SeededEditor):
        def answer(self, requests, *, seeds):
            sizes.append(len(requests))
            return super().answer(requests, seeds=seeds)

    monkeypatch.setattr(orders, "ORDERS_AT_ONCE", 4)
    whole, _ = run(edits(*["make it red"] * 3), num_candidates=3)
    parts, _ = run(edits(*["make it red"] * 3), Counting(), num_candidates=3)
    assert sizes == [4, 4, 1]
    assert parts == whole


def test_tokens_are_columns_and_time_is_a_note():
    table = edits("make it red", "make it blue")
    found, notes = run(table)
    assert [row["edit_input_tokens"] for row in found] == [7, 7]
    assert [row["edit_output_tokens"] for row in found] == [row["synthesis_seed"] % 100 for row in found]
    assert notes["milliseconds of edit requests"] == 1000
    assert not [name for name in found[0] if name.endswith("_s")]


def test_editor_without_answers_by_row_serves_too():
    class WholeCalls:
        needs, uses = SeededEditor.needs, SeededEditor.uses

        def edit(self, requests, *, seeds):
            return SeededEditor().edit(requests, seeds=seeds)

    found, notes = run(edits("make it red"), WholeCalls())
    assert found[0]["target_image"]
    assert found[0]["edit_input_tokens"] is None
    assert "milliseconds of edit requests" not in notes
    assert notes == Counter({"edited images": 1})


def test_row_order_and_batches_change_no_candidate():
    table = edits(*["make it red"] * 4)
    whole, _ = run(table, num_candidates=2)
    mixed, _ = run(pa.concat_tables([table.slice(2), table.slice(0, 2)]), num_candidates=2)
    assert sorted(whole, key=lambda row: row[SAMPLE_ID]) == sorted(mixed, key=lambda row: row[SAMPLE_ID])


def test_server_is_asked_row_by_row_with_seeds_and_its_tokens_are_kept(monkeypatch):
    monkeypatch.setattr(endpoint, "WAIT_S", 0.001)
    shades = {}

    def answer(form):
        if form["prompt"] == b"refuse":
            return 400, {"error": {"code": "moderation_blocked"}}
        buffer = io.BytesIO()
        shades[form["seed"].decode()] = shade = len(shades) + 1
        Image.open(io.BytesIO(form["image"])).point(lambda value: 255 - value // shade).save(buffer, "PNG")
        image = base64.b64encode(buffer.getvalue()).decode()
        return 200, {"data": [{"b64_json": image}], "usage": {"input_tokens": 9, "output_tokens": 90 + shade}}

    with image_server(answer) as server:
        stage = SynthesiseEdit(model=server.model_id, editor={"server": "vllm-omni"}, num_candidates=2)
        context = Context(stage_name="synthesise_edit", loader=load_model)
        found = stage.open(context)(edits("make it red", "refuse")).to_pylist()
    assert [row[REJECT_REASON] for row in found] == [None, None, "refused"]
    assert {str(row["synthesis_seed"]) for row in found[:2]} == set(shades)
    assert [row["edit_output_tokens"] for row in found[:2]] == [
        90 + shades[str(row["synthesis_seed"])] for row in found[:2]
    ]
    assert found[0]["edit_model"] == server.model_id
    assert context.notes["edited images: refused"] == 2
    assert context.notes["milliseconds of edit requests"] > 0
    assert len(server.asked) == 4


def test_scores_of_an_earlier_target_are_no_scores_of_the_new_one():
    stage = SynthesiseEdit(model="zoo:ip2p")
    assert all(stage.outdates(name) for name in ("target_caption_cos", "judge_score", "target_mask_png", "pair_l1"))
    assert not any(stage.outdates(name) for name in ("instruction", "target_caption", "source_images", "session_id"))
