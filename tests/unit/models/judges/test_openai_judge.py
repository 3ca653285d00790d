"""The judge behind OpenAI's chat interface: what it is asked, and every way in which it may not answer."""

import json

import pytest
from _language_models import make_images
from _openai_server import chat_server, completion

from core.errors import ModelError
from models import endpoint, registry
from models.judges.prompt import prompt_sha256, schema
from models.placement import Placement
from models.protocols import JudgeReply, JudgeRequest


@pytest.fixture(autouse=True)
def no_waits(monkeypatch):
    monkeypatch.setattr(endpoint, "WAIT_S", 0.0)


def requests_for(*instructions):
    images = make_images(2)
    return [JudgeRequest(source=images[0], edited=images[1], instruction=one) for one in instructions]


def judge(server, *instructions, **settings):
    made = registry.load("EditJudge", server.model_id, Placement(batch_size=4), **settings)
    return made.judge(requests_for(*instructions), seeds=range(len(instructions)))


def instruction_in(body):
    *_, asked = body["messages"][0]["content"]
    return asked["text"].rpartition("Request: ")[2].strip('"') if isinstance(asked, dict) else "ping"


def answers(**by_instruction):
    """Answers by instruction; those of other requests, as the one of two words, are good."""
    return lambda body: by_instruction.get(instruction_in(body), (200, completion("fine")))


def test_each_edit_is_asked_about_with_both_images_schema_and_seed():
    with chat_server(lambda body: (200, completion(instruction_in(body)))) as server:
        assert [reply.text for reply in judge(server, "a", "b", max_new_tokens=9)] == ["a", "b"]
    bodies = sorted((body for _, _, body in server.asked), key=instruction_in)
    assert [body["seed"] for body in bodies] == [0, 1]
    assert (bodies[0]["max_tokens"], bodies[0]["temperature"]) == (9, 0.0)
    form = bodies[0]["response_format"]
    assert (form["type"], form["json_schema"]["schema"], form["json_schema"]["strict"]) == (
        "json_schema",
        schema(),
        True,
    )
    kinds = [part["type"] for part in bodies[0]["messages"][0]["content"]]
    assert kinds == ["text", "image_url", "text", "image_url", "text"]
    assert registry.load("EditJudge", server.model_id).prompt_sha256 == prompt_sha256()


def test_tokens_are_those_that_the_server_reports():
    usage = {"prompt_tokens": 800, "completion_tokens": 60}
    with chat_server(answers(a=(200, completion("x") | {"usage": usage}))) as server:
        assert judge(server, "a", "b") == [JudgeReply("x", "text", 800, 60), JudgeReply("fine")]


@pytest.mark.parametrize(
    "usage", [None, 3, {}, {"prompt_tokens": "many"}, {"prompt_tokens": -5}, {"prompt_tokens": True}]
)
def test_tokens_that_are_no_numbers_count_as_none(usage):
    with chat_server(answers(a=(200, completion("x") | {"usage": usage}))) as server:
        assert judge(server, "a") == [JudgeReply("x")]


def refusals():
    told = completion(None)
    told["choices"][0]["message"]["refusal"] = "I will not."
    filtered = completion("it is")
    filtered["choices"][0]["finish_reason"] = "content_filter"
    yield "I will not.", (200, told)
    yield "it is", (200, filtered)
    for code in ("content_filter", "content_policy_violation"):
        yield code, (400, {"error": {"code": code, "message": "no"}})


@pytest.mark.parametrize(("words", "answer"), list(refusals()))
def test_a_refusal_is_what_the_interface_calls_one(words, answer):
    with chat_server(answers(a=answer)) as server:
        refused, other = judge(server, "a", "b")
    assert refused.kind == "refused"
    assert words in refused.text
    assert other == JudgeReply("fine")


def test_words_that_sound_like_a_refusal_are_a_reply():
    with chat_server(answers(a=(200, completion("I'm sorry, I can't help with that.")))) as server:
        assert judge(server, "a")[0].kind == "text"


@pytest.mark.parametrize("status", [500, 504, 408])
def test_one_request_without_an_answer_among_others_is_no_reply(status):
    with chat_server(answers(a=(status, "no"))) as server:
        assert judge(server, "a", "b") == [JudgeReply("", "no_reply"), JudgeReply("fine")]


@pytest.mark.parametrize("status", [429, 502, 503])
def test_a_server_that_is_busy_has_not_abstained(status):
    with chat_server(answers(a=(status, "busy"))) as server:
        fault, other = judge(server, "a", "b")
    assert isinstance(fault, ConnectionError)
    assert f"HTTP {status}" in str(fault)
    assert other == JudgeReply("fine")


def test_a_request_alone_is_no_reply_where_the_server_answers_another():
    with chat_server(answers(a=(500, "no"))) as server:
        assert judge(server, "a") == [JudgeReply("", "no_reply")]
        assert server.asked[-1][2]["messages"] == [{"role": "user", "content": "Say OK."}]


def test_a_server_that_refuses_the_other_request_works_all_the_same():
    with chat_server(answers(a=(500, "no"), ping=(400, "too short"))) as server:
        assert judge(server, "a") == [JudgeReply("", "no_reply")]


def test_a_server_that_answers_nothing_is_a_fault_of_the_machine():
    with (
        chat_server(lambda body: (500, "no")) as server,
        pytest.raises(ConnectionError, match="no answer in 4 attempts"),
    ):
        judge(server, "a", "b")


def test_an_answer_that_takes_too_long_is_no_reply():
    import threading

    leave = threading.Event()

    def slow(body):
        if instruction_in(body) == "a":
            leave.wait(5)
        return 200, completion("fine")

    with chat_server(slow) as server:
        assert judge(server, "a", "b", timeout_s=0.1) == [JudgeReply("", "no_reply"), JudgeReply("fine")]
        leave.set()


@pytest.mark.parametrize("error", ["too large", {"error": {"code": "context_length_exceeded"}}, {"error": "x"}, [1]])
def test_a_request_that_is_refused_for_another_reason_is_an_error(error):
    body = error if isinstance(error, str) else json.dumps(error)
    with chat_server(answers(a=(400, body))) as server:
        refused, other = judge(server, "a", "b")
    assert isinstance(refused, ValueError)
    assert "HTTP 400" in str(refused)
    assert other == JudgeReply("fine")


@pytest.mark.parametrize("answer", ["no JSON", {"choices": []}, {"error": {"code": 429}}])
def test_an_answer_of_another_form_is_an_error_of_that_request(answer):
    with chat_server(answers(a=(200, answer))) as server:
        malformed, other = judge(server, "a", "b")
    assert "no chat completion came back" in str(malformed)
    assert other == JudgeReply("fine")


@pytest.mark.parametrize(("status", "words"), [(401, "the key is refused"), (402, "no credit left; top it up")])
def test_a_refused_key_or_an_empty_account_is_an_error_of_the_model(status, words):
    with chat_server(answers(a=(status, "no"))) as server, pytest.raises(ModelError, match=words):
        judge(server, "a", "b")


def test_an_empty_answer_is_handed_on_as_it_is():
    with chat_server(answers(a=(200, completion(None)))) as server:
        assert judge(server, "a") == [JudgeReply("")]


def test_no_requests_open_no_connection():
    made = registry.load("EditJudge", "openai:tiny@http://127.0.0.1:1/v1")
    assert made.judge([], seeds=[]) == []
