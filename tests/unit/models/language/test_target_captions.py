import json

import pytest

from models.language.target_captions import FIELD, SCHEMA, write_prompt, write_target_captions


class Answers:
    """A TextGenerator that gives fixed answers and keeps what it was asked."""

    def __init__(self, *answers):
        self.answers = list(answers)

    def generate(self, prompts, *, max_new_tokens, json_schema=None, temperature=0.0, seeds=None):
        self.asked, self.schema, self.temperature = prompts, json_schema, temperature
        return self.answers[: len(prompts)]


def test_prompt_ends_with_caption_and_request():
    prompt = write_prompt("a red\n car", "make it  blue")
    assert prompt.endswith("Caption: a red car\nRequest: make it blue\nJSON: ")
    assert '{"target_caption": "a brown cat on a sofa"}' in prompt


def test_answers_are_the_captions_of_the_edited_images():
    model = Answers(*(json.dumps({FIELD: text}) for text in ("a blue car", " a  cat ")))
    assert write_target_captions(model, ["a red car", "a dog"], ["blue", "cat"]) == ["a blue car", "a cat"]
    assert model.schema == SCHEMA
    assert model.temperature == 0


@pytest.mark.parametrize("answer", ["", "no json", "[]", "{}", '{"target_caption": 3}', '{"target_caption": "  "}',
                                    '{"target_caption": "cut o', "[" * 100_000])  # fmt: skip
def test_answer_that_is_no_caption_is_none(answer):
    assert write_target_captions(Answers(answer), ["a red car"], ["blue"]) == [None]
