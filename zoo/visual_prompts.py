"""Edits of the miniature world that share an instruction: the same request, followed by many scenes.

A request is one kind of edit, the thing that it names, and what comes: "make the car blue". Every scene with a car of
another colour can follow it. Each request has five wordings, of which trainings see three. Owns requests, wordings and
scenes; `write_visual_prompts` writes them as datasets and benchmarks.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from zoo.world import COLOURS, FAMILIES, NOUNS, PLACES, Edit, EditKind, sample_scene
from zoo.world.vocabulary import FAMILY_OF, article

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from zoo.world import Scene

SHARED_KINDS: tuple[EditKind, ...] = ("change_colour", "change_background", "replace_noun")
"""Kinds of edits whose instruction can be followed by many scenes of one thing."""

WORDINGS: dict[str, tuple[str, ...]] = {
    "change_colour": (
        "make the {subject} {value}", "paint the {subject} {value}", "change the colour of the {subject} to {value}",
        "turn the {subject} {value}, please", "recolour the {subject} {value}",
    ),
    "change_background": (
        "make it {value}", "change the background so that it is {value}", "move the scene so that it is {value}",
        "please set the scene {value}", "can you put the whole scene {value}?",
    ),
    "replace_noun": (
        "replace the {subject} with {value}", "turn the {subject} into {value}", "swap the {subject} for {value}",
        "I want you to change the {subject} into {value}", "substitute {value} for the {subject}",
    ),
}  # fmt: skip
"""Kind -> wordings of a request, the plainest one first."""
NUM_SEEN = 3
"""Of each kind's wordings, the first so many are seen in training."""


@dataclass(frozen=True, slots=True, order=True)
class Request:
    """One instruction, whatever its wording. `subject` is empty where it names no thing."""

    kind: EditKind
    subject: str
    value: str
    """The colour, the place or the noun that comes."""

    def worded(self, number: int) -> str:
        """The request in wording `number`."""
        value = self.value
        if self.kind == "change_background":
            value = PLACES[value].phrase
        elif self.kind == "replace_noun":
            value = f"{article(value)} {value}"
        return WORDINGS[self.kind][number].format(subject=self.subject, value=value)


def requests(nouns: Sequence[str] = NOUNS) -> list[Request]:
    """All requests about these things, in a fixed order: a noun is replaced by one of its own family only."""
    found = [Request("change_colour", noun, colour) for noun in nouns for colour in COLOURS]
    found += [Request("change_background", "", place) for place in PLACES]
    found += [
        Request("replace_noun", noun, other)
        for noun in nouns for other in FAMILIES[FAMILY_OF[noun]] if other != noun and other in nouns
    ]  # fmt: skip
    return found


def split_requests(
    seed: int, held_out_frac: float, nouns: Sequence[str] = NOUNS
) -> tuple[list[Request], list[Request]]:
    """(requests to train on, requests held out): of each kind a share, drawn by the seed, at least one."""
    kept: list[Request] = []
    held_out: list[Request] = []
    for kind in SHARED_KINDS:
        of_kind = [one for one in requests(nouns) if one.kind == kind]
        random.Random(f"held out {seed} {kind}").shuffle(of_kind)
        count = max(1, round(held_out_frac * len(of_kind)))
        held_out += of_kind[:count]
        kept += of_kind[count:]
    return sorted(kept), sorted(held_out)


def edit_of(request: Request, rng: random.Random, wording: int = 0, nouns: Sequence[str] = NOUNS) -> Edit:
    """An edit of a scene of one of these things, in no style, that follows the request."""
    source = _source(request, rng, nouns)
    target = _target(request, source)
    phrases = source.things[0].phrase, target.things[0].phrase
    if request.kind == "change_background":
        phrases = source.place, target.place
    return Edit(
        kind=request.kind,
        source=source,
        target=target,
        instruction=request.worded(wording),
        reverse_instruction=_undone(request, source).worded(0),
        source_phrase=phrases[0],
        target_phrase=phrases[1],
    )


def edits_of(request: Request, rng: random.Random, count: int, nouns: Sequence[str] = NOUNS) -> Iterator[Edit]:
    """`count` edits that follow the request, no two of the same scene, each in a wording that trainings see."""
    seen: set[Scene] = set()
    while len(seen) < count:
        edit = edit_of(request, rng, rng.randrange(NUM_SEEN), nouns)
        if edit.source not in seen:
            seen.add(edit.source)
            yield edit


def plain_scene(rng: random.Random, nouns: Sequence[str] = NOUNS) -> Scene:
    """A scene of one of these things, in no style."""
    scene = sample_scene(rng, num_things=1, style=None)
    return replace(scene, things=(replace(scene.things[0], noun=rng.choice(nouns)),))


def _source(request: Request, rng: random.Random, nouns: Sequence[str]) -> Scene:
    """A scene that can follow the request."""
    while True:
        scene = plain_scene(rng, (request.subject,) if request.subject else nouns)
        if _target(request, scene) != scene:
            return scene


def _target(request: Request, scene: Scene) -> Scene:
    if request.kind == "change_background":
        return replace(scene, place=request.value)
    (thing,) = scene.things
    if request.kind == "change_colour":
        return replace(scene, things=(replace(thing, colour=request.value),))
    return replace(scene, things=(replace(thing, noun=request.value),))


def _undone(request: Request, scene: Scene) -> Request:
    """The request that makes the scene again."""
    if request.kind == "change_background":
        return replace(request, value=scene.place)
    if request.kind == "change_colour":
        return replace(request, value=scene.things[0].colour)
    return replace(request, subject=request.value, value=request.subject)
