"""Scenes of the miniature world: sampling, images, masks, boxes, panoptic maps."""

import hashlib
import random

import numpy as np
import pytest
from PIL import Image

from zoo.world import (
    COLOURS,
    NOUNS,
    PLACES,
    SIZE_PX,
    STUFF,
    STYLES,
    Scene,
    Thing,
    boxes,
    caption,
    panoptic,
    render,
    sample_scene,
    scene_of,
    thing_masks,
)
from zoo.world.sprites import sprite

SCENES = [scene_of(11, index) for index in range(300)]
PIXELS_SHA256 = "ed95a71229f29da9af953dd55102e862f2409d724848c92a8bf52246e8f05eb0"
CAPTIONS_SHA256 = "2de52e5e8e8d0f0f25ccaac17496a29eba758393c1d45458b2719e3bf329ba7e"


def sha256_of(parts):
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def test_the_world_is_the_one_that_the_miniature_models_were_trained_on():
    """Another hash means that the models of the zoo must be trained again, or that Pillow draws otherwise.

    They were trained on sketches of which one value in 25,000 is another by one level of 255, as floats drew them.
    """
    scenes = [scene_of(0, index) for index in range(200)]
    assert sha256_of(render(scene).tobytes() for scene in scenes) == PIXELS_SHA256
    assert sha256_of(f"{caption(scene)}\n".encode() for scene in scenes) == CAPTIONS_SHA256


def test_a_scene_depends_only_on_its_seed_and_number():
    before = scene_of(3, 14)
    scene_of(3, 15)
    sample_scene(random.Random(0))
    assert scene_of(3, 14) == before
    assert render(before).tobytes() == render(scene_of(3, 14)).tobytes()


def test_other_seeds_and_numbers_give_other_scenes():
    assert len({scene_of(seed, index) for seed in range(10) for index in range(50)}) == 500


def test_every_word_of_the_world_turns_up():
    scenes = [scene_of(0, index) for index in range(1000)]
    assert {thing.noun for scene in scenes for thing in scene.things} == set(NOUNS)
    assert {thing.colour for scene in scenes for thing in scene.things} == set(COLOURS)
    assert {scene.place for scene in scenes} == set(PLACES)
    assert {scene.style for scene in scenes} == {*STYLES, None}
    assert {len(scene.things) for scene in scenes} == {1, 2, 3}


def test_things_of_a_scene_differ_in_noun_and_stand_from_left_to_right():
    for scene in SCENES:
        assert len({thing.noun for thing in scene.things}) == len(scene.things)
        assert list(scene.things) == sorted(scene.things, key=lambda thing: thing.x_frac)


@pytest.mark.parametrize("style", [None, "night"])
def test_a_scene_can_be_ordered_with_a_number_of_things_and_a_style(style):
    scene = sample_scene(random.Random(1), num_things=3, style=style)
    assert (len(scene.things), scene.style) == (3, style)


@pytest.mark.parametrize("size_px", [16, 37, 64, 100, 224])
def test_any_size_renders(size_px):
    for scene in SCENES[:20]:
        image, masks = render(scene, size_px), thing_masks(scene, size_px)
        assert (image.shape, image.dtype) == ((size_px, size_px, 3), np.uint8)
        assert (masks.shape, masks.dtype) == ((len(scene.things), size_px, size_px), bool)
        assert masks.any((1, 2)).all()


def test_a_scene_looks_the_same_at_another_size():
    for scene in (scene for scene in SCENES[:40] if scene.style is None):
        large = Image.fromarray(render(scene, 4 * SIZE_PX)).resize((SIZE_PX, SIZE_PX), Image.Resampling.BOX)
        assert np.abs(np.asarray(large, float) - render(scene)).mean() < 6  # of 255: outlines shift by part of a pixel


def test_masks_of_a_scene_share_no_pixel():
    for scene in SCENES:
        assert thing_masks(scene).sum(0).max() == 1


def test_of_two_things_in_one_place_the_one_in_front_is_seen():
    here = {"size": "large", "size_frac": 0.5, "x_frac": 0.5, "bottom_frac": 0.9}
    scene = Scene((Thing("house", "red", **here), Thing("apple", "blue", **here)), "moon")
    masks, alone = thing_masks(scene), thing_masks(Scene(scene.things[1:], "moon"))[0]
    assert (masks[1] == alone).all()
    assert not (masks[0] & masks[1]).any()


def test_boxes_are_tight():
    for scene in SCENES:
        masks = thing_masks(scene)
        for mask, (x0, y0, x1, y1) in zip(masks, boxes(masks).astype(int), strict=True):
            inside = mask[y0:y1, x0:x1]
            assert inside.sum() == mask.sum()
            assert inside[0].any()
            assert inside[-1].any()
            assert inside[:, 0].any()
            assert inside[:, -1].any()


def test_no_masks_have_no_boxes():
    assert boxes(np.zeros((0, 8, 8), dtype=bool)).shape == (0, 4)


def test_a_panoptic_map_labels_every_pixel_with_stuff_or_a_thing():
    for scene in SCENES:
        segments, labels = panoptic(scene)
        assert set(labels[:2]) <= set(STUFF)
        assert labels[2:] == tuple(thing.noun for thing in scene.things)
        assert segments.max() == len(labels) - 1
        for number, mask in enumerate(thing_masks(scene), start=2):
            assert ((segments == number) == mask).all()
        behind = segments < 2
        horizon_px = round(scene.horizon_frac * SIZE_PX)
        assert (segments[:horizon_px][behind[:horizon_px]] == 0).all()
        assert (segments[horizon_px:][behind[horizon_px:]] == 1).all()


@pytest.mark.parametrize("noun", NOUNS)
def test_a_thing_is_filled_with_its_colour(noun):
    for colour, channels in COLOURS.items():
        pixels = sprite(noun, colour, 32)
        shown = (np.abs(pixels[..., :3].astype(int) - channels).max(-1) <= 3) & (pixels[..., 3] == 255)
        assert shown.mean() > 0.05


@pytest.mark.parametrize("noun", NOUNS)
def test_a_flipped_thing_is_its_mirror_image(noun):
    assert (sprite(noun, "red", 32)[:, ::-1] == sprite(noun, "red", 32, is_flipped=True)).all()


def test_each_style_changes_the_image_in_its_own_way():
    plain = SCENES[0]
    looks = {style: render(Scene(plain.things, plain.place, style)).tobytes() for style in (None, *STYLES)}
    assert len(set(looks.values())) == len(looks)


def test_what_is_kept_between_calls_cannot_be_written_to():
    with pytest.raises(ValueError, match="read-only"):
        sprite("car", "red", 20)[:] = 0
    image = render(SCENES[0])
    image[:] = 0
    assert render(SCENES[0]).any()
