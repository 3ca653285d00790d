"""Phrases of edits by the words in which their captions differ."""

import time

import pytest
from _inputs import apply, table

from pipeline.context import Context
from stages.align_captions import AlignCaptions
from zoo.world import KINDS
from zoo.write_edits import EditOrder


@pytest.mark.parametrize(
    ("source", "target", "thing", "phrases"),
    [
        ("a red car in a field", "a blue car in a field", None, ("red car", "blue car")),
        ("a cat on a sofa", "a dog on a sofa", None, ("cat", "dog")),
        ("a dog", "a dog with a hat", "dog", ("dog", "hat")),
        ("a dog", "a dog", None, ("", "")),
        (None, "a dog", "dog", ("", "")),
        ("a dog", None, None, ("", "")),
    ],
)
def test_words_that_differ_are_the_phrases(source, target, thing, phrases):
    (row,) = apply(AlignCaptions(), table(source_caption=[source], target_caption=[target], edit_object=[thing]))
    assert (row["source_phrase"], row["target_phrase"]) == phrases


@pytest.mark.parametrize("words", ["dog " * 5000, "dog," * 5000])
def test_caption_of_thousands_of_words_is_not_aligned_and_noted(words):
    ctx = Context(stage_name="align_captions")
    align = AlignCaptions().open(ctx)
    began = time.monotonic()
    (row,) = align(table(source_caption=[words], target_caption=[f"a {words}"])).to_pylist()
    assert (row["source_phrase"], row["target_phrase"]) == ("", "")
    assert time.monotonic() - began < 5
    assert ctx.notes == {"captions of more than 300 words, not aligned": 1}


def test_changed_colours_and_backgrounds_have_the_phrases_of_the_world():
    edits = [edit for _, edit in EditOrder(140, 0, KINDS, world_seed=31).edits()]
    rows = apply(
        AlignCaptions(),
        table(source_caption=[e.source_caption for e in edits], target_caption=[e.target_caption for e in edits]),
    )
    for edit, row in zip(edits, rows, strict=True):
        found = row["source_phrase"], row["target_phrase"]
        if edit.kind in ("change_colour", "change_background"):
            assert found == (edit.source_phrase, edit.target_phrase)
        if edit.kind == "replace_noun":
            assert all(edit_phrase.endswith(one) for one, edit_phrase in zip(
                found, (edit.source_phrase, edit.target_phrase), strict=True))  # fmt: skip
