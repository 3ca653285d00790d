"""Makes image-caption pairs with faults that both sides must find: too small, too few words, twice the same picture."""

from __future__ import annotations

import io
import json
import multiprocessing
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from benchmarks.shards import make_caption, make_image

if TYPE_CHECKING:
    from pathlib import Path

SMALL_PX = (48, 36)
PART = 500
"""Pairs drawn by one task from one random generator."""
FAULTS = {10: "copy", 20: "lossless", 30: "small", 40: "short"}
"""Last two digits of a pair's number -> its fault. A copy has the bytes of the image before it, a lossless one its
pixels as PNG."""


class Pairs(NamedTuple):
    """Where the pairs are: a folder of images with `metadata.jsonl`, and a list with their paths. Counts by fault."""

    images: Path
    listed: Path
    faults: dict[str, int]


def make_pairs(folder: Path, count: int) -> Pairs:
    """The pairs, the same at every run. Images that exist are kept."""
    images, listed = folder / "images", folder / "pairs.jsonl"
    images.mkdir(parents=True, exist_ok=True)
    with multiprocessing.Pool(2) as pool:
        parts = pool.map(_draw, [(images, first, min(first + PART, count)) for first in range(0, count, PART)])
    pairs = [pair for part in parts for pair in part]
    with (images / "metadata.jsonl").open("w") as ours, listed.open("w") as theirs:
        for name, text in pairs:
            ours.write(json.dumps({"file_name": name, "text": text}) + "\n")
            theirs.write(json.dumps({"images": [str((images / name).resolve())], "text": text}) + "\n")
    faults = [FAULTS.get(number % 100, "") for number in range(count)]
    return Pairs(images, listed, {fault: faults.count(fault) for fault in FAULTS.values()})


def _draw(job: tuple[Path, int, int]) -> list[tuple[str, str]]:
    folder, first, stop = job
    rng = np.random.default_rng(first)
    pairs: list[tuple[str, str]] = []
    content = b""
    for number in range(first, stop):
        fault, caption = FAULTS.get(number % 100, ""), make_caption(rng)
        if fault not in {"copy", "lossless"}:
            content = make_image(rng, SMALL_PX) if fault == "small" else make_image(rng)
        path = folder / f"{number:06d}.{'png' if fault == 'lossless' else 'jpg'}"
        if not path.exists():
            path.write_bytes(_as_png(content) if fault == "lossless" else content)
        pairs.append((path.name, caption.split()[1] if fault == "short" else caption))
    return pairs


def _as_png(jpeg: bytes) -> bytes:
    buffer = io.BytesIO()
    Image.open(io.BytesIO(jpeg)).save(buffer, "PNG")
    return buffer.getvalue()
