"""Draws shapes on a small square in coordinates from 0 to 1, the same at any size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

if TYPE_CHECKING:
    Colour = tuple[int, int, int]
    Point = tuple[float, float]

INK: Colour = (24, 22, 26)
GLASS: Colour = (196, 230, 246)
WOOD: Colour = (120, 78, 46)
LEAF: Colour = (52, 116, 50)
PALE: Colour = (238, 226, 200)
DARK_SUM = 150
"""A colour whose channels add up to less is shaded lighter, not darker."""


class Pen:
    """Draws on a square of `size_px`, in the thing's colour `main` where no `fill` is given."""

    def __init__(self, size_px: int, main: Colour) -> None:
        self.image = Image.new("RGBA", (size_px, size_px), (0, 0, 0, 0))
        self._draw = ImageDraw.Draw(self.image)
        self._size_px = size_px
        self.main = main

    @property
    def shade(self) -> Colour:
        """The thing's colour in shadow: lighter for a dark colour, so that it can be seen."""
        red, green, blue = (min(255, c + 60) if sum(self.main) < DARK_SUM else int(c * 0.68) for c in self.main)
        return red, green, blue

    def box(self, x0: float, y0: float, x1: float, y1: float, fill: Colour | None = None, radius: float = 0) -> None:
        """A rectangle, its corners rounded by `radius`."""
        self._draw.rounded_rectangle(self._edges(x0, y0, x1, y1), radius * self._size_px, fill=fill or self.main)

    def oval(self, x0: float, y0: float, x1: float, y1: float, fill: Colour | None = None) -> None:
        """An ellipse within the box."""
        self._draw.ellipse(self._edges(x0, y0, x1, y1), fill=fill or self.main)

    def hole(self, x0: float, y0: float, x1: float, y1: float) -> None:
        """An ellipse cut out of what was drawn so far."""
        size = self._size_px
        self._draw.ellipse((x0 * size, y0 * size, x1 * size, y1 * size), fill=(0, 0, 0, 0))

    def shape(self, *points: Point, fill: Colour | None = None) -> None:
        """A polygon."""
        self._draw.polygon([(x * self._size_px, y * self._size_px) for x, y in points], fill=fill or self.main)

    def line(self, *points: Point, width: float, fill: Colour | None = None) -> None:
        """A line through the points, at least one pixel wide."""
        scaled = [(x * self._size_px, y * self._size_px) for x, y in points]
        self._draw.line(scaled, fill=fill or self.main, width=max(1, round(width * self._size_px)), joint="curve")

    def _edges(self, x0: float, y0: float, x1: float, y1: float) -> tuple[float, float, float, float]:
        """The box in pixels, lower right edge included, at least a point however small the square."""
        size = self._size_px
        return x0 * size, y0 * size, max(x0 * size, x1 * size - 1), max(y0 * size, y1 * size - 1)
