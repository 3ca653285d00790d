"""Which replies have scores, and that all others have none."""

import json
import math

import pytest

from models.judges.prompt import QUESTIONS
from models.judges.replies import REPLY_CHARS, JudgeScores, bounded, read_scores

GOOD = {key: value for name in QUESTIONS for key, value in ((f"{name}_reason", "so"), (f"{name}_score", 7))}


def reply(**changes):
    return json.dumps({**GOOD, **changes})


def test_a_reply_of_the_schema_has_its_three_scores():
    assert read_scores(reply(instruction_score=0, preservation_score=10)) == JudgeScores(0, 10, 7)


@pytest.mark.parametrize("wrapped", ["  \n{}\n\n", "```json\n{}\n```", "```\n{}\n```\n", "\n```json \n{}\n  ```"])
def test_white_space_and_one_code_fence_are_wrapping(wrapped):
    assert read_scores(wrapped.replace("{}", reply())) == JudgeScores(7, 7, 7)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I cannot help with that.",
        "7 8 9",
        "null",
        f"[{reply()}]",
        f"Here it is: {reply()}",
        f"{reply()} But on a closer look all scores are 0.",
        f"```json\n{reply()}\n``` or rather 3",
        f"{reply()}\n{reply()}",
        f"<think>good</think>{reply()}",
        reply(quality_score=11),
        reply(quality_score=-1),
        reply(quality_score=7.0),
        reply(quality_score=7.5),
        reply(quality_score="7"),
        reply(quality_score=True),
        reply(quality_score=None),
        reply(quality_reason=None),
        reply(quality_reason=["so"]),
        reply(certainty=1),
        json.dumps({key: value for key, value in GOOD.items() if key != "preservation_score"}),
        json.dumps({key: value for key, value in GOOD.items() if key != "preservation_reason"}),
        reply()[:-1],
        reply().replace('"quality_score": 7', '"quality_score": NaN'),
        reply().replace('"quality_score": 7', '"quality_score": 3, "quality_score": 9'),
        reply().replace('"quality_score": 7', f'"quality_score": {"9" * 5000}'),
        "[" * 100_000,
    ],
)
def test_any_other_reply_has_no_scores(text):
    assert read_scores(text) is None


def test_overall_score_is_that_of_the_weakest_question_and_the_quality():
    assert JudgeScores(9, 4, 9).overall == 6
    assert JudgeScores(0, 10, 10).overall == JudgeScores(10, 10, 0).overall == 0
    assert JudgeScores(8, 10, 5).overall == math.sqrt(40)


def test_a_reply_that_had_to_be_cut_cannot_be_read():
    long = reply() + " " * REPLY_CHARS
    assert read_scores(long) is not None
    assert len(bounded(long)) == REPLY_CHARS
    assert read_scores(bounded(long)) is None


def test_half_of_a_surrogate_pair_is_kept_as_a_question_mark():
    assert bounded("a\ud83d") == "a?"
