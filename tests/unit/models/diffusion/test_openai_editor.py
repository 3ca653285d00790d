import base64
import io
import json
import time
import zlib

import numpy as np
import pytest
from _openai_server import chat_server, completion, image_server
from PIL import Image

from core.errors import ModelError
from core.settings import checked
from models import endpoint, registry
from models.diffusion.openai_settings import OpenaiEditorSettings
from models.placement import Placement
from models.protocols import EditRequest

KEY = "sk-very-secret"
IMAGE = Image.new("RGB", (20, 10), (10, 20, 30))
RED = Image.new("RGB", (20, 10), (200, 0, 0))
MASK = np.zeros((10, 20), np.bool_)
MASK[2:6, 4:9] = True
CHAT = {"ask": "chat"}
OMNI = {"server": "vllm-omni"}


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """Waits too short to notice, and a key."""
    monkeypatch.setattr(endpoint, "WAIT_S", 0.001)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def stored(image):
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def data_url(image):
    return f"data:image/png;base64,{stored(image)}"


def edits(image, **more):
    return {"data": [{"b64_json": stored(image)}], **more}


def drawn(image):
    """A chat's answer with a list of parts, as vLLM-Omni gives it."""
    return completion([{"type": "image_url", "image_url": {"url": data_url(image)}}])


def editor_of(at, /, *, batch_size=4, **settings):
    made = checked(OpenaiEditorSettings, settings, "editor")
    return registry.load("Editor", at.model_id, Placement(batch_size=batch_size), settings=made)


def answers(at, /, *instructions, mask=None, **settings):
    requests = [EditRequest(image=IMAGE, instruction=text, mask=mask) for text in instructions]
    return editor_of(at, **settings).answer(requests, seeds=range(7, 7 + len(requests)))


def texts_in(form):
    return {name: value.decode() for name, value in form.items() if name not in ("image", "mask", "mask_image")}


def picture(form, name):
    return Image.open(io.BytesIO(form[name]))


def test_form_has_image_and_instruction_and_nothing_that_openai_lacks():
    with image_server(lambda _form: (200, edits(RED))) as server:
        (found,) = answers(server, "make it red")
    ((path, headers, form),) = server.asked
    assert path == "/v1/images/edits"
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert texts_in(form) == {"model": "tiny", "prompt": "make it red", "n": "1", "response_format": "b64_json"}
    assert "mask" not in form
    assert picture(form, "image").tobytes() == IMAGE.tobytes()
    assert found.image.tobytes() == RED.tobytes()


def test_seed_steps_and_guidance_go_to_a_server_that_documents_them():
    with image_server(lambda _form: (200, edits(RED))) as server:
        answers(server, "a", **OMNI, num_steps=30, guidance_scale=1.5, fields={"negative_prompt": "dull"})
    form = texts_in(server.asked[0][2])
    assert {name: form[name] for name in ("seed", "num_inference_steps", "guidance_scale", "negative_prompt")} == {
        "seed": "7", "num_inference_steps": "30", "guidance_scale": "1.5", "negative_prompt": "dull",
    }  # fmt: skip


def test_mask_is_transparent_inside_for_openai_and_white_for_vllm_omni():
    with image_server(lambda _form: (200, edits(RED))) as server:
        answers(server, "a", mask=MASK)
        answers(server, "a", mask=MASK, **OMNI)
    plain, omni = (form for _, _, form in server.asked)
    np.testing.assert_array_equal(np.asarray(picture(plain, "mask"))[..., 3] == 0, MASK)
    np.testing.assert_array_equal(np.asarray(picture(omni, "mask_image")) == 255, MASK)
    assert "mask" not in omni


def test_chat_has_the_image_in_the_message_and_the_sampling_beside_it():
    with chat_server(lambda _request: (200, drawn(RED))) as server:
        (found,) = answers(server, "make it red", **CHAT, **OMNI, num_steps=30)
    ((path, _, request),) = server.asked
    text, image = request["messages"][0]["content"]
    assert path == "/v1/chat/completions"
    assert text == {"type": "text", "text": "make it red"}
    sent = base64.b64decode(image["image_url"]["url"].removeprefix("data:image/png;base64,"))
    assert Image.open(io.BytesIO(sent)).tobytes() == IMAGE.tobytes()
    assert request["extra_body"] == {"seed": 7, "num_inference_steps": 30}
    assert found.image.tobytes() == RED.tobytes()


def test_chat_of_another_server_has_further_fields_at_its_top():
    with chat_server(lambda _request: (200, drawn(RED))) as server:
        answers(server, "a", **CHAT, fields={"modalities": ["image", "text"]})
    request = server.asked[0][2]
    assert request["modalities"] == ["image", "text"]
    assert "extra_body" not in request
    assert "seed" not in request


@pytest.mark.parametrize(
    "message",
    [
        {"content": [{"type": "text", "text": "here"}, {"type": "image_url", "image_url": {"url": data_url(RED)}}]},
        {"content": [{"type": "image_url", "image_url": data_url(RED)}]},
        {"content": f"here it is: ![edited]({data_url(RED)})"},
        {"content": "done", "images": [{"type": "image_url", "image_url": {"url": data_url(RED)}}]},
        {"content": None, "images": [{"image_url": {"url": data_url(RED)}}]},
    ],
)  # fmt: skip
def test_chat_may_answer_in_parts_in_text_or_beside_it(message):
    with chat_server(lambda _request: (200, {"choices": [{"message": message}]})) as server:
        (found,) = answers(server, "a", **CHAT)
    assert found.image.tobytes() == RED.tobytes()


def bomb(width, height):
    """A PNG file whose header claims so many pixels."""
    content = bytearray(base64.b64decode(stored(Image.new("L", (1, 1)))))
    content[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    return base64.b64encode(bytes(content)).decode()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("no json", "no json"),
        ({"data": []}, "no image is in the answer"),
        ({"data": [{"url": "http://169.254.169.254/a.png"}]}, "no image is in the answer"),
        ({"data": [{"b64_json": None}]}, "no base64"),
        ({"data": [{"b64_json": "%%%"}]}, "no base64"),
        ({"data": [{"b64_json": base64.b64encode(b"<svg/>").decode()}]}, "no image format that is read"),
        ({"data": [{"b64_json": bomb(60_000, 60_000)}]}, "exceeds limit of 33554432 pixels"),
        (edits(Image.new("RGB", (20, 20))), "it has 20 x 20 px, the image 20 x 10"),
        (edits(Image.new("RGB", (1, 4000))), "it has 1 x 4000 px"),
        ("[" * 100_000, "[[["),
    ],
    ids=["text", "empty", "address", "null", "characters", "svg", "bomb", "shape", "sliver", "nested"],
)  # fmt: skip
def test_answer_that_is_no_image_costs_its_row_alone(answer, said):
    def by_instruction(form):
        return (200, answer if form["prompt"] == b"bad" else edits(RED))

    with image_server(by_instruction) as server:
        good, bad, last = answers(server, "good", "bad", "good")
    assert (bad.image, bad.fault) == (None, "no_image")
    assert said in bad.detail
    assert "\n" not in bad.detail
    assert good.image.tobytes() == last.image.tobytes() == RED.tobytes()
    assert len(server.asked) == 3  # nothing was asked twice, and no address was followed


@pytest.mark.parametrize(
    "message",
    [
        {"content": "I cannot help with that."},
        {"content": [{"type": "text", "text": "I cannot help with that."}]},
        {"content": [{"type": "image_url", "image_url": {"url": "http://127.0.0.1:1/a.png"}}]},
        {"content": [{"type": "image_url", "image_url": {"url": "data:text/html;base64,PGI+"}}]},
        {"content": ["text"]},
        {"content": None},
        "text",
    ],
)  # fmt: skip
def test_chat_without_an_image_costs_its_row_alone(message):
    def by_instruction(request):
        is_bad = request["messages"][0]["content"][0]["text"] == "bad"
        return (200, {"choices": [{"message": message}]} if is_bad else drawn(RED))

    with chat_server(by_instruction) as server:
        bad, good = answers(server, "bad", "good", **CHAT)
    assert (bad.image, bad.fault) == (None, "no_image")
    assert good.image is not None
    assert len(server.asked) == 2


def test_answer_of_another_size_and_the_same_shape_is_resized():
    with image_server(lambda _form: (200, edits(RED.resize((41, 20))))) as server:
        (found,) = answers(server, "a")
    assert found.image.size == IMAGE.size


def test_answer_of_another_shape_is_taken_where_the_settings_allow_it():
    with image_server(lambda _form: (200, edits(Image.new("RGB", (16, 16), "red")))) as server:
        (found,) = answers(server, "a", max_shape_difference=1.0)
    assert found.image.size == IMAGE.size


def test_image_with_a_long_side_is_sent_smaller_and_comes_back_at_its_size():
    with image_server(lambda form: (200, edits(picture(form, "image")))) as server:
        requests = [EditRequest(image=Image.new("RGB", (200, 100)), instruction="a", mask=np.ones((100, 200), bool))]
        (found,) = editor_of(server, max_side_px=50, **OMNI).answer(requests, seeds=[1])
    form = server.asked[0][2]
    assert picture(form, "image").size == picture(form, "mask_image").size == (50, 25)
    assert found.image.size == (200, 100)


def test_request_that_the_policy_refuses_costs_its_row_alone():
    def answer(form):
        is_bad = form["prompt"] == b"bad"
        return (400, {"error": {"code": "moderation_blocked"}}) if is_bad else (200, edits(RED))

    with image_server(answer) as server:
        first, second = answers(server, "bad", "good")
    assert first.fault == "refused"
    assert "HTTP 400" in first.detail
    assert "moderation_blocked" in first.detail
    assert second.image is not None


def test_redirect_is_refused_and_the_key_goes_nowhere_else():
    with image_server(lambda _form: (200, edits(RED))) as other:
        place = {"Location": f"http://127.0.0.1:{other.port}/v1/images/edits"}
        with image_server(lambda _form: (307, "", place)) as server:
            (found,) = answers(server, "a")
    assert found.fault == "refused"
    assert "HTTP 307" in found.detail
    assert other.asked == []


def test_passing_fault_is_tried_again():
    faults = iter([503, 429])

    def answer(_form):
        fault = next(faults, None)
        return (fault, "busy") if fault else (200, edits(RED))

    with image_server(answer) as server:
        (found,) = answers(server, "a")
    assert found.image is not None
    assert len(server.asked) == 3


def test_row_at_which_the_server_always_fails_costs_that_row_alone():
    def answer(form):
        return (500, "out of memory") if form["prompt"] == b"bad" else (200, edits(RED))

    with image_server(answer) as server:
        bad, good = answers(server, "bad", "good")
        with pytest.raises(ConnectionError, match="no answer in 4 attempts; last: HTTP 500"):
            answers(server, "bad")
    assert (bad.fault, good.fault) == ("no_image", None)
    assert "HTTP 500" in bad.detail


def test_server_that_is_busy_or_away_stops_the_call():
    def answer(form):
        return (503, "busy") if form["prompt"] == b"bad" else (200, edits(RED))

    with image_server(answer) as server, pytest.raises(ConnectionError, match="last: HTTP 503"):
        answers(server, "bad", "good")
    with pytest.raises(ConnectionError, match="ConnectError"):
        answers(server, "good")


def test_refused_key_stops_the_call_and_is_not_quoted():
    with image_server(lambda _form: (401, f"bad key {KEY}")) as server, pytest.raises(ModelError) as caught:
        answers(server, "a")
    assert "the key is refused; set OPENAI_API_KEY" in str(caught.value)
    assert KEY not in str(caught.value)


def test_account_without_credit_stops_the_call_and_refuses_no_row():
    with image_server(lambda _form: (402, "pay")) as server, pytest.raises(ModelError, match="no credit left"):
        answers(server, "a")


def test_answer_without_end_is_cut(monkeypatch):
    monkeypatch.setattr(endpoint, "MAX_ANSWER_BYTES", 1000)
    with image_server(lambda _form: (200, "x" * 2000)) as server:
        (found,) = answers(server, "a")
    assert found.fault == "no_image"
    assert "the answer has more than 1000 bytes" in found.detail


def test_so_many_requests_are_under_way_as_the_placement_says():
    def answer(_form):
        time.sleep(0.05)
        return 200, edits(RED)

    with image_server(answer) as server:
        answers(server, *["a"] * 9, batch_size=3)
    assert server.most_at_once == 3


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ({"input_tokens": 12, "output_tokens": 34, "total_tokens": 46}, (12, 34)),
        ({"prompt_tokens": 5, "completion_tokens": 6}, (5, 6)),
        ({"input_tokens": -1, "output_tokens": 10**30}, (None, None)),
        ({"input_tokens": "12", "output_tokens": True}, (None, None)),
        ("many", (None, None)),
        (None, (None, None)),
    ],
)
def test_tokens_are_those_that_the_server_bills(usage, tokens):
    with image_server(lambda _form: (200, edits(RED, usage=usage))) as server:
        (found,) = answers(server, "a")
    assert (found.input_tokens, found.output_tokens) == tokens
    assert found.seconds > 0


def test_tokens_of_an_answer_without_image_are_kept():
    answer = {**completion("I cannot."), "usage": {"prompt_tokens": 5, "completion_tokens": 6}}
    with chat_server(lambda _request: (200, answer)) as server:
        (found,) = answers(server, "a", **CHAT)
    assert (found.fault, found.input_tokens, found.output_tokens) == ("no_image", 5, 6)


def test_edit_raises_for_the_first_row_without_image():
    with image_server(lambda _form: (400, "moderation")) as server, pytest.raises(ModelError, match="HTTP 400: moder"):
        editor_of(server).edit([EditRequest(image=IMAGE, instruction="a")], seeds=[1])


def test_mask_in_a_chat_is_refused_before_anything_is_sent():
    with chat_server(lambda _request: (200, drawn(RED))) as server:
        with pytest.raises(ValueError, match="a chat takes no mask"):
            answers(server, "a", mask=MASK, **CHAT)
        assert editor_of(server, **CHAT).uses == frozenset()
        assert editor_of(server).uses == {"mask"}
    assert server.asked == []


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"num_steps": 3}, "OpenAI's interface has no steps and no guidance"),
        ({"fields": {"model": "x"}}, "model is filled in by the editor"),
        ({"fields": {"a": [1]}}, "the form of images/edits has no lists"),
        ({"ask": "chat", "fields": {"a": object()}}, "expected texts, numbers"),
    ],
)
def test_settings_that_cannot_be_sent_are_refused(settings, said):
    with pytest.raises(ValueError, match=said):
        OpenaiEditorSettings(**settings)


def test_true_is_written_as_json_in_a_form():
    with image_server(lambda _form: (200, edits(RED))) as server:
        answers(server, "a", fields={"background": True, "quality": "high"})
    form = texts_in(server.asked[0][2])
    assert (json.loads(form["background"]), form["quality"]) == (True, "high")
