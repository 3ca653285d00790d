"""Texts that other programs can read."""

import json

import pytest

from export.texts import clean_text, json_line, one_line


def test_control_characters_and_halves_of_pairs_go():
    assert clean_text("a\x00b\ud800c\td\n") == "ab?c\td\n"
    assert clean_text("žluťoučký 馬 😀") == "žluťoučký 馬 😀"


def test_one_line_has_single_spaces():
    assert one_line("  a \n\n b\u2028c\x07 ") == "a b c"


def test_json_line_is_one_line_of_valid_unicode():
    line = json_line({"a": "x\ny", "b": ["\udfff", {"c": None}]})
    assert line.endswith(b"}\n")
    assert line.count(b"\n") == 1
    assert json.loads(line) == {"a": "x\ny", "b": ["?", {"c": None}]}


def test_number_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_line({"a": float("nan")})
