import pytest
from _seeded_editor import SeededEditor
from PIL import Image

from models.edit_answers import answers_of
from models.protocols import EditRequest

REQUESTS = [EditRequest(image=Image.new("RGB", (4, 4)), instruction=text) for text in ("make it red", "refuse")]


class WholeCalls:
    """An Editor that can only answer a call as a whole."""

    def edit(self, requests, *, seeds):
        return [request.image for request in requests]


def test_editor_that_answers_row_by_row_is_asked_for_that():
    assert [one.fault for one in answers_of(SeededEditor(), REQUESTS, seeds=[1, 2])] == [None, "refused"]


def test_images_of_any_other_editor_are_answers():
    found = answers_of(WholeCalls(), REQUESTS, seeds=[1, 2])
    assert [one.image for one in found] == [request.image for request in REQUESTS]
    assert {(one.fault, one.input_tokens, one.seconds) for one in found} == {(None, None, 0.0)}


def test_lists_of_different_length_are_refused():
    with pytest.raises(ValueError, match="2 requests, 1 seeds"):
        answers_of(WholeCalls(), REQUESTS, seeds=[1])
