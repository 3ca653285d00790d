import base64
import io

from _language_models import make_images
from _openai_server import chat_server, completion
from PIL import Image

from models import registry
from models.captioners.chat import PROMPT
from models.data_urls import data_url
from models.placement import Placement


def image_in(url):
    head, _, data = url.partition(",")
    assert head == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_each_image_is_asked_about_and_answers_come_on_one_line():
    def size_of(body):
        image = image_in(body["messages"][0]["content"][0]["image_url"]["url"])
        return 200, completion(f" {image.width}\n by  {image.height} ")

    images = make_images()
    with chat_server(size_of) as server:
        captioner = registry.load("Captioner", server.model_id, Placement(batch_size=2), max_new_tokens=9)
        assert captioner.caption(images) == [f"{image.width} by {image.height}" for image in images]
        assert captioner.caption([]) == []
    body = server.asked[0][2]
    assert body["messages"][0]["content"][1] == {"type": "text", "text": PROMPT}
    assert (body["max_tokens"], body["temperature"]) == (9, 0.0)


def test_long_image_is_made_smaller_and_the_callers_stays_as_it_is():
    image = Image.new("RGB", (400, 100))
    assert image_in(data_url(image, 200)).size == (200, 50)
    assert image.size == (400, 100)
    assert image_in(data_url(Image.new("RGB", (40, 10)), 200)).size == (40, 10)
