"""Edits of the miniature world: what changes in image, caption and words, and what does not."""

import itertools
import random
from dataclasses import replace

import numpy as np
import pytest

from zoo.world import (
    COLOURS,
    KINDS,
    NOUNS,
    PLACES,
    STYLES,
    Facts,
    caption,
    edit_mask,
    facts_of,
    possible_kinds,
    read_facts,
    render,
    sample_edit,
    sample_sequence,
    scene_of,
)
from zoo.world.backgrounds import background

SCENES = [scene_of(31, index) for index in range(150)]
PLAIN = [replace(scene, style=None) for scene in SCENES]
OF_THINGS = [kind for kind in KINDS if kind not in {"change_background", "change_style"}]
SIZE_PX = 64


def edits(kind, scenes=SCENES):
    found = [
        sample_edit(scene, random.Random(number), kind)
        for number, scene in enumerate(scenes)
        if kind in possible_kinds(scene)
    ]
    assert len(found) > 10
    return found


def grown(mask, by_px=1):
    """The mask and all pixels within `by_px` of it."""
    padded = np.pad(mask, by_px)
    steps = range(2 * by_px + 1)
    height, width = mask.shape
    return np.logical_or.reduce([padded[y : y + height, x : x + width] for y in steps for x in steps])


def changed(edit):
    return (render(edit.source) != render(edit.target)).any(-1)


@pytest.mark.parametrize("kind", OF_THINGS)
def test_an_edit_of_a_thing_changes_the_image_inside_its_mask_only(kind):
    """The mask holds what is more than half opaque: the soft edge, one pixel wide, lies around it."""
    for edit in edits(kind, PLAIN):
        where, mask = changed(edit), edit_mask(edit)
        assert where.any()
        assert not (where & ~grown(mask)).any()
        assert (where & mask).sum() > 0.2 * mask.sum()


@pytest.mark.parametrize("kind", OF_THINGS)
def test_in_a_sketch_an_edit_of_a_thing_reaches_one_pixel_further(kind):
    """Strokes are drawn where neighbours differ, so that a change shows in the next pixel too."""
    for edit in edits(kind, [replace(scene, style="sketch") for scene in PLAIN]):
        assert not (changed(edit) & ~grown(edit_mask(edit), by_px=2)).any()


def test_another_background_leaves_the_things_as_they_are():
    """Where they are soft, at edges and in narrow slits, at most half of the background shines through."""
    for edit in edits("change_background", PLAIN):
        mask = edit_mask(edit)
        empty = [
            background(scene.place, scene.horizon_frac, SIZE_PX).astype(int) for scene in (edit.source, edit.target)
        ]
        images = [render(scene).astype(int) for scene in (edit.source, edit.target)]
        behind, seen = (np.abs(before - after) for before, after in (empty, images))
        assert (seen[~mask] <= behind[~mask] / 2 + 1).all()
        assert changed(edit).mean() > 0.2
        assert edit.source.things == edit.target.things


def test_another_style_may_change_everything_and_nothing_else_changes():
    for edit in edits("change_style"):
        assert edit_mask(edit).all()
        assert changed(edit).any()
        assert replace(edit.target, style=edit.source.style) == edit.source


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size_px", [40, 128])
def test_a_mask_has_the_size_that_is_asked_for(kind, size_px):
    mask = edit_mask(edits(kind)[0], size_px)
    assert (mask.shape, mask.dtype) == ((size_px, size_px), bool)
    assert mask.any()


@pytest.mark.parametrize("kind", KINDS)
def test_captions_of_both_sides_are_true_and_differ(kind):
    for edit in edits(kind):
        assert edit.source_caption != edit.target_caption
        assert read_facts(edit.source_caption) == facts_of(edit.source)
        assert read_facts(edit.target_caption) == facts_of(edit.target)


def difference(before: Facts, after: Facts):
    """(things gone, things new, place changed, style changed)."""
    gone, new = set(before.things) - set(after.things), set(after.things) - set(before.things)
    return len(gone), len(new), before.place != after.place, before.style != after.style


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("replace_noun", (1, 1, False, False)),
        ("change_colour", (1, 1, False, False)),
        ("add", (0, 1, False, False)),
        ("remove", (1, 0, False, False)),
        ("move", (0, 0, False, False)),
        ("change_background", (0, 0, True, False)),
        ("change_style", (0, 0, False, True)),
    ],
)
def test_an_edit_changes_the_one_fact_that_its_kind_names(kind, expected):
    assert {difference(facts_of(edit.source), facts_of(edit.target)) for edit in edits(kind)} == {expected}


def words_that_change(edit):
    """(what the instruction must name, what the reverse instruction must name)."""
    colour, noun = (edit.source_phrase or edit.target_phrase).split() if edit.kind in OF_THINGS else ("", "")
    if edit.kind == "replace_noun":
        other = edit.target_phrase.split()[1]
        return {noun, other}, {noun, other}
    if edit.kind == "change_colour":
        return {noun, edit.target_phrase.split()[0]}, {noun, colour}
    if edit.kind == "add":
        return {colour, noun}, {noun}
    if edit.kind == "remove":
        return {noun}, {colour, noun}
    if edit.kind == "move":
        return {noun, edit.target.things[0].position}, {noun, edit.source.things[0].position}
    if edit.kind == "change_background":
        return {PLACES[edit.target.place].keyword}, {PLACES[edit.source.place].keyword}
    word = {style: look.keyword for style, look in STYLES.items()} | {None: "picture"}
    return {word[edit.target.style]}, {word[edit.source.style]}


@pytest.mark.parametrize("kind", KINDS)
def test_the_instruction_and_its_reverse_name_what_changes(kind):
    for edit in edits(kind):
        forward, back = words_that_change(edit)
        assert forward <= set(edit.instruction.split()), edit.instruction
        assert back <= set(edit.reverse_instruction.split()), edit.reverse_instruction


@pytest.mark.parametrize("kind", KINDS)
def test_an_instruction_has_more_than_one_wording_and_no_word_to_fill_in(kind):
    scene = next(scene for scene in SCENES if kind in possible_kinds(scene))
    instructions = {sample_edit(scene, random.Random(seed), kind).instruction for seed in range(60)}
    assert len(instructions) > 3
    assert not any("{" in text or "  " in text or text != text.strip() for text in instructions)


def test_phrases_name_the_thing_before_and_after():
    for kind in ("replace_noun", "change_colour", "move"):
        for edit in edits(kind):
            assert edit.source_phrase in {thing.phrase for thing in edit.source.things}
            assert edit.target_phrase in {thing.phrase for thing in edit.target.things}
    assert {edit.source_phrase for edit in edits("add")} == {""}
    assert {edit.target_phrase for edit in edits("remove")} == {""}


def test_words_of_an_edit_are_words_of_the_world():
    for edit in edits("replace_noun") + edits("change_colour") + edits("add"):
        colour, noun = edit.target_phrase.split()
        assert colour in COLOURS
        assert noun in NOUNS


def test_the_same_seed_draws_the_same_edit():
    assert sample_edit(SCENES[0], random.Random(9)) == sample_edit(SCENES[0], random.Random(9))


def test_turns_of_a_sequence_follow_on_each_other():
    for number, scene in enumerate(SCENES):
        turns = sample_sequence(scene, random.Random(number), 5)
        assert len(turns) == 5
        assert turns[0].source == scene
        assert all(one.target == following.source for one, following in itertools.pairwise(turns))


def test_a_scene_never_has_more_than_three_things_nor_none():
    for number, scene in enumerate(SCENES):
        counts = {len(turn.target.things) for turn in sample_sequence(scene, random.Random(number), 8)}
        assert counts <= {1, 2, 3}


def test_an_edit_that_a_scene_cannot_take_is_refused():
    crowded = next(scene for scene in SCENES if len(scene.things) == 3)
    with pytest.raises(ValueError, match="a scene with 3 things cannot take the edit 'add': ") as error:
        sample_edit(crowded, random.Random(0), "add")
    assert caption(crowded) in str(error.value)


def test_both_sides_keep_the_image_size():
    edit = edits("add")[0]
    assert render(edit.target).shape == render(edit.source).shape == (SIZE_PX, SIZE_PX, 3)
