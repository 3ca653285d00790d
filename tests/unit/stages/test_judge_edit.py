"""The stage with servers that answer well, badly, not at all, or refuse; and what it does not ask for twice."""

import json

import pyarrow as pa
import pytest
from _openai_server import chat_server, completion
from _stage_inputs import edited_regions_with_instructions, png

from core.errors import ContractError
from models import endpoint
from models.judges import prompt
from pipeline.context import Context
from pipeline.plan.plugins import load_model
from pipeline.store.answer_cache import AnswerCache
from pipeline.store.storage import Storage
from stages.judge_edit import JudgeEdit
from stages.select import Select

SCORES = ("judge_instruction_score", "judge_preservation_score", "judge_quality_score", "judge_score")
GOOD = json.dumps({
    f"{name}_{part}": value for name, score in (("instruction", 9), ("preservation", 4), ("quality", 9))
    for part, value in (("reason", "so"), ("score", score))
})  # fmt: skip


@pytest.fixture(autouse=True)
def no_waits(monkeypatch):
    monkeypatch.setattr(endpoint, "WAIT_S", 0.0)


def context(tmp_path, **given):
    return Context(
        stage_name="judge_edit", loader=load_model, answers=AnswerCache(Storage(str(tmp_path)), "answers"), **given
    )


def judged(server, tmp_path, table, ctx=None, **settings):
    ctx = ctx or context(tmp_path)
    return JudgeEdit(model=server.model_id, **settings).open(ctx)(table)


def says(text):
    return lambda body: (200, text if isinstance(text, dict) else completion(text))


def table_of(tmp_path, rows=1):
    return edited_regions_with_instructions(tmp_path).slice(0, rows)


def test_a_good_reply_gives_scores_and_all_that_decided_them(tmp_path):
    with chat_server(says(GOOD)) as server:
        row = judged(server, tmp_path, table_of(tmp_path)).to_pylist()[0]
    assert [row[name] for name in SCORES] == [9, 4, 9, 6]
    assert (row["judge_status"], row["judge_reply"]) == ("parsed", GOOD)
    assert (row["judge_model"], row["judge_revision"]) == (server.model_id, "tiny")
    assert row["judge_prompt_sha256"] == prompt.prompt_sha256()
    assert row["judge_seed"] == server.asked[0][2]["seed"]


def refusal():
    found = completion(None)
    found["choices"][0]["message"]["refusal"] = "I will not."
    return found


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        ("I like it, 9 of 10.", "unparsed"),
        (GOOD.replace("9", "90"), "unparsed"),
        (GOOD.replace('"quality_score": 9', '"quality_score": null'), "unparsed"),
        (GOOD.replace("quality_score", "quality"), "unparsed"),
        (f"{GOOD} Thank you!", "unparsed"),
        (refusal(), "refused"),
        ("", "no_reply"),
        (" \n", "no_reply"),
    ],
)
def test_a_bad_reply_is_kept_and_gives_no_score(tmp_path, reply, status):
    with chat_server(says(reply)) as server:
        row = judged(server, tmp_path, table_of(tmp_path)).to_pylist()[0]
    assert row["judge_status"] == status
    assert [row[name] for name in SCORES] == [None] * 4
    if status != "no_reply":
        assert row["judge_reply"] == ("I will not." if status == "refused" else reply)


def test_a_fenced_reply_is_read(tmp_path):
    with chat_server(says(f"```json\n{GOOD}\n```")) as server:
        assert judged(server, tmp_path, table_of(tmp_path))["judge_status"].to_pylist() == ["parsed"]


def test_a_row_without_an_instruction_is_not_asked_about(tmp_path):
    with chat_server(says(GOOD)) as server:
        rows = judged(server, tmp_path, edited_regions_with_instructions(tmp_path)).to_pylist()
    assert [row["judge_status"] for row in rows] == ["parsed", "parsed", "no_reply", "parsed"]
    assert (rows[2]["judge_seed"], rows[2]["judge_reply"]) == (None, None)
    assert len(server.asked) == 3


def test_a_second_run_asks_nothing_and_gives_the_same(tmp_path):
    table = table_of(tmp_path, 4)
    with chat_server(says(GOOD)) as server:
        first, second = context(tmp_path), context(tmp_path)
        once = judged(server, tmp_path, table, first)
        asked = len(server.asked)
        assert judged(server, tmp_path, table, second).equals(once)
        assert len(server.asked) == asked
    assert first.notes == second.notes
    assert first.notes["judge replies"] == 4


def test_rows_under_other_ids_in_other_batches_find_their_replies(tmp_path):
    table = table_of(tmp_path, 2)
    renamed = table.set_column(0, "sample_id", pa.array(["x-e1", "y-e7"])).append_column("turn", pa.array([1, 2]))
    with chat_server(says(GOOD)) as server:
        judged(server, tmp_path, table)
        for row in range(2):
            judged(server, tmp_path, renamed.slice(row, 1))
    assert len(server.asked) == 2


@pytest.mark.parametrize("name", ["source_images", "target_image", "instruction", "source_caption", "region_mask_png"])
def test_a_changed_image_text_or_region_is_asked_about_anew(tmp_path, name):
    table = table_of(tmp_path)
    new = {"source_images": [png(8)], "target_image": png(8), "region_mask_png": png(8)}.get(name, "another")
    place = table.column_names.index(name)
    other = table.set_column(place, name, pa.array([new], table.schema.field(name).type))
    with chat_server(says(GOOD)) as server:
        judged(server, tmp_path, table)
        judged(server, tmp_path, other)
    assert len(server.asked) == 2


def test_a_changed_prompt_never_finds_old_replies(tmp_path, monkeypatch):
    table = table_of(tmp_path)
    with chat_server(says(GOOD)) as server:
        judged(server, tmp_path, table)
        monkeypatch.setattr(prompt, "PROMPT", "Which one is better?")
        row = judged(server, tmp_path, table).to_pylist()[0]
    assert len(server.asked) == 2
    assert row["judge_prompt_sha256"] == prompt.prompt_sha256()


def test_another_judge_seed_or_setting_is_asked_anew(tmp_path):
    table = table_of(tmp_path)
    with chat_server(says(GOOD)) as server:
        judged(server, tmp_path, table)
        judged(server, tmp_path, table, context(tmp_path, seed=1))
        judged(server, tmp_path, table, max_new_tokens=9)
        JudgeEdit(model=server.model_id_of("other")).open(context(tmp_path))(table)
    assert len(server.asked) == 4
    assert len({body["seed"] for _, _, body in server.asked}) == 2


@pytest.mark.parametrize(("reply", "times"), [("no JSON", 1), (refusal(), 1), ("", 2)])
def test_abstentions_are_kept_but_for_those_without_a_reply(tmp_path, reply, times):
    with chat_server(says(reply)) as server:
        for _ in range(2):
            judged(server, tmp_path, table_of(tmp_path))
    assert len(server.asked) == times


def test_equal_edits_of_one_batch_are_asked_about_once(tmp_path):
    table = pa.concat_tables([table_of(tmp_path)] * 3)
    with chat_server(says(GOOD)) as server:
        assert judged(server, tmp_path, table)["judge_score"].to_pylist() == [6, 6, 6]
    assert len(server.asked) == 1


def test_replies_and_tokens_are_counted(tmp_path):
    ctx = context(tmp_path)
    with chat_server(says(completion("x") | {"usage": {"prompt_tokens": 70, "completion_tokens": 4}})) as server:
        judged(server, tmp_path, table_of(tmp_path, 3), ctx)
    assert +ctx.notes == {
        "judge replies": 3, "judge replies: unparsed": 2, "judge replies: no_reply": 1, "judge prompt tokens": 140,
        "judge completion tokens": 8,
    }  # fmt: skip


def test_a_server_that_is_down_fails_the_step_and_keeps_nothing(tmp_path):
    with chat_server(lambda body: (503, "")) as server, pytest.raises(ConnectionError):
        judged(server, tmp_path, table_of(tmp_path, 2))
    assert not (tmp_path / "answers").exists()


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ([GOOD, GOOD], "the judge returned a str; expected a JudgeReply"),
        ([None, None], "a NoneType; expected"),
        ([], "returned 0 replies to 2 requests"),
    ],
)
def test_a_judge_that_returns_something_else_is_refused(tmp_path, told, said):
    class Own:
        prompt_sha256 = None

        def judge(self, requests, *, seeds):
            return told

    ctx = Context(stage_name="judge_edit", loader=lambda *_, **__: Own())
    with pytest.raises(ContractError, match=said):
        JudgeEdit(model="zoo:clip").open(ctx)(table_of(tmp_path, 2))


@pytest.mark.parametrize(("fault", "kind"), [((429, "busy"), ConnectionError), ((400, "no"), ValueError)])
def test_an_error_at_one_edit_costs_no_reply_to_another(tmp_path, fault, kind):
    is_over = []

    def answer(body):
        return fault if "bus" in str(body) and not is_over else (200, completion(GOOD))

    table = table_of(tmp_path, 2)
    with chat_server(answer) as server:
        with pytest.raises(kind, match=f"HTTP {fault[0]}"):
            judged(server, tmp_path, table)
        before = len(server.asked)
        is_over.append(True)
        assert judged(server, tmp_path, table)["judge_status"].to_pylist() == ["parsed"] * 2
    assert len(server.asked) == before + 1


def test_another_version_of_the_stage_finds_no_old_replies(tmp_path, monkeypatch):
    table = table_of(tmp_path)
    with chat_server(says(GOOD)) as server:
        judged(server, tmp_path, table)
        monkeypatch.setattr(JudgeEdit, "version", JudgeEdit.version + 1)
        judged(server, tmp_path, table)
    assert len(server.asked) == 2


def test_select_rejects_abstentions_by_a_bound_on_the_score(tmp_path):
    with chat_server(lambda body: (200, completion(GOOD if "bus" in str(body) else "no"))) as server:
        rows = judged(server, tmp_path, table_of(tmp_path, 2))
    judge = Select(bounds={"judge_score": {"min": 5.0}}).open(Context(stage_name="select")).judge
    verdict = judge("a", rows, lambda name: []).to_pylist()
    assert [row["reject_reason"] for row in verdict] == [None, "low_judge_score"]
    assert verdict[1]["reject_detail"] == "judge_score no value, bound 5.0"
    lenient = Select(bounds={"judge_score": {"min": 5.0, "may_be_missing": True}})
    passed = lenient.open(Context(stage_name="select")).judge("a", rows, lambda name: [])
    assert passed["reject_reason"].to_pylist() == [None, None]
