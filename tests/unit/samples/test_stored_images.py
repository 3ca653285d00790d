"""Images and masks of a dataset, decoded and cut to squares."""

import io
import zlib

import numpy as np
import pyarrow as pa
import pytest
from _inputs import encoded, jpeg, make_image
from PIL import Image, ImageOps

from samples.image_limits import ImageProblem
from samples.stored_images import (
    centre_square,
    distinct_images,
    first_images,
    mask_array,
    mask_image,
    mask_png,
    rgb_image,
    rgb_images,
)
from stages.report.thumbnails import thumbnail


def pillow(data, mode):
    return np.asarray(Image.open(io.BytesIO(data)).convert(mode))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_pixels_are_those_that_pillow_decodes(kind):
    data = encoded(make_image(3), kind)
    assert np.array_equal(np.asarray(rgb_image(data)), pillow(data, "RGB"))
    assert np.array_equal(np.asarray(mask_image(data)), pillow(data, "L"))


@pytest.mark.parametrize("data", [b"", b"no image", encoded(make_image(3), "GIF"), encoded(make_image(3), "PNG")[:200]])
def test_what_no_dataset_stores_is_refused(data):
    for decode in (rgb_image, mask_image):
        with pytest.raises(ImageProblem):
            decode(data)


def test_an_image_over_the_pixel_limit_is_refused_unread():
    bomb = bytearray(encoded(make_image(3), "PNG"))
    bomb[16:24] = (40_000).to_bytes(4, "big") * 2
    bomb[29:33] = zlib.crc32(bomb[12:29]).to_bytes(4, "big")
    with pytest.raises(ImageProblem, match="1600000000 pixels"):
        rgb_image(bytes(bomb))


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_an_image_that_a_stage_made_larger_than_the_limit_is_read():
    large = encoded(Image.new("1", (8192, 6200)), "PNG")
    with pytest.raises(ImageProblem, match="more than"):
        rgb_image(large)
    (image,) = rgb_images(pa.chunked_array([pa.array([large], pa.binary())]))
    assert image.size == (8192, 6200)
    del image
    assert Image.open(io.BytesIO(thumbnail(large, 32))).size == (32, 24)


def test_a_jpeg_is_reduced_to_the_least_scale_that_keeps_the_side():
    column = pa.chunked_array([pa.array([[jpeg(1, (400, 300))], [encoded(make_image(2, (400, 300)), "PNG")]])])
    assert [image.size for image in first_images(column)] == [(400, 300)] * 2
    assert [image.size for image in first_images(column, 70)] == [(100, 75), (400, 300)]
    assert [image.size for image in first_images(column, 76)] == [(200, 150), (400, 300)]
    targets = pa.chunked_array([pa.array([jpeg(1, (300, 400))])])
    assert rgb_images(targets, 150)[0].size == (150, 200)


def test_images_that_rows_share_are_decoded_once():
    one, two = jpeg(1), jpeg(2)
    images, places = distinct_images([two, one, two])
    assert [
        np.array_equal(np.asarray(image), pillow(data, "RGB")) for image, data in zip(images, (two, one), strict=True)
    ]
    assert (len(images), places) == (2, [0, 1, 0])
    assert distinct_images([]) == ([], [])


def test_columns_of_images_become_lists_of_images():
    one, two = jpeg(1), jpeg(2)
    sources = pa.chunked_array([pa.array([[one, two], [two]], pa.list_(pa.binary()))])
    targets = pa.chunked_array([pa.array([two, one], pa.binary())])
    expected = [pillow(one, "RGB"), pillow(two, "RGB")]
    assert all(np.array_equal(np.asarray(a), b) for a, b in zip(first_images(sources), expected, strict=True))
    assert all(np.array_equal(np.asarray(a), b) for a, b in zip(rgb_images(targets), expected[::-1], strict=True))


@pytest.mark.parametrize(("mode", "resampling"), [("RGB", "BICUBIC"), ("L", "NEAREST")])
def test_the_centre_square_of_a_mask_is_not_blurred(mode, resampling):
    image = make_image(3, (90, 60)).convert(mode)
    square = centre_square(image, 32)
    expected = ImageOps.fit(image, (32, 32), Image.Resampling[resampling])
    assert square.size == (32, 32)
    assert np.array_equal(np.asarray(square), np.asarray(expected))


def test_a_mask_survives_the_file():
    mask_HW = np.random.default_rng(0).random((7, 9)) > 0.5
    assert (mask_array(mask_png(mask_HW)) == mask_HW).all()
    assert set(np.unique(np.asarray(mask_image(mask_png(mask_HW))))) == {0, 255}
