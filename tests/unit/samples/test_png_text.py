import io

import pytest
from PIL import Image

from samples.png_text import read_png_texts, write_png

RED = Image.new("RGB", (6, 4), (255, 0, 0))


def written(texts):
    buffer = io.BytesIO()
    write_png(RED, buffer, texts)
    return buffer.getvalue()


def test_text_entries_come_back_as_they_were_written():
    texts = {"editloom": "é \u2028 {}", "empty": ""}
    data = written(texts)
    assert read_png_texts(data) == texts
    assert Image.open(io.BytesIO(data)).tobytes() == RED.tobytes()


@pytest.mark.parametrize("change", [lambda data: data[:40], lambda data: b"text", lambda data: b""])
def test_bytes_that_are_no_whole_png_have_no_text(change):
    assert read_png_texts(change(written({"a": "b"}))) == {}


def test_an_image_of_another_format_has_no_text():
    buffer = io.BytesIO()
    RED.save(buffer, "JPEG", comment=b"editloom")
    assert read_png_texts(buffer.getvalue()) == {}
