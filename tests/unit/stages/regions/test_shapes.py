"""Shapes of masks against closed forms, scikit-image and a plain definition."""

import numpy as np
import pytest
from skimage.measure import label
from skimage.morphology import convex_hull_image, dilation, disk

from stages.regions.shapes import (
    convex_hull,
    filled_boxes,
    hulls,
    num_outer_contours,
    outer_contours,
    union,
    with_margin,
    without_specks,
)


def disc(size_px, x, y, radius_px):
    rows, columns = np.mgrid[:size_px, :size_px]
    return (columns - x) ** 2 + (rows - y) ** 2 <= radius_px**2


def drawn(*lines):
    """A mask from text, # inside."""
    return np.array([[letter == "#" for letter in line] for line in lines])


DISC = disc(64, 30, 32, 20)
RING = DISC & ~disc(64, 30, 32, 10)
TWO = disc(64, 14, 14, 8) | disc(64, 44, 46, 12)


def blobs(seed, side_px=48):
    """A random mask of few or of many parts."""
    rng = np.random.default_rng(seed)
    smooth = rng.random((side_px // 4, side_px // 4)).repeat(4, 0).repeat(4, 1)
    return smooth + 0.6 * rng.random((side_px, side_px)) > rng.uniform(0.8, 1.4)


def test_a_disc_is_its_own_hull():
    assert (convex_hull(DISC) == DISC).all()
    assert (hulls(DISC) == DISC).all()
    assert convex_hull(DISC).sum() == pytest.approx(np.pi * 20**2, rel=0.01)


def test_the_hull_of_a_ring_is_the_disc_and_its_contour_is_one():
    assert (hulls(RING) == DISC).all()
    assert num_outer_contours(RING) == 1


def test_two_blobs_have_hulls_of_their_own():
    assert num_outer_contours(TWO) == 2
    assert (hulls(TWO) == TWO).all()
    assert convex_hull(TWO).sum() > 1.3 * TWO.sum()
    assert (union(outer_contours(TWO), 64, 64) == TWO).all()


def test_a_part_within_a_hole_is_no_outer_contour():
    mask_HW = RING | disc(64, 30, 32, 4)
    assert num_outer_contours(mask_HW) == 1
    assert (outer_contours(mask_HW)[0] == DISC).all()


def test_pixels_that_touch_at_a_corner_are_one_part():
    assert num_outer_contours(drawn("#...", ".#..", "...#")) == 2


def test_the_hull_of_a_right_angle_is_the_triangle():
    corner = np.zeros((9, 9), bool)
    corner[:, 0] = corner[8, :] = True
    assert (convex_hull(corner) == np.tri(9, dtype=bool)).all()


@pytest.mark.parametrize(
    "mask_HW",
    [drawn("#"), drawn("...", ".#.", "..."), drawn("#####"), drawn("#", "#", "#"), drawn("#..", ".#.", "..#")],
)
def test_points_and_lines_are_their_own_hull(mask_HW):
    assert (convex_hull(mask_HW) == mask_HW).all()


def test_nothing_has_no_hull_and_no_contour():
    nothing = np.zeros((4, 5), bool)
    for shape in (convex_hull, hulls, lambda mask: without_specks(mask, 1), lambda mask: with_margin(mask, 2)):
        assert not shape(nothing).any()
    assert outer_contours(nothing) == []


@pytest.mark.parametrize("seed", range(30))
def test_hulls_are_those_of_scikit_image(seed):
    mask_HW = blobs(seed)
    assert (convex_hull(mask_HW) == convex_hull_image(mask_HW, offset_coordinates=False)).all()


@pytest.mark.parametrize("seed", range(10))
def test_a_hull_holds_the_mask_and_is_convex(seed):
    mask_HW = blobs(seed)
    hull_HW = convex_hull(mask_HW)
    assert hull_HW[mask_HW].all()
    assert (convex_hull(hull_HW) == hull_HW).all()
    assert (convex_hull(mask_HW.T) == hull_HW.T).all()
    assert (convex_hull(mask_HW[::-1, ::-1]) == hull_HW[::-1, ::-1]).all()


@pytest.mark.parametrize("seed", range(10))
def test_parts_are_those_of_scikit_image(seed):
    mask_HW = blobs(seed)
    part_HW = label(mask_HW, connectivity=2)
    large = [number for number in range(1, part_HW.max() + 1) if (part_HW == number).sum() >= 6]
    assert (without_specks(mask_HW, 6) == np.isin(part_HW, large)).all()
    background = label(~np.pad(mask_HW, 1), connectivity=1)
    filled = (background != background[0, 0])[1:-1, 1:-1]
    assert num_outer_contours(mask_HW) == label(filled, connectivity=2).max()


def test_specks_go_and_parts_of_the_least_size_stay():
    mask_HW = drawn("##...#", "##....", "....##", "....#.")
    assert (without_specks(mask_HW, 3) == drawn("##....", "##....", "....##", "....#.")).all()
    assert (without_specks(mask_HW, 4) == drawn("##....", "##....", "......", "......")).all()
    assert (without_specks(mask_HW, 0) == mask_HW).all()


@pytest.mark.parametrize(
    ("box", "shown"),
    [
        ((1, 0, 3, 2), ((0, 2), (1, 3))),
        ((1.4, 0.4, 2.6, 1.6), ((0, 2), (1, 3))),
        ((0.6, 0.5, 2.5, 1.5), ((0, 1), (1, 2))),
        ((-5, -5, 99, 99), ((0, 4), (0, 5))),
        ((-5, 1, -2, 3), ((0, 0), (0, 0))),
    ],
)
def test_a_box_fills_the_pixels_whose_centre_it_holds(box, shown):
    (upper, lower), (left, right) = shown
    expected = np.zeros((4, 5), bool)
    expected[upper:lower, left:right] = True
    assert (filled_boxes([box], 4, 5) == expected).all()


def test_boxes_are_filled_together():
    assert filled_boxes([(0, 0, 1, 1), (3, 3, 5, 4)], 4, 5).sum() == 3
    assert not filled_boxes([], 4, 5).any()


@pytest.mark.parametrize("margin_px", [1, 2, 5])
def test_a_margin_is_a_dilation_by_a_disc(margin_px):
    for mask_HW in (TWO, blobs(3)):
        assert (with_margin(mask_HW, margin_px) == dilation(mask_HW, disk(margin_px))).all()


def test_less_than_a_pixel_is_no_margin():
    assert (with_margin(TWO, 0.9) == TWO).all()
