"""Maps and masks of regions, and pictures of them."""

import numpy as np
import torch
from PIL import Image

from models.regions.drawing import COLD, HOT, LINE, OPACITY, contour, heat_map, side_by_side
from models.regions.region_maps import enlarged, mask_of, with_margin


def test_patches_are_enlarged_between_their_centres():
    found = enlarged(torch.tensor([[0.0, 1.0, 0.0, 1.0]]), (2, 2), 4, 4)
    np.testing.assert_allclose(found[0, 0], [[0, 0.25, 0.75, 1]] * 4, atol=1e-6)


def test_patches_are_averaged_where_the_image_is_smaller():
    found = enlarged(torch.tensor([[0.0, 1.0, 0.0, 1.0]]), (2, 2), 1, 1)
    np.testing.assert_allclose(found, [[[[0.5]]]], atol=1e-6)


def test_rows_of_patches_are_rows_of_pixels():
    found = enlarged(torch.tensor([[0.0, 0.0, 0.0, 1.0, 1.0, 1.0]]), (2, 3), 2, 3)
    np.testing.assert_allclose(found[0, 0], [[0] * 3, [1] * 3], atol=1e-6)


def test_threshold_itself_is_outside():
    assert mask_of(np.array([[0.4, 0.5, 0.6]]), 0.5).tolist() == [[False, False, True]]


def test_margin_is_a_share_of_the_shorter_side():
    mask = np.zeros((20, 40), np.bool_)
    mask[10, 20] = True
    grown = with_margin(mask, 0.1)
    assert grown[8:13, 18:23].all()
    assert grown.sum() == 25
    assert with_margin(mask, 0.04).sum() == 1
    assert not with_margin(np.zeros((20, 40), np.bool_), 0.5).any()


def test_heat_map_goes_from_cold_to_hot_over_the_image():
    found = np.asarray(heat_map(Image.new("RGB", (2, 1), (100, 100, 100)), np.array([[0.0, 1.0]], np.float32)))
    for pixel, colour in zip(found[0], (COLD, HOT), strict=True):
        np.testing.assert_allclose(pixel, (1 - OPACITY) * 100 + OPACITY * np.array(colour), atol=1)


def test_contour_is_the_inner_edge_of_the_mask():
    mask = np.zeros((8, 8), np.bool_)
    mask[2:7, 2:7] = True
    found = np.asarray(contour(Image.new("RGB", (8, 8)), mask))
    is_line = (found == LINE).all(-1)
    assert is_line[2:7, 2:7].sum() == 16
    assert not is_line[3:6, 3:6].any()
    assert not is_line[~mask].any()


def test_contour_of_a_whole_image_is_its_frame_and_an_empty_one_has_none():
    whole, empty = (np.full((6, 9), value) for value in (True, False))
    framed, plain = (np.asarray(contour(Image.new("RGB", (9, 6)), mask)) for mask in (whole, empty))
    assert (framed == LINE).all(-1).sum() == 2 * 9 + 2 * 4
    assert not plain.any()


def test_pictures_side_by_side_keep_their_sizes():
    found = side_by_side([Image.new("RGB", (3, 5), "red"), Image.new("RGB", (4, 5), "blue")])
    assert found.size == (7, 5)
    assert found.getpixel((2, 0)) == (255, 0, 0)
    assert found.getpixel((3, 0)) == (0, 0, 255)
