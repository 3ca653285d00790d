"""Texts and metadata of samples: cleaned, counted and bounded as images are."""

import json
import unicodedata
from collections import Counter

import pytest

from stages.inputs.rows import (
    MAX_METADATA_CHARS,
    MAX_TEXT_BYTES,
    TABLE_BYTES,
    InputSample,
    clean_caption,
    json_text,
    tables_of,
)


def rows_of(*samples):
    """(rows, notes) of the samples."""
    notes = Counter()
    tables = list(tables_of(samples, "shard", notes, require_caption=True))
    return [row for table in tables for row in table.to_pylist()], notes


@pytest.mark.parametrize(
    ("text", "caption"),
    [
        ("a dog", "a dog"), (" a dog \n", "a dog"), ("a dog\r\n", "a dog"), ("a dog\r\non grass\n", "a dog on grass"),
        ("a dog \n\n\t on grass", "a dog on grass"), ("cafe\u0301", "caf\u00e9"), ("a  dog", "a  dog"),
    ],
)  # fmt: skip
def test_a_caption_is_one_line_with_accents_composed(text, caption):
    assert clean_caption(text) == caption
    (row,), notes = rows_of(InputSample(key="a", image=b"x", text=text.encode()))
    assert row["caption"] == caption
    assert notes["captions of several lines, joined to one"] == (" on grass" in caption)
    (row,), _ = rows_of(InputSample(key="a", image=b"x", metadata={"caption": text}))
    assert row["caption"] == caption
    assert unicodedata.is_normalized("NFC", row["caption"])


def test_texts_and_metadata_count_towards_a_batch_as_images_do():
    metadata = b'{"x": [' + b"1e9," * 200_000 + b"0]}"
    samples = (InputSample(key=str(n), image=b"x", text=b"t", metadata=metadata) for n in range(40))
    tables = list(tables_of(samples, "shard", Counter(), require_caption=True))
    assert sum(table.num_rows for table in tables) == 40
    assert max(table.nbytes for table in tables) < TABLE_BYTES + 4 * MAX_METADATA_CHARS


def test_metadata_that_grows_beyond_the_limit_is_left_out_with_a_note():
    (row,), notes = rows_of(
        InputSample(key="a", image=b"x", text=b"t", metadata=b'{"x": [' + b"1e15," * 200_000 + b"0]}")
    )
    assert (row["caption"], row["source_metadata"], row["reject_reason"]) == ("t", None, None)
    assert notes["metadata too long, left out"] == 1
    assert json_text({"x": ["y" * 1000] * 2000}) is None
    assert json.loads(json_text({"x": ["y" * 100] * 2000}))["x"][1999] == "y" * 100


def test_metadata_nested_too_deeply_is_left_out():
    deep = {}
    for _ in range(3000):
        deep = {"x": deep}
    (row,), notes = rows_of(InputSample(key="a", image=b"x", text=b"t", metadata=deep))
    assert row["source_metadata"] is None
    assert sum(notes.values()) == 1


def test_a_list_of_captions_in_metadata_gives_the_first():
    (row,), notes = rows_of(InputSample(key="a", image=b"x", metadata=b'{"caption": ["", "a dog", "a cat"]}'))
    assert row["caption"] == "a dog"
    assert notes["lists of captions: the first of each is taken"] == 1


def test_a_caption_that_is_cut_leaves_a_note():
    for given in ({"text": b"x" * (MAX_TEXT_BYTES + 1)}, {"metadata": {"caption": "x" * (MAX_TEXT_BYTES + 1)}}):
        (row,), notes = rows_of(InputSample(key="a", image=b"x", **given))
        assert len(row["caption"]) == MAX_TEXT_BYTES
        assert notes[f"captions cut after {MAX_TEXT_BYTES} characters"] == 1


@pytest.mark.parametrize(
    ("metadata", "caption"),
    [
        ({"text": "a dog"}, "a dog"), ({"text": "a dog", "TEXT": "a dog", "n": 1}, "a dog"),
        ({"Prompt": ["a dog"]}, "a dog"), ({"caption": "a dog", "text": "a cat"}, "a dog"),
        ({"text": "a dog", "title": " "}, "a dog"),
    ],
)  # fmt: skip
def test_a_caption_under_a_usual_name_of_metadata_is_read(metadata, caption):
    (row,), notes = rows_of(InputSample(key="a", image=b"x", metadata=json.dumps(metadata).encode()))
    assert (row["caption"], row["reject_reason"]) == (caption, None)
    assert any("metadata read as the caption" in note for note in notes) == ("caption" not in metadata)


def test_metadata_with_several_texts_that_may_be_the_caption_is_a_reject():
    (row,), _ = rows_of(InputSample(key="a", image=b"x", metadata=b'{"text": "a dog", "title": "IMG 1"}'))
    assert row["reject_reason"] == "missing_caption"
    assert row["reject_detail"] == "'text' and 'title' of the metadata may each be the caption"
    (row,), _ = rows_of(InputSample(key="a", image=b"x", metadata=b'{"caption": null, "text": "a dog"}'))
    assert row["reject_reason"] == "missing_caption"
