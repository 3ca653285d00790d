"""Check that a downloaded file is an image, measure it, and shrink it where the settings ask for that."""

from __future__ import annotations

import contextlib
import hashlib
import io
import threading
from functools import cache
from typing import TYPE_CHECKING

import pyarrow as pa
from PIL import Image

from samples.image_limits import DECODE_ERRORS, MAX_PROFILE_BYTES, ImageProblem, Problem
from samples.images import NO_FORMAT, SUFFIX_OF_FORMAT, open_image, readable_formats
from samples.orientation import SIDEWAYS
from stages.download.status import DownloadFailed, KeptImage, LaionReject, bounded

if TYPE_CHECKING:
    from samples.images import ImageFile
    from stages.download.settings import DownloadSettings

STORED_QUALITY = 95
ALLOCATION_FAILED = "can't allocate memory"
REDUCING_GAP = 3.0
"""Pillow may average whole blocks first, as long as three times the pixels wanted are left each way."""
LARGE_PIXELS = 8_000_000
"""A worker decodes one image of more pixels at a time: the memory that two take would be beyond its bound."""
_ONE_LARGE = threading.Lock()
REASONS = {Problem.PIXEL_BOMB: LaionReject.PIXEL_BOMB, Problem.TOO_COMPLEX: LaionReject.TOO_COMPLEX}


@cache
def stored_formats() -> tuple[str, ...]:
    """Formats that are kept: those that have a suffix in the tar."""
    return tuple(name for name in readable_formats() if name in SUFFIX_OF_FORMAT)


def begins_as_image(start: bytes) -> bool:
    """True when the first bytes of a file are those of a format that is read."""
    checks = (Image.OPEN[name][1] for name in readable_formats())
    return any(check is not None and check(start) is True for check in checks)


def keep(data: bytes, options: DownloadSettings) -> KeptImage:
    """The image as it is stored. Raises `DownloadFailed` when it is none, or has more than `max_pixels`.

    Unshrunk it is stored byte for byte, and only its header is looked at: `normalise_image` judges the rest.
    `MemoryError` is not caught: it says nothing about the image, and the engine tries again.
    """
    try:
        return _keep(data, options)
    except ImageProblem as problem:
        raise DownloadFailed(REASONS.get(problem.reason, LaionReject.NOT_AN_IMAGE), _detail(problem, data)) from None
    except DECODE_ERRORS as error:
        raise DownloadFailed(LaionReject.NOT_AN_IMAGE, f"{type(error).__name__}: {error}") from None


def _detail(problem: ImageProblem, data: bytes) -> str:
    return f"begins with {data[:16]!r}" if problem.detail == NO_FORMAT else problem.detail


def _keep(data: bytes, options: DownloadSettings) -> KeptImage:
    file = open_image(data, max_pixels=options.max_pixels, formats=stored_formats())
    width, height = file.size
    upright = (height, width) if file.turn in SIDEWAYS else (width, height)
    stored, size, suffix = data, upright, SUFFIX_OF_FORMAT[file.format]
    side = options.stored_side_px
    if side is not None and min(upright) > side and file.num_frames == 1:
        with _ONE_LARGE if width * height > LARGE_PIXELS else contextlib.nullcontext():
            stored, size = _shrunk(file, upright, side)
        suffix = "jpg"
    return KeptImage(
        data=stored, suffix=suffix, sha256=hashlib.sha256(data).hexdigest(), width=size[0], height=size[1],
        original_width=upright[0], original_height=upright[1],
    )  # fmt: skip


def _shrunk(file: ImageFile, upright: tuple[int, int], side: int) -> tuple[bytes, tuple[int, int]]:
    """(JPEG, its size): the shorter side at `side`, upright, sRGB. A profile that cannot be read stays with it."""
    scale = side / min(upright)
    size = (max(1, round(upright[0] * scale)), max(1, round(upright[1] * scale)))
    image, _, _, profile = file.decode(side)
    profile = profile if profile and len(profile) <= MAX_PROFILE_BYTES else None
    buffer = io.BytesIO()
    resized(image, size).save(buffer, "JPEG", quality=STORED_QUALITY, icc_profile=profile)
    return buffer.getvalue(), size


def resized(rgb: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The RGB image at another size: bicubic with antialiasing, near to what Pillow makes of it.

    By torch, whose arithmetic for bytes is integers: the same pixels with any vector instructions and any number of
    threads. With AVX2 or more it takes a fifth of Pillow's time, otherwise twice that: with Pillow, shrinking would be
    two thirds of the cost of a downloaded image. Pixels are read in place and returned as planes, without a copy.
    """
    import torch
    from torch.utils.dlpack import from_dlpack

    try:
        image_HWC = from_dlpack(pa.array(rgb).values).view(rgb.height, rgb.width, -1)
    except ValueError:  # too large to lie in one piece
        return rgb.resize(size, Image.Resampling.BICUBIC, reducing_gap=REDUCING_GAP)
    image_BCHW = image_HWC.permute(2, 0, 1)[None]
    try:
        planes_CHW = torch.nn.functional.interpolate(
            image_BCHW, size=size[::-1], mode="bicubic", antialias=True, align_corners=False
        )[0].numpy()
    except RuntimeError as error:  # torch's only way to say that there is no memory, on a CPU
        if ALLOCATION_FAILED in str(error):
            raise MemoryError(bounded(str(error))) from None
        raise
    return Image.merge("RGB", [Image.fromarray(plane_HW) for plane_HW in planes_CHW[:3]])
