"""The words that judges are asked with."""

import json

import jsonschema
import numpy as np
import pytest
from PIL import Image

from models.judges import prompt
from models.judges.replies import read_scores
from models.protocols import JudgeRequest

PINNED = {1: "000aa1659005167fd4008f0468f3cdefe77915b440b7242c5f4d086665d3dc4e"}
"""Version of the stage -> hash of its prompt. Another prompt needs another version of `JudgeEdit`."""


def request(**given):
    image = Image.new("RGB", (40, 20))
    return JudgeRequest(source=image, edited=image, **{"instruction": 'say "no"', **given})


def last_text(**given):
    return prompt.content(request(**given), "before", "after")[-1]["text"]


def test_the_prompt_is_that_of_the_stages_version():
    from stages.judge_edit import JudgeEdit

    assert {JudgeEdit.version: prompt.prompt_sha256()} == PINNED


@pytest.mark.parametrize(
    ("score", "fits"), [(0, True), (10, True), (11, False), (-1, False), (2.5, False), ("7", False)]
)
def test_the_schema_that_servers_get_agrees_with_the_reading(score, fits):
    fields = {f"{name}_reason": "so" for name in prompt.QUESTIONS} | {
        f"{name}_score": score for name in prompt.QUESTIONS
    }
    assert (read_scores(json.dumps(fields)) is not None) == fits
    assert jsonschema.Draft202012Validator(prompt.schema()).is_valid(fields) == fits


def test_every_word_and_the_schema_change_the_hash(monkeypatch):
    seen = {prompt.prompt_sha256()}
    for name, value in (
        ("PROMPT", "Which is better?"),
        ("_REGION", "{} {} {} {}"),
        ("_LABELS", ("a",) * 5),
        ("MOST", 5),
    ):
        monkeypatch.setattr(prompt, name, value)
        seen.add(prompt.prompt_sha256())
    assert len(seen) == 5


def test_images_come_before_the_question_each_with_its_name():
    parts = prompt.content(request(), "before", "after")
    assert parts[:4] == [{"type": "text", "text": "Image 1:"}, "before", {"type": "text", "text": "Image 2:"}, "after"]


def test_texts_are_quoted_as_json_and_absent_ones_are_left_out():
    assert last_text(target_caption="a cat").endswith('Request: "say \\"no\\""\nCaption of the wanted result: "a cat"')
    assert "Caption" not in last_text()


def test_the_region_is_told_in_per_cent():
    region = np.zeros((20, 40), bool)
    region[5:15, 10:20] = True
    told = "Only this part was meant to change: 25 to 50 % of the width, 25 to 75 % of the height."
    assert last_text(region=region).endswith(told)


@pytest.mark.parametrize("region", [np.zeros((20, 40), bool), np.ones((20, 40), bool)])
def test_a_region_of_nothing_or_all_is_not_told(region):
    assert "Only this part" not in last_text(region=region)
