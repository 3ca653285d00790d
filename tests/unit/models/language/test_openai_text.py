import time

import pytest
from _openai_server import chat_server, completion

from core.errors import ModelError
from models import endpoint as llm_endpoint
from models import registry
from models.placement import Placement

SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
KEY = "sk-very-secret"


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """Waits too short to notice, and a key."""
    monkeypatch.setattr(llm_endpoint, "WAIT_S", 0.001)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def model_of(server, batch_size=4, **settings):
    return registry.load("TextGenerator", server.model_id, Placement(batch_size=batch_size), **settings)


def echo(body):
    return 200, completion(f"re: {body['messages'][-1]['content']}")


def test_prompts_are_answered_in_order_several_at_once():
    def slow(body):
        time.sleep(0.05 if body["messages"][-1]["content"] == "0" else 0.01)
        return echo(body)

    with chat_server(slow) as server:
        model = model_of(server, batch_size=3)
        prompts = [str(n) for n in range(9)]
        assert model.generate(prompts, max_new_tokens=5) == [f"re: {prompt}" for prompt in prompts]
        assert 1 < server.most_at_once <= 3
        assert model.generate([], max_new_tokens=5) == []


def test_request_has_the_settings_of_the_manifest():
    with chat_server(echo) as server:
        model = model_of(server, batch_size=1, system_prompt="be brief")
        model.generate(["x", "y"], max_new_tokens=7, json_schema=SCHEMA, temperature=0.5, seeds=[11, 12])
        model.generate(["z"], max_new_tokens=7)
    path, headers, first = server.asked[0]
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert first == {
        "model": "tiny",
        "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "x"}],
        "max_tokens": 7, "temperature": 0.5, "seed": 11,
        "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True}},
    }  # fmt: skip
    assert server.asked[1][2]["seed"] == 12
    assert server.asked[2][2].keys() == {"model", "messages", "max_tokens", "temperature"}


def test_no_key_is_sent_where_there_is_none(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    with chat_server(echo) as server:
        model_of(server).generate(["x"], max_new_tokens=5)
    assert "Authorization" not in server.asked[0][1]


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_passing_faults_are_tried_again(status):
    answers = iter([(status, "busy"), (status, "busy", {"Retry-After": "0.001"}), echo])

    def flaky(body):
        answer = next(answers)
        return answer(body) if callable(answer) else answer

    with chat_server(flaky) as server:
        assert model_of(server).generate(["x"], max_new_tokens=5) == ["re: x"]
    assert len(server.asked) == 3


def test_attempts_are_bounded_and_the_last_fault_is_the_engines_to_retry():
    with chat_server(lambda _: (503, "overloaded")) as server, pytest.raises(ConnectionError) as caught:
        model_of(server).generate(["x"], max_new_tokens=5)
    assert str(caught.value).endswith("/v1/chat/completions: no answer in 4 attempts; last: HTTP 503")
    assert len(server.asked) == llm_endpoint.ATTEMPTS


def test_server_that_is_gone_is_a_connection_error():
    with chat_server(echo) as server:
        pass
    with pytest.raises(ConnectionError, match="no answer in 4 attempts; last: ConnectError"):
        model_of(server).generate(["x"], max_new_tokens=5)


def test_server_that_does_not_answer_in_time_is_a_connection_error():
    def asleep(body):
        time.sleep(0.2)
        return echo(body)

    with chat_server(asleep) as server, pytest.raises(ConnectionError, match="last: ReadTimeout"):
        model_of(server, timeout_s=0.02).generate(["x"], max_new_tokens=5)


@pytest.mark.parametrize(
    ("status", "words"), [(401, "the key is refused; set OPENAI_API_KEY"), (404, "correct the model id")]
)
def test_refused_key_and_unknown_model_stop_at_once_and_say_what_to_set(status, words):
    with chat_server(lambda _: (status, f"no such {KEY}")) as server, pytest.raises(ModelError, match=words) as caught:
        model_of(server).generate(["x"], max_new_tokens=5)
    assert len(server.asked) == 1
    assert KEY not in str(caught.value)


def test_refused_request_is_the_rows_fault_and_quotes_no_key():
    answer = f"too long\nfor {KEY} " + "x" * 400
    with (
        chat_server(lambda _: (400, answer)) as server,
        pytest.raises(ValueError, match="HTTP 400: too long for") as caught,
    ):
        model_of(server).generate(["x"], max_new_tokens=5)
    assert KEY not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("sent", ["no json", {"choices": []}, {"choices": [{}]}, []])
def test_answer_of_another_shape_is_refused(sent):
    with (
        chat_server(lambda _: (200, sent)) as server,
        pytest.raises(ValueError, match="no chat completion came back"),
    ):
        model_of(server).generate(["x"], max_new_tokens=5)


def test_answer_without_text_is_empty():
    with chat_server(lambda _: (200, completion(None))) as server:
        assert model_of(server).generate(["x"], max_new_tokens=5) == [""]


def test_redirect_is_not_followed():
    with (
        chat_server(lambda _: (307, "", {"Location": "http://127.0.0.1:1/"})) as server,
        pytest.raises(ValueError, match="HTTP 307"),
    ):
        model_of(server).generate(["x"], max_new_tokens=5)
