import math

import pytest

from trainer.buckets import bucket_of, bucket_sizes


def test_buckets_of_512_px_are_those_that_the_module_names():
    wide = [(512, 512), (576, 448), (640, 384), (704, 384)]
    assert bucket_sizes(512) == (*((height, width) for width, height in wide[:0:-1]), *wide)


@pytest.mark.parametrize("size_px", [64, 256, 384, 1024])
def test_buckets_have_about_the_area_of_the_square_and_sides_in_steps(size_px):
    sizes = bucket_sizes(size_px)
    assert (size_px, size_px) in sizes
    assert [width / height for width, height in sizes] == sorted(width / height for width, height in sizes)
    for width, height in sizes:
        assert width % (size_px // 8) == height % (size_px // 8) == 0
        assert abs(width * height / size_px**2 - 1) < 0.07
        assert 0.5 <= width / height <= 2
        assert (height, width) in sizes


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((64, 64), (64, 64)), ((1000, 990), (64, 64)), ((640, 480), (72, 56)), ((480, 640), (56, 72)),
        ((3000, 2000), (80, 48)), ((1920, 1080), (88, 48)), ((4000, 100), (88, 48)), ((1, 50), (48, 88)),
    ],
)  # fmt: skip
def test_image_goes_to_the_size_of_the_nearest_ratio(size, expected):
    assert bucket_of(*size, 64) == expected


def test_nearest_is_by_the_logarithm_of_the_ratio():
    sizes = bucket_sizes(64)
    for width in range(10, 200, 7):
        for height in range(10, 200, 11):
            nearest = min(sizes, key=lambda size: abs(math.log(size[0] / size[1] * height / width)))
            assert bucket_of(width, height, 64) == nearest
            assert bucket_of(height, width, 64) == nearest[::-1]
