"""Records that pairs are drawn from, and the settings and the filter that both sides of the benchmark share."""

from __future__ import annotations

import io
import random
import sys
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from zoo.world import EditKind, render, sample_edit, scene_of

SEED = 1414
"""Seed of the scenes: none that the models were trained on."""
ANCHOR_PX = 64
KINDS: tuple[EditKind, ...] = ("replace_noun", "change_colour", "change_background")


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """A photograph as JPEG, its caption, and the caption after an edit."""

    anchor: bytes
    source_caption: str
    target_caption: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Search:
    """How candidates are drawn, how many, and which pass. The values are those of UltraEdit's free-form script.

    `num_steps` are chosen from, `attention_frac` is drawn between its two, and `bounds` are the least scores.
    """

    size_px: int
    bounds: dict[str, float]
    num_steps: tuple[int, ...] = (3, 5, 8)
    strength: float = 0.6
    attention_frac: tuple[float, float] = (0.1, 0.9)
    max_candidates: int = 30
    keep: int = 4

    def passes(self, scores: dict[str, float]) -> bool:
        """Every score is at or above its bound."""
        return all(scores[name] >= least for name, least in self.bounds.items())


def make_records(count: int) -> list[Record]:
    """Scenes of the miniature world with one edit each, the same at every run."""
    records = []
    for index in range(count):
        rng = random.Random(f"{SEED} {index}")
        edit = sample_edit(scene_of(SEED, index), rng, KINDS[index % len(KINDS)])
        buffer = io.BytesIO()
        Image.fromarray(render(edit.source, ANCHOR_PX)).save(buffer, "JPEG", quality=95)
        records.append(
            Record(anchor=buffer.getvalue(), source_caption=edit.source_caption, target_caption=edit.target_caption)
        )
    return records


def make_captions(count: int) -> list[tuple[str, str]]:
    """Captions of scenes, before and after an edit."""
    return [(record.source_caption, record.target_caption) for record in make_records(count)]
