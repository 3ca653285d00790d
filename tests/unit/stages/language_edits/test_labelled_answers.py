"""The checks against answers that were written by hand for captions of photographs, good ones and faulty ones."""

import json
from pathlib import Path

import pytest

from models.language.example_sets import BUNDLED, read_examples
from stages.language_edits.checks import faults_of
from stages.language_edits.judged import EditFault, Judged
from stages.language_edits.schema import parse_answer
from stages.language_edits.words import normalised

ANSWERS = Path(__file__).resolve().parents[4] / "benchmarks" / "instructions" / "answers.jsonl"
LENIENT = {EditFault.COPIED_EXAMPLE, EditFault.THING_ALREADY_THERE}
"""Faults of which a check sees only the sure cases."""


@pytest.fixture(scope="module")
def rows():
    return [json.loads(line) for line in ANSWERS.read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
def found(rows):
    """The faults of each row, where the prompt showed all examples and its caption had the good edits before."""
    edits = read_examples(BUNDLED / "photographs.jsonl").edits
    shown = frozenset(normalised(edit.instruction) for edit in edits)
    targets = frozenset(normalised(edit.target_caption) for edit in edits)
    good = [(row["key"], parse_answer(text_of(row))) for row in rows if row["is_good"]]
    results = []
    for row in rows:
        answer = parse_answer(text_of(row))
        if answer is None:
            results.append([EditFault.UNPARSABLE])
            continue
        earlier = [edit for key, edit in good if key == row["key"]] if row["fault"] == "duplicate_edit" else []
        judged = Judged(
            caption=row["caption"],
            edit_type=row["edit_type"],
            answer=answer,
            shown_instructions=shown,
            shown_targets=targets,
            earlier=tuple(earlier),
        )
        results.append(faults_of(judged))
    return results


def text_of(row):
    return row["answer"] if isinstance(row["answer"], str) else json.dumps(row["answer"])


def test_each_caption_has_an_answer_of_each_type(rows):
    good = {(row["key"], row["edit_type"]) for row in rows if row["is_good"]}
    assert len(good) == 32 * 9
    assert len({row["key"] for row in rows if not row["is_good"]}) == 32


def test_at_most_one_good_answer_in_25_is_rejected(rows, found):
    rejected = [
        row["answer"]["instruction"] for row, faults in zip(rows, found, strict=True) if row["is_good"] and faults
    ]
    assert len(rejected) <= 288 / 25, rejected


@pytest.mark.parametrize("fault", [fault.value for fault in EditFault if fault not in {"no_caption", "other_caption"}])
def test_answers_with_a_fault_are_rejected(rows, found, fault):
    kept = [row["answer"] for row, faults in zip(rows, found, strict=True) if row["fault"] == fault and not faults]
    assert len(kept) <= (3 if fault in LENIENT else 0), kept


def test_no_kept_answer_names_what_no_caption_says_to_undo(rows, found):
    kept = [row for row, faults in zip(rows, found, strict=True) if not faults]
    assert [row["answer"] for row in kept if row["fault"] == EditFault.REVERSE_INVENTS] == []


@pytest.mark.parametrize(
    ("reverse", "is_invented"),
    [
        ("Repair the torn flag.", False),
        ("Sew the torn flag together.", False),
        ("The tear should be removed from the flag.", False),
        ("Repair the torn flag and make it striped.", True),  # "strip" is a verb of requests
        ("Repair the torn flag beside the plant.", True),  # so is "plant"
    ],
)
def test_verbs_are_free_where_no_noun_or_adjective_is(reverse, is_invented):
    edit = {
        "edit_type": "transform_local",
        "instruction": "Tear the flag.",
        "object": "flag",
        "target_caption": "a torn flag on a balcony",
        "reverse_instruction": reverse,
    }
    answer = parse_answer(json.dumps(edit))
    judged = Judged(caption="a flag on a balcony", edit_type="transform_local", answer=answer)
    assert (EditFault.REVERSE_INVENTS in faults_of(judged)) == is_invented
