"""How many turns and pairs of a build of sessions are right: what a reader sees on an image is what its caption says.

A reader names things, colours and place of an image (`benchmarks.ultraedit_data.readers`); it errs, which
`readers.reliability` measures. A turn is right where its target shows all that its target caption says, whatever the
turns before it did. A pair is right where both of its images show their captions.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.left_rows import stage_rows
from benchmarks.ultraedit_data.readers import READERS
from samples.stored_images import rgb_image
from zoo.world import read_facts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from PIL.Image import Image

    from zoo.world import Facts

    Reader = Callable[[Sequence[Image]], list[Facts]]

COLUMNS = ("sample_id", "session_id", "turn", "pair_kind", "instruction", "source_images", "target_image",
           "source_caption", "target_caption", "session_outside_l1", "session_image_cos")  # fmt: skip
MAX_PIXELS = 1 << 20
KINDS = ("turn", "composition", "inverse")


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A row of the build, and by reader whether its source and its target show their captions."""

    row: dict[str, Any]
    is_selected: bool
    shows: dict[str, tuple[bool, bool]]

    def is_right(self, reader: str) -> bool:
        """True where both images show their captions."""
        return all(self.shows[reader])


def read_pairs(out: Path, manifest: Path) -> list[Pair]:
    """All pairs of a finished build, each image read once by each reader."""
    rows = stage_rows(out, manifest, "chain_edits", COLUMNS)
    kept = {row["sample_id"] for row in stage_rows(out, manifest, "select", ["sample_id"])}
    stored = list(dict.fromkeys(image for row in rows for image in (row["source_images"][0], row["target_image"])))
    images = [rgb_image(one, MAX_PIXELS) for one in stored]
    facts = {name: dict(zip(stored, read(images), strict=True)) for name, read in READERS.items()}
    return [
        Pair(row=row, is_selected=row["sample_id"] in kept, shows={name: _shows(row, facts[name]) for name in READERS})
        for row in rows
    ]


def turn_figures(pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    """For each turn: sessions that reach it, shares of right targets, of sessions right up to it, and the drift."""
    sessions: dict[str, dict[int, Pair]] = defaultdict(dict)
    for pair in pairs:
        if pair.row["pair_kind"] == "turn":
            sessions[pair.row["session_id"]][pair.row["turn"]] = pair
    figures = []
    for number in range(1, 1 + max((max(turns) for turns in sessions.values()), default=0)):
        reached = [turns for turns in sessions.values() if number in turns]
        own = [turns[number] for turns in reached]
        figures.append({
            "turn": number, "sessions": len(reached),
            **{f"right ({name})": share(pair.shows[name][1] for pair in own) for name in READERS},
            **{f"all right so far ({name})": share(_all_right(turns, number, name) for turns in reached)
               for name in READERS},
            "drift, mean": mean(pair.row["session_outside_l1"] for pair in own),
            "cosine to the first source": mean(pair.row["session_image_cos"] for pair in own),
        })  # fmt: skip
    return figures


def kind_figures(pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    """For each kind of pair, before and after `select`: how many there are, and shares of right ones."""
    figures = []
    for kind in KINDS:
        own = [pair for pair in pairs if pair.row["pair_kind"] == kind]
        kept = [pair for pair in own if pair.is_selected]
        figures.append({
            "pair": kind, "made": len(own), **{f"right ({name})": _share_right(own, name) for name in READERS},
            "selected": len(kept), **{f"selected, right ({name})": _share_right(kept, name) for name in READERS},
        })  # fmt: skip
    return figures


def share(values: Iterable[bool]) -> float | None:
    """The share of true values, to 3 digits, or None where there are none."""
    found = list(values)
    return round(sum(found) / len(found), 3) if found else None


def mean(values: Iterable[float | None]) -> float | None:
    """The mean of the values that there are, to 4 digits, or None where there are none."""
    found = [value for value in values if value is not None]
    return round(float(np.mean(found)), 4) if found else None


def _shows(row: dict[str, Any], facts: dict[bytes, Facts]) -> tuple[bool, bool]:
    """Whether source and target show the things and the place of their captions."""
    sides = (row["source_images"][0], row["source_caption"]), (row["target_image"], row["target_caption"])
    first, second = (facts[image][:2] == read_facts(caption)[:2] for image, caption in sides)
    return first, second


def _all_right(turns: dict[int, Pair], number: int, reader: str) -> bool:
    return all(turns[one].shows[reader][1] for one in range(1, number + 1))


def _share_right(pairs: Sequence[Pair], reader: str) -> float | None:
    return share(pair.is_right(reader) for pair in pairs)
