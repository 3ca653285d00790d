import itertools

import numpy as np
import pytest
from PIL import Image

from stages.sessions.drift import Drift

SIZE = (40, 24)


def plain(value, boxes=()):
    """A grey image of 40 x 24 px with boxes (x0, x1, value) of another grey."""
    pixels = np.full((SIZE[1], SIZE[0], 3), value, np.uint8)
    for x0, x1, other in boxes:
        pixels[:, x0:x1] = other
    return Image.fromarray(pixels)


def drift_of(*images, asked_l1=0.08):
    """The scores of each turn of a session with these images."""
    drift = Drift(images[0], asked_l1)
    return [drift.add(before, after) for before, after in itertools.pairwise(images)]


def test_a_change_that_was_asked_for_is_no_drift():
    (scores,) = drift_of(plain(100), plain(100, [(0, 16, 200)]))
    assert scores["session_l1"] == pytest.approx(100 / 255 * 16 / 40, abs=1e-5)
    assert scores["session_outside_l1"] == 0


def test_small_changes_of_all_turns_add_up_to_drift():
    found = drift_of(plain(100), plain(110), plain(120), plain(130))
    assert [one["session_outside_l1"] for one in found] == [round(n * 10 / 255, 5) for n in (1, 2, 3)]


def test_what_an_earlier_turn_asked_for_stays_asked_for():
    found = drift_of(plain(100), plain(100, [(0, 16, 200)]), plain(105, [(0, 16, 190)]))
    assert found[1]["session_outside_l1"] == round(5 / 255, 5)


def test_image_that_changed_everywhere_has_no_outside():
    (scores,) = drift_of(plain(0), plain(255))
    assert scores == {"session_l1": 1.0, "session_outside_l1": None}


def test_images_of_another_size_have_no_scores():
    (scores,) = drift_of(plain(0), Image.new("RGB", (8, 8)))
    assert scores == {"session_l1": None, "session_outside_l1": None}


def test_blocks_at_the_edge_count_by_their_own_pixels():
    images = [Image.new("RGB", (9, 11), (value,) * 3) for value in (10, 20)]
    (scores,) = drift_of(*images)
    assert scores == {"session_l1": round(10 / 255, 5), "session_outside_l1": round(10 / 255, 5)}
