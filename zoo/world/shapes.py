"""The shapes of the world's nouns, one function a noun. Things touch the lower edge of the square."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo.world.pen import GLASS, INK, LEAF, PALE, WOOD

if TYPE_CHECKING:
    from collections.abc import Callable

    from zoo.world.pen import Pen


def _wheels(pen: Pen, *centres: float, radius: float = 0.11) -> None:
    for x in centres:
        pen.oval(x - radius, 0.98 - 2 * radius, x + radius, 0.98, INK)
        pen.oval(x - radius / 2.5, 0.98 - 1.4 * radius, x + radius / 2.5, 0.98 - 0.6 * radius, PALE)


def _car(pen: Pen) -> None:
    pen.shape((0.2, 0.58), (0.34, 0.34), (0.68, 0.34), (0.84, 0.58))
    pen.box(0.02, 0.54, 0.98, 0.86, radius=0.08)
    pen.shape((0.3, 0.56), (0.38, 0.41), (0.5, 0.41), (0.5, 0.56), fill=GLASS)
    pen.shape((0.55, 0.56), (0.55, 0.41), (0.65, 0.41), (0.74, 0.56), fill=GLASS)
    _wheels(pen, 0.24, 0.76, radius=0.13)


def _truck(pen: Pen) -> None:
    pen.box(0.02, 0.22, 0.62, 0.86)
    pen.box(0.02, 0.72, 0.62, 0.86, pen.shade)
    pen.shape((0.66, 0.86), (0.66, 0.42), (0.84, 0.42), (0.98, 0.62), (0.98, 0.86), fill=pen.shade)
    pen.shape((0.72, 0.62), (0.72, 0.48), (0.81, 0.48), (0.91, 0.62), fill=GLASS)
    _wheels(pen, 0.18, 0.46, 0.82)


def _bus(pen: Pen) -> None:
    pen.box(0.02, 0.16, 0.98, 0.88, radius=0.06)
    for row in (0.24, 0.5):
        for x in (0.08, 0.31, 0.54, 0.77):
            pen.box(x, row, x + 0.15, row + 0.17, GLASS)
    _wheels(pen, 0.25, 0.75)


def _train(pen: Pen) -> None:
    pen.box(0.3, 0.44, 0.96, 0.82, radius=0.1)
    pen.box(0.04, 0.16, 0.44, 0.82)
    pen.box(0.1, 0.26, 0.34, 0.46, GLASS)
    pen.box(0.72, 0.16, 0.86, 0.5, pen.shade)
    pen.box(0.67, 0.1, 0.91, 0.2, INK)
    _wheels(pen, 0.14, 0.38, 0.62, 0.86, radius=0.1)


def _cat(pen: Pen) -> None:
    pen.line((0.74, 0.84), (0.94, 0.7), (0.88, 0.42), width=0.09)
    pen.oval(0.26, 0.46, 0.8, 1.04)
    pen.shape((0.14, 0.34), (0.16, 0.0), (0.36, 0.18))
    pen.shape((0.66, 0.34), (0.64, 0.0), (0.44, 0.18))
    pen.oval(0.12, 0.1, 0.68, 0.6)
    for x in (0.26, 0.46):
        pen.oval(x, 0.28, x + 0.1, 0.4, PALE)
        pen.oval(x + 0.03, 0.3, x + 0.08, 0.39, INK)
    pen.box(0.2, 0.9, 0.8, 1.0)


def _dog(pen: Pen) -> None:
    pen.line((0.14, 0.5), (0.03, 0.26), width=0.08)
    pen.box(0.1, 0.44, 0.74, 0.74, radius=0.1)
    for x in (0.12, 0.26, 0.52, 0.64):
        pen.box(x, 0.66, x + 0.1, 1.0)
    pen.box(0.58, 0.14, 0.86, 0.52, radius=0.1)
    pen.box(0.74, 0.28, 1.0, 0.46, radius=0.06)
    pen.oval(0.56, 0.14, 0.7, 0.5, pen.shade)
    pen.oval(0.92, 0.28, 1.0, 0.37, INK)
    pen.oval(0.74, 0.2, 0.81, 0.28, INK)


def _bear(pen: Pen) -> None:
    for x in (0.14, 0.62):
        pen.oval(x, 0.02, x + 0.24, 0.26, pen.shade)
    pen.oval(0.06, 0.4, 0.94, 1.04)
    pen.oval(0.16, 0.08, 0.84, 0.66)
    pen.oval(0.34, 0.36, 0.66, 0.62, PALE)
    pen.oval(0.43, 0.38, 0.57, 0.48, INK)
    for x in (0.3, 0.6):
        pen.oval(x, 0.24, x + 0.1, 0.34, INK)
    pen.box(0.1, 0.92, 0.9, 1.0)


def _bird(pen: Pen) -> None:
    pen.shape((0.0, 0.3), (0.36, 0.5), (0.3, 0.76))
    pen.oval(0.16, 0.36, 0.8, 0.86)
    pen.oval(0.56, 0.14, 0.9, 0.48)
    pen.shape((0.86, 0.24), (1.0, 0.34), (0.86, 0.4), fill=(240, 160, 30))
    pen.shape((0.24, 0.5), (0.62, 0.5), (0.36, 0.78), fill=pen.shade)
    pen.oval(0.7, 0.22, 0.78, 0.3, INK)
    for x in (0.44, 0.56):
        pen.box(x, 0.84, x + 0.05, 1.0, (240, 160, 30))


def _fish(pen: Pen) -> None:
    pen.shape((0.0, 0.3), (0.34, 0.6), (0.0, 0.92), fill=pen.shade)
    pen.shape((0.4, 0.44), (0.56, 0.2), (0.74, 0.42), fill=pen.shade)
    pen.oval(0.2, 0.34, 1.0, 0.9)
    pen.oval(0.78, 0.48, 0.9, 0.6, PALE)
    pen.oval(0.82, 0.51, 0.88, 0.58, INK)
    pen.line((0.62, 0.4), (0.66, 0.62), (0.62, 0.84), width=0.04, fill=pen.shade)


def _apple(pen: Pen) -> None:
    pen.oval(0.06, 0.24, 0.6, 0.94)
    pen.oval(0.4, 0.24, 0.94, 0.94)
    pen.box(0.3, 0.4, 0.7, 0.98, radius=0.2)
    pen.line((0.5, 0.34), (0.54, 0.08), width=0.07, fill=WOOD)
    pen.oval(0.56, 0.06, 0.88, 0.22, LEAF)


def _pear(pen: Pen) -> None:
    pen.oval(0.16, 0.46, 0.84, 1.0)
    pen.oval(0.32, 0.16, 0.68, 0.62)
    pen.shape((0.33, 0.36), (0.67, 0.36), (0.8, 0.62), (0.2, 0.62))
    pen.line((0.5, 0.2), (0.5, 0.02), width=0.07, fill=WOOD)


def _banana(pen: Pen) -> None:
    pen.oval(0.0, 0.0, 1.0, 0.98)
    pen.hole(-0.02, -0.42, 1.02, 0.6)  # leaves a crescent
    pen.box(0.0, 0.34, 0.1, 0.5, WOOD)
    pen.box(0.9, 0.34, 1.0, 0.5, WOOD)


def _cherry(pen: Pen) -> None:
    pen.line((0.24, 0.66), (0.56, 0.06), (0.76, 0.66), width=0.06, fill=LEAF)
    pen.oval(0.02, 0.52, 0.48, 0.98)
    pen.oval(0.52, 0.52, 0.98, 0.98)
    pen.oval(0.56, 0.02, 0.86, 0.18, LEAF)


def _chair(pen: Pen) -> None:
    pen.box(0.16, 0.02, 0.3, 1.0)
    pen.box(0.16, 0.5, 0.84, 0.64)
    pen.box(0.7, 0.6, 0.84, 1.0)
    pen.box(0.16, 0.02, 0.4, 0.5, pen.shade)


def _table(pen: Pen) -> None:
    pen.box(0.0, 0.38, 1.0, 0.52)
    for x in (0.06, 0.82):
        pen.box(x, 0.5, x + 0.12, 1.0, pen.shade)


def _sofa(pen: Pen) -> None:
    pen.box(0.1, 0.3, 0.9, 0.8, radius=0.08)
    pen.box(0.16, 0.58, 0.84, 0.76, pen.shade)
    pen.box(0.0, 0.48, 0.2, 0.92, radius=0.08)
    pen.box(0.8, 0.48, 1.0, 0.92, radius=0.08)
    pen.box(0.1, 0.74, 0.9, 0.92)
    for x in (0.06, 0.84):
        pen.box(x, 0.9, x + 0.1, 1.0, INK)


def _lamp(pen: Pen) -> None:
    pen.shape((0.3, 0.02), (0.7, 0.02), (0.94, 0.46), (0.06, 0.46))
    pen.box(0.45, 0.44, 0.55, 0.94, WOOD)
    pen.oval(0.24, 0.86, 0.76, 1.02, pen.shade)


def _house(pen: Pen) -> None:
    pen.box(0.1, 0.44, 0.9, 1.0)
    pen.shape((0.0, 0.48), (0.5, 0.06), (1.0, 0.48), fill=(150, 62, 40))
    pen.box(0.42, 0.66, 0.6, 1.0, WOOD)
    for x in (0.18, 0.68):
        pen.box(x, 0.56, x + 0.15, 0.74, GLASS)


def _church(pen: Pen) -> None:
    pen.box(0.36, 0.56, 1.0, 1.0)
    pen.shape((0.32, 0.6), (0.5, 0.4), (0.94, 0.4), (1.0, 0.6), fill=(96, 100, 112))
    pen.box(0.06, 0.4, 0.38, 1.0)
    pen.shape((0.02, 0.42), (0.22, 0.08), (0.42, 0.42), fill=(96, 100, 112))
    pen.box(0.19, 0.0, 0.25, 0.16, INK)
    pen.box(0.14, 0.03, 0.3, 0.08, INK)
    pen.oval(0.15, 0.5, 0.29, 0.66, GLASS)
    pen.box(0.56, 0.7, 0.66, 0.88, GLASS)
    pen.box(0.78, 0.7, 0.88, 0.88, GLASS)


def _barn(pen: Pen) -> None:
    pen.shape((0.04, 1.0), (0.04, 0.46), (0.22, 0.2), (0.5, 0.08), (0.78, 0.2), (0.96, 0.46), (0.96, 1.0))
    pen.box(0.28, 0.52, 0.72, 1.0, PALE)
    pen.line((0.3, 0.54), (0.7, 0.98), width=0.06, fill=pen.shade)
    pen.line((0.7, 0.54), (0.3, 0.98), width=0.06, fill=pen.shade)


def _tree(pen: Pen) -> None:
    pen.box(0.42, 0.6, 0.58, 1.0, WOOD)
    for x, y in ((0.06, 0.26), (0.46, 0.26), (0.26, 0.02), (0.26, 0.34)):
        pen.oval(x, y, x + 0.48, y + 0.44)


def _cactus(pen: Pen) -> None:
    pen.box(0.38, 0.06, 0.62, 1.0, radius=0.12)
    pen.box(0.08, 0.3, 0.24, 0.66, radius=0.08)
    pen.box(0.08, 0.54, 0.5, 0.68, radius=0.06)
    pen.box(0.76, 0.2, 0.92, 0.56, radius=0.08)
    pen.box(0.5, 0.44, 0.92, 0.58, radius=0.06)


def _kite(pen: Pen) -> None:
    pen.line((0.46, 0.66), (0.6, 0.8), (0.4, 0.9), (0.54, 1.0), width=0.06, fill=INK)
    pen.shape((0.5, 0.0), (0.94, 0.32), (0.5, 0.76), (0.06, 0.32))
    pen.shape((0.5, 0.0), (0.94, 0.32), (0.5, 0.32), fill=pen.shade)
    pen.shape((0.5, 0.76), (0.06, 0.32), (0.5, 0.32), fill=pen.shade)


def _balloon(pen: Pen) -> None:
    pen.line((0.5, 0.7), (0.44, 0.84), (0.54, 1.0), width=0.05, fill=INK)
    pen.oval(0.16, 0.0, 0.84, 0.7)
    pen.shape((0.42, 0.76), (0.58, 0.76), (0.5, 0.64))
    pen.oval(0.28, 0.12, 0.44, 0.3, (255, 255, 255))


def _teddy(pen: Pen) -> None:
    for x in (0.2, 0.58):
        pen.oval(x, 0.0, x + 0.22, 0.2)
    pen.oval(0.24, 0.04, 0.76, 0.48)
    pen.oval(0.26, 0.4, 0.74, 0.92)
    pen.oval(0.02, 0.42, 0.36, 0.6)
    pen.oval(0.64, 0.42, 0.98, 0.6)
    pen.oval(0.08, 0.78, 0.42, 1.0)
    pen.oval(0.58, 0.78, 0.92, 1.0)
    pen.oval(0.36, 0.54, 0.64, 0.82, pen.shade)
    for x in (0.36, 0.56):
        pen.oval(x, 0.18, x + 0.08, 0.26, INK)


def _cup(pen: Pen) -> None:
    pen.oval(0.58, 0.4, 0.98, 0.82)
    pen.hole(0.68, 0.5, 0.88, 0.72)  # of the handle
    pen.box(0.08, 0.3, 0.74, 0.98, radius=0.1)
    pen.oval(0.08, 0.22, 0.74, 0.42, pen.shade)


def _bottle(pen: Pen) -> None:
    pen.box(0.42, 0.04, 0.58, 0.4)
    pen.box(0.4, 0.0, 0.6, 0.1, WOOD)
    pen.box(0.28, 0.34, 0.72, 1.0, radius=0.1)
    pen.box(0.28, 0.54, 0.72, 0.78, PALE)


def _vase(pen: Pen) -> None:
    for x, y in ((0.22, 0.02), (0.44, -0.02), (0.64, 0.06)):
        pen.line((x + 0.07, y + 0.1), (0.5, 0.5), width=0.05, fill=LEAF)
        pen.oval(x, y, x + 0.2, y + 0.2, (236, 120, 170))
    pen.shape((0.36, 0.36), (0.64, 0.36), (0.6, 0.5), (0.4, 0.5))
    pen.oval(0.18, 0.44, 0.82, 0.98)
    pen.box(0.34, 0.9, 0.66, 1.0)
    pen.box(0.2, 0.64, 0.8, 0.72, pen.shade)


DRAW: dict[str, Callable[[Pen], None]] = {
    "car": _car, "truck": _truck, "bus": _bus, "train": _train, "cat": _cat, "dog": _dog, "bear": _bear,
    "bird": _bird, "fish": _fish, "apple": _apple, "pear": _pear, "banana": _banana, "cherry": _cherry,
    "chair": _chair, "table": _table, "sofa": _sofa, "lamp": _lamp, "house": _house, "church": _church,
    "barn": _barn, "tree": _tree, "cactus": _cactus, "kite": _kite, "balloon": _balloon, "teddy": _teddy,
    "cup": _cup, "bottle": _bottle, "vase": _vase,
}  # fmt: skip
