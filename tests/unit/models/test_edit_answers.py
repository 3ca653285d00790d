import pytest
from _seeded_editor import SeededEditor
from PIL import Image

from core.errors import ContractError
from models.edit_answers import answers_of
from models.protocols import EditAnswer, EditRequest

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


class Answers:
    """An editor of somebody's own, with the answers that it is made with."""

    def __init__(self, *answers):
        self.answers = list(answers)

    def answer(self, requests, *, seeds):
        return self.answers


def test_missing_answer_is_the_editors_fault_and_says_so():
    with pytest.raises(ContractError, match=r"^editor Answers gave 1 answers to 2 requests; expected one for each$"):
        answers_of(Answers(EditAnswer(fault="refused")), REQUESTS, seeds=[1, 2])


def test_answer_without_image_and_fault_is_refused():
    with pytest.raises(ContractError, match="gave an answer with neither image nor fault; expected one of them"):
        answers_of(Answers(EditAnswer(fault="refused"), EditAnswer()), REQUESTS, seeds=[1, 2])
