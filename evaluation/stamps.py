"""Stamps: text in each output's PNG file that names its maker, its pixels' hash and its mask's share.

An output with the stamp of this run is kept. One with another stamp, or with other pixels than were written, stops the
run and is not overwritten.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from core.errors import EvaluationError
from evaluation.images import open_rgb, png_texts, save_png

if TYPE_CHECKING:
    from pathlib import Path

    from PIL.Image import Image

STAMP = "editloom"
MASK_FRAC = "editloom_mask_frac"
PIXELS = "editloom_pixels"
INPUTS = "source, text or mask"
"""The name of the inputs' hash in messages."""


def stamp_of(described: dict[str, Any], inputs: str) -> str:
    """The stamp of an output that an editor, as described, makes of these inputs."""
    return json.dumps({**described, "inputs": inputs}, sort_keys=True, default=str)


def save_stamped(image: Image, path: Path, stamp: str, mask_frac: str) -> None:
    """Write an output. `mask_frac` is the share of it that could change, "" without a mask."""
    save_png(image, path, {STAMP: stamp, MASK_FRAC: mask_frac, PIXELS: _pixels_of(image)})


def mask_frac_of(path: Path, stamp: str) -> str:
    """The share that the mask of a finished output let change. Raises EvaluationError for an output of another run."""
    texts = png_texts(path)
    if texts.get(STAMP) != stamp:
        made = _difference(texts.get(STAMP, "{}"), stamp)
        raise EvaluationError(f"{path} was made {made}; name another output folder, or remove this one")
    share = texts.get(MASK_FRAC, "")
    if texts.get(PIXELS) != _pixels_of(open_rgb(path)) or not _is_share(share):
        raise EvaluationError(f"{path} is not as it was written; remove it, and it is made again")
    return share


def _difference(there: str, wanted: str) -> str:
    """The clause of a message that tells how one stamp differs from the other."""
    try:
        found = json.loads(there)
    except (ValueError, RecursionError):
        found = {}
    if not isinstance(found, dict) or not found:
        return "by something else"
    one, other = _flat(found), _flat(json.loads(wanted))
    differing = [INPUTS if name == "inputs" else name for name in sorted(other) if one.get(name) != other[name]]
    return f"with another {', '.join(differing)}" if differing else "with more settings than there are"


def _flat(stamp: dict[str, Any]) -> dict[str, Any]:
    """The stamp with the editor's settings at its top level, so that a message can name one."""
    settings = stamp.get("settings")
    return {**stamp, "settings": None, **settings} if isinstance(settings, dict) else stamp


def _pixels_of(image: Image) -> str:
    """A hash of the image's size and pixels in RGB."""
    pixels = image.convert("RGB").tobytes()
    return hashlib.sha256(f"{image.width}x{image.height} ".encode() + pixels).hexdigest()


def _is_share(text: str) -> bool:
    """True for a share from 0 to 1, and for "", which means no mask."""
    try:
        return not text or 0 <= float(text) <= 1
    except ValueError:
        return False
