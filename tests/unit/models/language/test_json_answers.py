"""The JSON object in an answer."""

import pytest

from models.language.json_answers import answer_object


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"a": 1}', {"a": 1}),
        ('Here it is:\n```json\n{"a": {"b": 2}}\n```', {"a": {"b": 2}}),
        ('[{"a": 1}]', {"a": 1}),
        ("", None),
        ("no JSON", None),
        ("} {", None),
        ('{"a": 1', None),
        ('"a"', None),
        ('{"a":' * 100_000 + "}", None),
    ],
)
def test_the_object_is_found_between_other_words(text, found):
    assert answer_object(text) == found
