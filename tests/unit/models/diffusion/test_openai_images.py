import base64
import io

import numpy as np
import pytest
from _openai_server import image_server
from PIL import Image

from core.errors import ModelError
from models import endpoint, registry
from models.placement import Placement

KEY = "sk-very-secret"
IMAGE = Image.new("RGB", (20, 10), (10, 20, 30))
MASK = np.zeros((10, 20), np.bool_)
MASK[2:6, 4:9] = True
SETTINGS = {"num_steps": 3, "guidance_scale": 5.0}


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """Waits too short to notice, and a key."""
    monkeypatch.setattr(endpoint, "WAIT_S", 0.001)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def png(image):
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def answer_with(image):
    return lambda _form: (200, {"data": [{"b64_json": png(image)}]})


def inpaint(server, images=(IMAGE,), prompts=("a red car",), name="tiny"):
    model = registry.load("EditSynthesizer", server.model_id_of(name), Placement(batch_size=2))
    return model.inpaint(list(images), [MASK] * len(images), list(prompts), seeds=range(len(images)), **SETTINGS)


def test_request_has_image_mask_and_prompt():
    with image_server(answer_with(Image.new("RGB", (20, 10), "red"))) as server:
        inpaint(server)
    ((path, headers, form),) = server.asked
    assert path == "/v1/images/edits"
    assert headers["Authorization"] == f"Bearer {KEY}"
    texts = {name: form[name].decode() for name in ("model", "prompt", "n", "response_format")}
    assert texts == {"model": "tiny", "prompt": "a red car", "n": "1", "response_format": "b64_json"}
    sent, mask = (Image.open(io.BytesIO(form[name])) for name in ("image", "mask"))
    assert sent.tobytes() == IMAGE.tobytes()
    np.testing.assert_array_equal(np.asarray(mask)[..., 3] == 0, MASK)  # transparent where it may change


def test_model_that_always_sends_the_image_is_not_asked_for_a_format():
    with image_server(answer_with(IMAGE)) as server:
        inpaint(server, name="gpt-image-1")
    assert "response_format" not in server.asked[0][2]


def test_the_answer_is_put_inside_the_mask_at_the_images_size():
    with image_server(answer_with(Image.new("RGB", (40, 20), (200, 0, 0)))) as server:
        found = np.asarray(inpaint(server)[0])
    assert (found[MASK] == (200, 0, 0)).all()
    assert (found[~MASK] == (10, 20, 30)).all()


def test_answers_keep_the_order_of_their_requests():
    def answer(form):
        shade = int(form["prompt"].decode())
        return answer_with(Image.new("RGB", (20, 10), (shade, 0, 0)))(form)

    with image_server(answer) as server:
        found = inpaint(server, images=[IMAGE] * 5, prompts=[str(n) for n in range(5)])
    assert [int(np.asarray(one)[3, 5, 0]) for one in found] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "answer",
    [
        "no json",
        {"data": []},
        {"data": [{"url": "http://169.254.169.254/a.png"}]},
        {"data": [{"b64_json": base64.b64encode(b"no image").decode()}]},
        {"data": [{"b64_json": "%%%"}]},
    ],
)  # fmt: skip
def test_answer_that_is_no_image_is_refused(answer):
    with image_server(lambda _form: (200, answer)) as server, pytest.raises(ModelError, match="no edited image came"):
        inpaint(server)
    assert len(server.asked) == 1  # an address in the answer is not followed


def test_answer_of_too_many_pixels_is_refused(monkeypatch):
    monkeypatch.setattr("models.diffusion.openai_answers.MAX_PIXELS", 50)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)  # the decoder sets it; so it is put back
    with image_server(answer_with(IMAGE)) as server, pytest.raises(ModelError, match="no edited image came back: "):
        inpaint(server)


def test_passing_fault_is_tried_again_and_a_refused_key_is_not():
    faults = iter([503])

    def answer(form):
        fault = next(faults, None)
        return (fault, "busy") if fault else answer_with(IMAGE)(form)

    with image_server(answer) as server:
        inpaint(server)
    assert len(server.asked) == 2
    with image_server(lambda _form: (401, f"bad key {KEY}")) as server, pytest.raises(ModelError) as caught:
        inpaint(server)
    assert "the key is refused; set OPENAI_API_KEY" in str(caught.value)
    assert KEY not in str(caught.value)


def test_mask_of_another_size_is_refused_before_anything_is_sent():
    with image_server(answer_with(IMAGE)) as server:
        model = registry.load("EditSynthesizer", server.model_id, Placement())
        with pytest.raises(ValueError, match="mask 0 has shape"):
            model.inpaint([IMAGE], [MASK.T], ["a"], seeds=[0], **SETTINGS)
    assert server.asked == []


def test_refused_request_is_one_line():
    with image_server(lambda _form: (400, "moderation")) as server, pytest.raises(ModelError, match="HTTP 400: moder"):
        inpaint(server)


def test_broken_png_is_refused():
    stored = bytearray(base64.b64decode(png(Image.effect_noise((64, 64), 90))))
    stored[stored.index(b"IDAT") + 3] = 0
    answer = {"data": [{"b64_json": base64.b64encode(bytes(stored)).decode()}]}
    with image_server(lambda _form: (200, answer)) as server, pytest.raises(ModelError, match="no edited image came"):
        inpaint(server)


def test_transparent_answer_lies_on_white():
    with image_server(answer_with(Image.new("RGBA", (20, 10), (200, 0, 0, 0)))) as server:
        found = np.asarray(inpaint(server)[0])
    assert (found[MASK] == 255).all()
