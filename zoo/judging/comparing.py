"""Compare two scenes that were read from images with the change that was asked for: is it there, and what else changed.

All scores are whole numbers from 0 to 10.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from zoo.world.scene import thing_masks

if TYPE_CHECKING:
    import numpy.typing as npt

    from zoo.judging.wanted_change import Wish
    from zoo.world.scene import Pixels, Scene, Thing

    Mask = npt.NDArray[np.bool_]

NEAR_FRAC = 0.1
"""Two things are at one place when their centres are nearer than this share of the image's side."""
EDGE_PX = 2
"""Pixels around a changed thing that may change too: its soft edge, and the strokes of a sketch."""
LEVELS_A_POINT = 2.0
"""Mean change in levels outside of the changed things that costs one point."""
POINTS_A_FACT = 5
"""What each fact costs that changed without need: a thing, its noun or colour, the place, the style."""
HALF_DONE, OTHERWISE_DONE = 5, 3
"""Points for a change that is a part of the wanted one, and for another change at the right place."""


class Verdict(NamedTuple):
    """A score and its reason."""

    score: int
    reason: str


def followed(wish: Wish, before: Scene, after: Scene) -> Verdict | None:
    """Whether the edited scene has the wanted change. None where the source has no thing that the wish names."""
    if wish.kind == "change_background":
        return _changed("place", str(wish.place), before.place, after.place)
    if wish.kind == "change_style":
        return _changed("style", str(wish.style), before.style or "", after.style or "")
    if wish.kind == "add":
        return _added(wish, before, after)
    old = thing_named(wish, before)
    if old is None:
        return None
    if wish.kind == "move":
        return _moved(wish, old, after)
    here = next((thing for thing in after.things if _is_near(thing, old)), None)
    if wish.kind == "remove":
        if here is None:
            return Verdict(10, f"the {old.noun} is gone")
        return Verdict(0 if here.noun == old.noun else OTHERWISE_DONE, f"a {here.phrase} is in its place")
    if here is None:
        return Verdict(OTHERWISE_DONE, f"the {old.noun} is gone")
    name = "noun" if wish.kind == "replace_noun" else "colour"
    found, wanted, was = (getattr(one, name) for one in (here, wish, old))
    if found == wanted and name == "colour" and here.noun != old.noun:
        return Verdict(HALF_DONE, f"a {here.phrase} is in the place of the {old.noun}")
    return _changed(f"{name} of the {old.noun}", wanted, was, found)


def thing_named(wish: Wish, scene: Scene) -> Thing | None:
    """The thing of the scene that the wish is about."""
    alike = [thing for thing in scene.things if thing.noun == wish.old]
    return next((thing for thing in alike if wish.old_colour in (None, thing.colour)), None)


def kept_facts(wish: Wish, before: Scene, after: Scene) -> Verdict:
    """Whether what the wish does not name is the same: things at their places, the place and the style."""
    old = thing_named(wish, before) if wish.old else None
    lost = []
    for thing in before.things:
        here = next((one for one in after.things if _is_near(one, thing)), None)
        if thing is not old:
            is_kept = here is not None and (here.noun, here.colour) == (thing.noun, thing.colour)
            lost += [] if is_kept else [f"the {thing.phrase}"]
        elif still := {"replace_noun": "colour", "change_colour": "noun"}.get(wish.kind):
            is_kept = here is not None and getattr(here, still) == getattr(thing, still)
            lost += [] if is_kept else [f"{still} of the {thing.noun}"]
    for name, kind in (("place", "change_background"), ("style", "change_style")):
        if wish.kind != kind and getattr(before, name) != getattr(after, name):
            lost.append(name)
    num_wanted = len(before.things) + (wish.kind == "add")
    lost += ["nothing more than asked for"] * max(0, len(after.things) - num_wanted)
    reason = f"not kept: {', '.join(lost)}" if lost else "all else is kept"
    return Verdict(max(0, 10 - POINTS_A_FACT * len(lost)), reason)


def kept_pixels(
    wish: Wish, before: tuple[Scene, Pixels], after: tuple[Scene, Pixels], region: Mask | None
) -> Verdict:  # fmt: skip
    """How little the pixels changed outside of the things that the wish is about, and outside of the region.

    A change of the place or the style may change every pixel.
    """
    if wish.kind in ("change_background", "change_style"):
        return Verdict(10, "all pixels may change")
    may_change = np.zeros(before[1].shape[:2], dtype=bool) if region is None else region.copy()
    old = thing_named(wish, before[0]) if wish.old else None
    for scene, pixels in (before, after):
        for thing, mask in zip(scene.things, thing_masks(scene, len(pixels)), strict=True):
            is_new = thing.noun == wish.noun or (wish.kind == "move" and thing.noun == wish.old)
            if is_new or (old is not None and _is_near(thing, old)):
                may_change |= mask
    for _ in range(max(EDGE_PX, EDGE_PX * len(may_change) // 64)):
        padded = np.pad(may_change, 1)
        may_change = padded[1:-1, 1:-1] | padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]
    if may_change.all():
        return Verdict(10, "all pixels may change")
    levels = float(np.abs(before[1].astype(np.int16) - after[1])[~may_change].mean())
    return Verdict(max(0, 10 - round(levels / LEVELS_A_POINT)), f"{levels:.1f} levels changed elsewhere")


def _added(wish: Wish, before: Scene, after: Scene) -> Verdict:
    new = [thing for thing in after.things if not any(_is_near(thing, other) for other in before.things)]
    alike = [thing for thing in new if thing.noun == wish.noun]
    if not alike:
        return Verdict(OTHERWISE_DONE if new else 0, f"there is no new {wish.noun}")
    if alike[0].colour != wish.colour:
        return Verdict(HALF_DONE, f"the new {wish.noun} is {alike[0].colour}")
    if wish.position not in (None, alike[0].position):
        return Verdict(HALF_DONE, f"the new {wish.noun} is on the {alike[0].position}")
    return Verdict(10, f"there is a new {alike[0].phrase}")


def _moved(wish: Wish, old: Thing, after: Scene) -> Verdict:
    found = next((thing for thing in after.things if thing.noun == old.noun), None)
    if found is None:
        return Verdict(0, f"the {old.noun} is gone")
    return _changed(f"side of the {old.noun}", str(wish.position), old.position, found.position)


def _changed(what: str, wanted: str, before: str, after: str) -> Verdict:
    score = 10 if after == wanted else 0 if after == before else OTHERWISE_DONE
    return Verdict(score, f"the {what} is {after or 'none'}")


def _is_near(thing: Thing, other: Thing) -> bool:
    return abs(thing.x_frac - other.x_frac) < NEAR_FRAC
