"""Images a second through the wrappers that stages call: captions, embeddings, masks of phrases, boxes and their masks.

An image is 640 x 480 pixels and in memory; its way through the checkpoint's processor, on the CPU, counts.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from benchmarks.gpu import checkpoints
from benchmarks.gpu.measure import Case, Measured, peak_bytes, release, timed
from models.placement import Placement
from models.registry import load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from benchmarks.gpu.measure import Work

SIZE_PX = (640, 480)
PHRASES = ("a red car", "a blue house", "a green tree", "a yellow ball")
BOXES_N4 = np.array([[40, 40, 300, 300], [200, 100, 600, 440]], np.float32)
THRESHOLD = 0.3


def captions(work: Work) -> Iterator[Case]:
    """BLIP large. Random weights seldom end a sentence, so that a caption has all of the 30 tokens."""

    def run() -> Measured:
        blip = _loaded(work, "Captioner", checkpoints.save_blip, work.pick(64, 2))
        return _rate(work, work.pick(64, 2), lambda rows: blip.caption(_images(rows)), "3 beams, 30 tokens")

    yield Case("BLIP large, 384 px", run)


def embeddings(work: Work) -> Iterator[Case]:
    """CLIP ViT-L/14, images and texts."""
    batch = work.pick(256, 2)

    def images() -> Measured:
        clip = _loaded(work, "ImageTextEncoder", checkpoints.save_clip, batch)
        return _rate(work, batch, lambda rows: clip.encode_images(_images(rows)))

    def texts() -> Measured:
        clip = _loaded(work, "ImageTextEncoder", checkpoints.save_clip, batch)
        return _rate(work, batch, lambda rows: clip.encode_texts(_phrases(rows)), unit="texts")

    yield Case("CLIP L/14, images of 224 px", images)
    yield Case("CLIP L/14, texts", texts)


def phrase_masks(work: Work) -> Iterator[Case]:
    """CLIPSeg, one phrase an image."""
    batch = work.pick(64, 2)

    def run() -> Measured:
        clipseg = _loaded(work, "TextSegmenter", checkpoints.save_clipseg, batch)
        return _rate(work, batch, lambda rows: clipseg.segment_phrases(_images(rows), _phrases(rows)))

    yield Case("CLIPSeg rd64, 352 px", run)


def regions(work: Work) -> Iterator[Case]:
    """GroundingDINO with two phrases an image, then SAM with two boxes an image, each alone.

    Boxes by random weights are of any number, so SAM is given boxes of its own.
    """
    batch = work.pick(16, 2)
    rates: dict[str, float] = {}

    def boxes() -> Measured:
        detector = _loaded(work, "Detector", checkpoints.save_grounding_dino, batch)
        asked = [PHRASES[:2]]
        found = _rate(
            work, batch, lambda rows: detector.detect(_images(rows), asked * rows, threshold=THRESHOLD), "2 phrases"
        )
        rates["boxes"] = found.per_second
        return found

    def masks() -> Measured:
        sam = _loaded(work, "BoxSegmenter", checkpoints.save_sam, work.pick(8, 2))
        found = _rate(
            work, work.pick(8, 2), lambda rows: sam.segment_boxes(_images(rows), [BOXES_N4] * rows), "2 boxes"
        )
        rates["masks"] = found.per_second
        return found

    def both() -> Measured:
        rate = 1 / sum(1 / rate for rate in (rates["boxes"], rates["masks"]))
        return Measured(per_second=rate, unit="images", batch=batch, notes="from the two rows above")

    yield Case("GroundingDINO Swin-B, 800 px", boxes)
    yield Case("SAM ViT-H, 1024 px", masks)
    if len(rates) == 2:
        yield Case("GroundingDINO, then SAM", both)


def _loaded(work: Work, protocol: str, save: Callable[..., None], batch: int) -> Any:
    """Our wrapper over a random checkpoint, which is written where it is not there."""
    folder = work.folder / save.__name__.removeprefix("save_")
    if not (folder / "config.json").exists():
        save(folder, work)
    release()
    return load(protocol, f"path:{folder}", Placement(device=work.device, dtype=work.dtype, batch_size=batch))


def _rate(work: Work, batch: int, call: Callable[[int], Any], notes: str = "", unit: str = "images") -> Measured:
    """Rows a second of calls with one batch."""
    found = timed(lambda: call(batch), work.seconds)
    return Measured(
        per_second=batch / found.seconds, unit=unit, batch=batch, peak_bytes=peak_bytes(), notes=notes,
        more={"calls": found.num_calls},
    )  # fmt: skip


@lru_cache(maxsize=2)
def _images(count: int) -> list[Image.Image]:
    """Colour fields with fine noise, eight that differ."""
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(min(count, 8)):
        coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        drawn.append(coarse.resize(SIZE_PX, Image.Resampling.BICUBIC))
    return [drawn[row % len(drawn)] for row in range(count)]


def _phrases(count: int) -> Sequence[str]:
    return [PHRASES[row % len(PHRASES)] for row in range(count)]
