"""Draws series of points with axes, ticks and labels, by Pillow alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Colours that people with colour blindness can tell apart: Okabe and Ito 2008. They repeat after the last."""
SIZE = (960, 640)
"""Without the names of the series."""
NAME_PX = 26
"""Height of the line of a name."""
LEFT, RIGHT, TOP, BOTTOM = 96, 40, 56, 84
"""Margins around the area of the plot, in pixels."""
SCALE = 4
"""Everything is drawn larger and scaled down, so that lines are smooth."""
TEXT_PX, TITLE_PX = 16, 19
MARGIN_FRAC = 0.08
"""Free space between the outermost points and the frame, as a share of the range."""
INK, GRID, PAPER = "#333333", "#e4e4e4", "#ffffff"


@dataclass(frozen=True, slots=True)
class Series:
    """One line of the plot: `points` (x, y) joined in order, each with its label. A single point is a ring."""

    name: str
    points: Sequence[tuple[float, float]]
    labels: Sequence[str]


class Axis(NamedTuple):
    """The range of an axis, and the values that are marked on it."""

    low: float
    high: float
    ticks: tuple[float, ...]

    def share(self, value: float) -> float:
        """The place of a value between both ends, 0 to 1."""
        return (value - self.low) / (self.high - self.low)


def axis_of(values: Sequence[float], num_ticks: int = 8) -> Axis:
    """An axis around the values with up to `num_ticks` round ticks. Values that are all equal get a range too."""
    low, high = min(values), max(values)
    room = (high - low) * MARGIN_FRAC or max(abs(high), 1.0) * MARGIN_FRAC
    low, high = low - room, high + room
    step = _round_step((high - low) / num_ticks)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return Axis(low, high, tuple(number * step for number in range(first, last + 1)))


def draw_plot(series: Sequence[Series], *, title: str, x_title: str, y_title: str) -> Image:
    """The plot as an RGB image, 960 pixels wide, with the names of the series below it.

    Raises ValueError when there is no point.
    """
    points = [point for one in series for point in one.points]
    if not points:
        raise ValueError("there is no point to be drawn")
    canvas = _Canvas(axis_of([x for x, _ in points]), axis_of([y for _, y in points]), num_names=len(series))
    canvas.frame(title, x_title, y_title)
    for number, one in enumerate(series):
        canvas.series(one, COLOURS[number % len(COLOURS)])
    canvas.legend([one.name for one in series])
    return canvas.finished()


class _Canvas:
    """The image while it is drawn, in pixels of the finished plot."""

    def __init__(self, x_axis: Axis, y_axis: Axis, num_names: int) -> None:
        from PIL import Image as Pillow
        from PIL import ImageDraw, ImageFont

        self._x_axis, self._y_axis = x_axis, y_axis
        height = SIZE[1] + NAME_PX * num_names
        self._image = Pillow.new("RGB", (SIZE[0] * SCALE, height * SCALE), PAPER)
        self._draw = ImageDraw.Draw(self._image)
        self._font: Any = ImageFont.load_default(TEXT_PX * SCALE)
        self._title_font: Any = ImageFont.load_default(TITLE_PX * SCALE)

    def frame(self, title: str, x_title: str, y_title: str) -> None:
        """Grid, ticks with their values, the frame and the titles."""
        right, bottom = SIZE[0] - RIGHT, SIZE[1] - BOTTOM
        for value in self._x_axis.ticks:
            x = self._x(value)
            self._line([(x, TOP), (x, bottom)], GRID)
            self._line([(x, bottom), (x, bottom + 6)], INK)
            self._text((x, bottom + 10), _number(value, self._x_axis), "ma")
        for value in self._y_axis.ticks:
            y = self._y(value)
            self._line([(LEFT, y), (right, y)], GRID)
            self._line([(LEFT - 6, y), (LEFT, y)], INK)
            self._text((LEFT - 10, y), _number(value, self._y_axis), "rm")
        self._line([(LEFT, TOP), (LEFT, bottom), (right, bottom), (right, TOP), (LEFT, TOP)], INK)
        self._text(((LEFT + right) / 2, TOP / 2), title, "mm", font=self._title_font)
        self._text(((LEFT + right) / 2, SIZE[1] - 26), x_title, "mm")
        self._upright(y_title, (24, (TOP + bottom) / 2))

    def series(self, one: Series, colour: str) -> None:
        """A line, its points, and their labels."""
        places = [(self._x(x), self._y(y)) for x, y in one.points]
        if len(places) > 1:
            self._line(places, colour, 2.5)
        for place, label in zip(places, one.labels, strict=True):
            self._dot(place, colour, is_ring=len(places) == 1)
            self._text((place[0] + 8, place[1] - 6), label, "ls", colour)

    def legend(self, names: Sequence[str]) -> None:
        """The names of the series below the plot, where no point can lie, each with its colour."""
        for row, name in enumerate(names):
            y = SIZE[1] + NAME_PX * row
            self._dot((LEFT + 20, y), COLOURS[row % len(COLOURS)])
            self._text((LEFT + 34, y), name, "lm")

    def finished(self) -> Image:
        """The image at its final size."""
        return self._image.reduce(SCALE)

    def _x(self, value: float) -> float:
        return LEFT + self._x_axis.share(value) * (SIZE[0] - LEFT - RIGHT)

    def _y(self, value: float) -> float:
        return SIZE[1] - BOTTOM - self._y_axis.share(value) * (SIZE[1] - TOP - BOTTOM)

    def _line(self, places: Sequence[tuple[float, float]], colour: str, width: float = 1) -> None:
        scaled = [(x * SCALE, y * SCALE) for x, y in places]
        self._draw.line(scaled, fill=colour, width=round(width * SCALE), joint="curve")

    def _dot(self, place: tuple[float, float], colour: str, *, is_ring: bool = False) -> None:
        centre = (place[0] * SCALE, place[1] * SCALE)
        self._draw.circle(centre, 6 * SCALE, fill=PAPER if is_ring else colour, outline=colour, width=3 * SCALE)

    def _text(
        self, place: tuple[float, float], text: str, anchor: str, colour: str = INK, font: Any = None
    ) -> None:  # fmt: skip
        scaled = (place[0] * SCALE, place[1] * SCALE)
        self._draw.text(scaled, text, fill=colour, font=font or self._font, anchor=anchor)

    def _upright(self, text: str, centre: tuple[float, float]) -> None:
        """Text from bottom to top around a place."""
        from PIL import Image as Pillow
        from PIL import ImageDraw

        box = self._font.getbbox(text)
        label = Pillow.new("RGB", (math.ceil(box[2]), math.ceil(box[3]) + SCALE), PAPER)
        ImageDraw.Draw(label).text((0, 0), text, fill=INK, font=self._font)
        turned = label.rotate(90, expand=True)
        left, top = (round(at * SCALE - side / 2) for at, side in zip(centre, turned.size, strict=True))
        self._image.paste(turned, (left, top))


def _round_step(least: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is at least `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))


def _number(value: float, axis: Axis) -> str:
    """The value with as many decimals as the distance of the ticks has."""
    ticks = axis.ticks
    step = ticks[1] - ticks[0] if len(ticks) > 1 else abs(value) or 1.0
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"{value:.{decimals}f}".replace("-0.0", "0.0") if abs(value) < step / 2 else f"{value:.{decimals}f}"
