"""The two hashes against the ImageHash library, and what they do with copies and with even images."""

import hashlib

import numpy as np
import pytest
from _checkpoints import make_image
from PIL import Image, ImageOps

from samples.perceptual_hashes import MIN_GREY_RANGE, hash_distance, image_hash

IMAGES = [make_image(300 + 40 * seed, 400 - 30 * seed, seed) for seed in range(8)]


def bits(number):
    return np.array([int(bit) for bit in f"{number:064b}"], bool).reshape(8, 8)


@pytest.mark.parametrize("seed", range(8))
def test_hashes_are_those_of_imagehash(seed):
    import imagehash

    found = image_hash(IMAGES[seed])
    assert (bits(found.dhash) == imagehash.dhash(IMAGES[seed]).hash).all()
    # the library takes a square four times the side, as here, in floating point
    assert (bits(found.phash) != imagehash.phash(IMAGES[seed]).hash).sum() <= 1


def test_hashes_are_the_same_numbers_everywhere():
    pixels = (np.indices((40, 60)).sum(axis=0) * 7 % 256).astype(np.uint8)
    texts = [f"{one.dhash:016x} {one.phash:016x}" for one in map(image_hash, [Image.fromarray(pixels), *IMAGES])]
    assert hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16] == "77db767e867d3ab3"


def test_scaled_copy_is_near_and_another_image_far():
    one, copy, other = (image_hash(image) for image in (IMAGES[0], IMAGES[0].resize((111, 150)), IMAGES[1]))
    assert hash_distance(one, one) == 0
    assert hash_distance(one, copy) <= 4
    assert hash_distance(one, other) > 16
    assert hash_distance(one, image_hash(ImageOps.mirror(IMAGES[0]))) > 16


@pytest.mark.parametrize(
    ("image", "is_flat"),
    [
        (Image.new("RGB", (64, 64), "white"), True),
        (Image.linear_gradient("L").point(lambda value: 100 + value * (MIN_GREY_RANGE - 2) // 255), True),
        (Image.linear_gradient("L"), False),
        (IMAGES[0], False),
    ],
)
def test_even_image_is_flat(image, is_flat):
    assert image_hash(image).is_flat == is_flat


def test_distance_is_that_of_the_hash_that_differs_more():
    one = image_hash(IMAGES[0])
    assert hash_distance(one, one._replace(phash=one.phash ^ 0b111)) == 3
    assert hash_distance(one, one._replace(phash=one.phash ^ 1, dhash=one.dhash ^ 0b11)) == 2
