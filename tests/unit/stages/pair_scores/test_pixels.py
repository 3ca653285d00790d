"""Scores of pixels against scikit-image and against closed forms."""

import numpy as np
import pytest
from _inputs import make_image
from skimage.metrics import structural_similarity

from stages.pair_scores.pixels import l1_scores, pixels_of, ssim_map, ssim_scores

SIZE = (40, 32)


def images():
    rng = np.random.default_rng(0)
    smooth = pixels_of(make_image(1, SIZE))
    noisy = np.clip(smooth + rng.normal(0, 0.1, smooth.shape), 0, 1)
    return [
        (smooth, noisy), (smooth, pixels_of(make_image(2, SIZE))), (smooth, 1 - smooth), (noisy, noisy * 0.5),
        (np.zeros_like(smooth), np.ones_like(smooth)),
    ]  # fmt: skip


@pytest.mark.parametrize("pair", images())
def test_ssim_is_that_of_scikit_image(pair):
    one, other = pair
    whole, outside = ssim_scores(one, other, None)
    assert whole == pytest.approx(structural_similarity(one, other, data_range=1, channel_axis=2), abs=1e-9)
    assert outside is None


def test_the_map_is_that_of_scikit_image_without_its_border():
    one, other = images()[0]
    theirs = structural_similarity(one, other, data_range=1, channel_axis=2, full=True)[1].mean(axis=2)
    assert np.abs(ssim_map(one, other) - theirs[3:-3, 3:-3]).max() < 1e-9


def test_images_that_are_alike_have_ssim_one_and_no_difference():
    one = images()[0][0]
    assert ssim_scores(one, one, None)[0] == pytest.approx(1, abs=1e-12)
    assert l1_scores(one, one, None) == (0, None)


def test_ssim_of_two_plain_images_is_the_luminance_term():
    one, other = np.full((9, 9, 3), 0.2), np.full((9, 9, 3), 0.6)
    expected = (2 * 0.2 * 0.6 + 1e-4) / (0.2**2 + 0.6**2 + 1e-4)
    assert ssim_scores(one, other, None)[0] == pytest.approx(expected, abs=1e-9)


def test_images_smaller_than_a_window_have_no_ssim():
    assert ssim_scores(np.zeros((6, 20, 3)), np.ones((6, 20, 3)), np.zeros((6, 20), bool)) == (None, None)


def test_l1_is_the_mean_of_the_differences():
    one, other = np.zeros((4, 4, 3)), np.zeros((4, 4, 3))
    other[0, 0] = 1
    other[3, 3] = 0.5
    region = np.zeros((4, 4), bool)
    region[0, 0] = True
    whole, outside = l1_scores(one, other, region)
    assert whole == pytest.approx(1.5 / 16)
    assert outside == pytest.approx(0.5 / 15)


def test_a_change_inside_of_the_region_is_no_change_outside():
    one = images()[0][0]
    region = np.zeros(one.shape[:2], bool)
    region[10:20, 12:25] = True
    other = np.where(region[..., None], 1 - one, one)
    assert ssim_scores(one, other, region)[0] < 0.9
    assert ssim_scores(one, other, region)[1] == pytest.approx(1, abs=1e-12)
    assert l1_scores(one, other, region)[0] > 0.02
    assert l1_scores(one, other, region)[1] == 0


def test_a_change_outside_of_the_region_counts():
    one = images()[0][0]
    region = np.zeros(one.shape[:2], bool)
    region[10:20, 12:25] = True
    other = one.copy()
    other[24:, :] = 1 - other[24:, :]
    whole, outside = ssim_scores(one, other, region)
    assert outside < whole < 1
    assert l1_scores(one, other, region)[1] > 0


def test_scores_outside_have_no_value_where_the_region_is_all():
    one, other = images()[0]
    region = np.ones(one.shape[:2], bool)
    assert l1_scores(one, other, region)[1] is None
    assert ssim_scores(one, other, region)[1] is None
    region[0, 0] = False  # one pixel is outside, no window is
    assert l1_scores(one, other, region)[1] is not None
    assert ssim_scores(one, other, region)[1] is None
