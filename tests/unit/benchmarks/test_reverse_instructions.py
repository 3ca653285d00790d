"""How the benchmark of reverse instructions reads labels, finds new words and judges a way."""

import dataclasses
import json
from collections import Counter

import pytest

from benchmarks.reverse_instructions import run
from benchmarks.reverse_instructions.judging import Way, judged
from benchmarks.reverse_instructions.labels import TEXTS, Label, Reverse, read_labels, unread_line
from benchmarks.reverse_instructions.naming import new_words
from models.language.wordnet import WordNet
from stages.reverse_edits.rules import reverse_by_rule

TEN = tuple(
    Reverse(
        caption_id=str(number),
        source_caption="a red car",
        instruction="make the car blue",
        target_caption="a blue car",
        reverse_instruction="make the car red",
    )
    for number in range(10)
)
GOOD = Label(undoes=True, why="", new_words=frozenset())
BAD = Label(undoes=False, why="the car was green", new_words=frozenset())


@pytest.fixture(scope="module")
def wordnet():
    return WordNet()


def reported(labels, capsys, new=(), reverses=TEN):
    """(exit status, output, errors) of a report on one way."""
    way = Way(name="rule", reverses=reverses, without=Counter(no_rule=2))
    status = run.report(judged([way], labels, lambda _: new))
    return status, *capsys.readouterr()


def lines(tmp_path, *rows):
    path = tmp_path / "labels.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def row(**changes):
    return {**dataclasses.asdict(TEN[0]), "undoes": True, **changes}


def test_way_that_was_read_and_undoes_its_edits_passes(capsys):
    status, out, errors = reported(dict.fromkeys(TEN, GOOD) | {TEN[0]: BAD}, capsys)
    assert (status, errors) == (0, "")
    assert "| rule | 12 | 2 | 10 | 0 | 9 | 90.0 % |" in out
    assert "the car was green" in out


def test_way_that_undoes_less_than_90_percent_fails(capsys):
    status, _, errors = reported(dict.fromkeys(TEN, GOOD) | dict.fromkeys(TEN[:2], BAD), capsys)
    assert (status, errors) == (1, "error: rule: 80.0% undo the edit; expected at least 90%\n")


def test_way_without_any_reverse_instruction_fails(capsys):
    assert reported({}, capsys, reverses=())[0] == 1


@pytest.mark.parametrize("changed", TEXTS)
def test_text_that_changed_since_it_was_read_fails(changed, capsys):
    other = dataclasses.replace(TEN[0], **{changed: "another text"})
    status, out, errors = reported(dict.fromkeys(TEN, GOOD), capsys, reverses=(other, *TEN[1:]))
    assert status == 1
    assert unread_line(other, ()) in out
    assert errors == "error: rule: 1 reverse instructions have no label; read them and add the lines above\n"


def test_new_word_fails_until_a_reader_wrote_that_it_names_nothing(capsys):
    status, _, errors = reported(dict.fromkeys(TEN, GOOD), capsys, new=("glue",))
    assert status == 1
    assert errors.startswith("error: rule: 'make the car red' names glue; expected words of the captions or the")
    read = Label(undoes=True, why="", new_words=frozenset({"glue"}))
    assert reported(dict.fromkeys(TEN, read), capsys, new=("glue",))[0] == 0


def test_labels_are_read_with_their_reason_and_words(tmp_path):
    path = lines(tmp_path, row(new_words=["glue"]), row(caption_id="1", undoes=False, why="the car was green"))
    read = Label(undoes=True, why="", new_words=frozenset({"glue"}))
    assert read_labels(path) == {TEN[0]: read, TEN[1]: BAD}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([json.loads(unread_line(TEN[0], ()))], "line 1: undoes is None, why ''; expected true, or false and why"),
        ([row(undoes=False)], "line 1: undoes is False, why ''; expected true, or false and why"),
        ([row(), row()], "line 2: 'make the car red' has a label already; remove one of them"),
    ],
)
def test_label_that_says_too_little_or_too_much_is_refused(rows, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        read_labels(lines(tmp_path, *rows))


@pytest.mark.parametrize(
    ("reverse", "expected"),
    [
        ("Replace the wolves with cats.", ()),
        ("Let the wolf's cub sit on the mat.", ("cub",)),
        ("Remove the fluffy cats and glue the mat.", ("fluffy", "glue")),
        ("Make it a photo with the original background again.", ()),
    ],
)
def test_new_words_are_those_of_no_text_by_their_base_form(wordnet, reverse, expected):
    texts = ("a cat sitting on a mat", "replace the cat with a wolf", "a wolf sitting on a mat")
    assert new_words(reverse, texts, wordnet) == expected


def test_every_text_that_the_rules_write_for_the_photographs_was_read():
    labels = read_labels(run.LABELS)
    written = {
        dataclasses.replace(one, reverse_instruction=text)
        for one in labels
        if one.instruction[0].isupper()  # not one of WordNet's
        and (text := reverse_by_rule(one.source_caption, one.target_caption, one.instruction)) is not None
    }
    assert len(written) > 140
    assert written <= labels.keys()
