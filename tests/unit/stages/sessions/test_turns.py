from random import Random

import pytest

from stages.sessions.turns import FirstThatWrites, SessionTexts, write_further

LISTED = ("a red car", "a blue car")


def edit(target_caption):
    return {"target_caption": target_caption, "instruction": "do it", "further": "left out"}


class Says:
    """A TurnWriter with one answer for each caption."""

    def __init__(self, **answers):
        self.answers = {name.replace("_", " "): text for name, text in answers.items()}
        self.asked = []

    def write(self, sessions):
        self.asked.append([one.captions[-1] for one in sessions])
        found = [self.answers.get(one.captions[-1]) for one in sessions]
        return [None if text is None else edit(text) for text in found]


def session(*captions):
    return SessionTexts(captions=list(captions or LISTED), rng=Random(0))


@pytest.mark.parametrize("target", ["a red car", "A red car.", "a blue car"])
def test_turn_that_leads_back_is_not_taken(target):
    own = session()
    assert not own.add(edit(target))
    assert (own.turns, own.captions) == ([], list(LISTED))


def test_turn_keeps_the_texts_of_its_columns_alone():
    own = session()
    assert own.add(edit("a green car"))
    (turn,) = own.turns
    assert (turn["target_caption"], turn["instruction"], turn["edit_type"]) == ("a green car", "do it", None)
    assert "further" not in turn


def test_only_sessions_without_an_edit_are_the_next_writers():
    first, second = Says(a="b"), Says(c="d")
    found = FirstThatWrites([first, second]).write([session("a"), session("c"), session("e")])
    assert [one and one["target_caption"] for one in found] == ["b", "d", None]
    assert second.asked == [["c", "e"]]


def test_step_back_of_one_writer_is_left_to_the_next():
    first, second = Says(a_blue_car="a red car"), Says(a_blue_car="a green car")
    (found,) = FirstThatWrites([first, second]).write([session()])
    assert found["target_caption"] == "a green car"
    assert FirstThatWrites([first]).write([session()]) == [None]


def test_sessions_that_ended_are_asked_for_no_further_turn():
    writer, sessions = Says(a="b", b="c"), [session("a"), session("x")]
    write_further(writer, sessions, num_turns=4)
    assert [len(one.turns) for one in sessions] == [2, 0]
    assert writer.asked == [["a", "x"], ["b"], ["c"]]
