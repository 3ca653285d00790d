import numpy as np
import pytest
from PIL import ImageColor

from evaluation.curves.plot import BOTTOM, COLOURS, LEFT, NAME_PX, RIGHT, SIZE, TOP, Series, axis_of, draw_plot

TITLES = {"title": "edits", "x_title": "direction", "y_title": "similarity"}
LINE = Series("one", [(0.0, 1.0), (0.1, 0.8), (0.2, 0.5)], ["1.0", "1.5", "2.0"])


def place_of(series, x, y):
    """The pixel of a point: share of the axes between the margins."""
    xs, ys = ([point[at] for one in series for point in one.points] for at in (0, 1))
    across = LEFT + axis_of(xs).share(x) * (SIZE[0] - LEFT - RIGHT)
    down = SIZE[1] - BOTTOM - axis_of(ys).share(y) * (SIZE[1] - TOP - BOTTOM)
    return round(across), round(down)


def coloured(image, colour):
    return (np.asarray(image) == ImageColor.getrgb(colour)).all(axis=2)


def test_every_point_is_at_its_place_in_the_colour_of_its_series():
    other = Series("two", [(0.05, 0.9), (0.15, 0.4)], ["a", "b"])
    image = draw_plot([LINE, other], **TITLES)
    assert image.size == (SIZE[0], SIZE[1] + 2 * NAME_PX)
    assert coloured(image, COLOURS[0])[SIZE[1] :].any()
    assert coloured(image, COLOURS[1])[SIZE[1] + NAME_PX :].any()
    for series, colour in ((LINE, COLOURS[0]), (other, COLOURS[1])):
        for x, y in series.points:
            across, down = place_of([LINE, other], x, y)
            assert coloured(image, colour)[down, across]


def test_points_of_a_series_are_joined_in_their_order():
    flat = Series("flat", [(0.0, 0.5), (1.0, 0.5)], ["", ""])
    other = Series("other", [(0.0, 0.0), (1.0, 1.0)], ["", ""])
    image = draw_plot([flat, other], **TITLES)
    left, down = place_of([flat, other], 0.0, 0.5)
    right, _ = place_of([flat, other], 1.0, 0.5)
    third = (2 * left + right) // 3  # away from the place where both lines cross
    assert coloured(image, COLOURS[0])[down - 1 : down + 2, third].any()


def test_a_single_point_is_a_ring():
    image = draw_plot([LINE, Series("truth", [(0.15, 0.9)], [""])], **TITLES)
    across, down = place_of([LINE, Series("", [(0.15, 0.9)], [""])], 0.15, 0.9)
    assert image.getpixel((across, down)) == (255, 255, 255)
    assert coloured(image, COLOURS[1])[down - 6 : down + 7, across - 6 : across + 7].any()


@pytest.mark.parametrize("changed", [{"title": "other"}, {"x_title": "other"}, {"y_title": "other"}])
def test_titles_are_drawn(changed):
    assert draw_plot([LINE], **TITLES).tobytes() != draw_plot([LINE], **(TITLES | changed)).tobytes()


def test_labels_of_points_and_names_of_series_are_drawn():
    plain = draw_plot([LINE], **TITLES).tobytes()
    assert draw_plot([LINE], **TITLES).tobytes() == plain
    assert draw_plot([Series("one", LINE.points, ["1.0", "1.7", "2.0"])], **TITLES).tobytes() != plain
    assert draw_plot([Series("two", LINE.points, LINE.labels)], **TITLES).tobytes() != plain


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0.0, 1.0], [0, 0.2, 0.4, 0.6, 0.8, 1.0]), ([0.048, 0.152], [0.04, 0.06, 0.08, 0.1, 0.12, 0.14, 0.16]),
     ([-10, 30], [-10, 0, 10, 20, 30])],
)  # fmt: skip
def test_ticks_are_round_and_within_the_axis(values, expected):
    axis = axis_of(values)
    assert axis.ticks == pytest.approx(expected)
    assert axis.low <= min(axis.ticks) <= max(axis.ticks) <= axis.high
    assert axis.low < min(values) < max(values) < axis.high


@pytest.mark.parametrize("value", [0.0, 0.7, -3.0, 1e-9])
def test_values_that_are_all_equal_get_an_axis_and_a_plot(value):
    axis = axis_of([value, value])
    assert axis.low < value < axis.high
    assert len(axis.ticks) >= 2
    draw_plot([Series("one", [(value, value), (value, value)], ["a", "b"])], **TITLES)


def test_a_plot_without_points_is_refused():
    with pytest.raises(ValueError, match="there is no point"):
        draw_plot([Series("one", [], [])], **TITLES)
