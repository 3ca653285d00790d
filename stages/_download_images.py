"""What was received, as an image: is it one, how big, and, if asked for, shrunk on arrival."""

from __future__ import annotations

import hashlib
import io
from functools import cache
from typing import TYPE_CHECKING

import pyarrow as pa
from PIL import Image, UnidentifiedImageError

from samples.images import SUFFIX_OF_FORMAT
from stages._download_status import DownloadFailed, LaionReject, Picture, bounded
from stages.normalise_image import (
    ANIMATION_FORMATS,
    DECODE_ERRORS,
    DRAFT_OVERSAMPLING,
    ORIENTATION_TAG,
    UPRIGHT,
    to_rgb,
)

if TYPE_CHECKING:
    from stages.read_laion import ReadLaion

STORED_QUALITY = 95
ALLOCATION_FAILED = "can't allocate memory"
REDUCING_GAP = 3.0
"""Pillow may average whole blocks first, as long as three times the pixels wanted are left each way."""
SIDEWAYS = frozenset({"TRANSPOSE", "ROTATE_270", "TRANSVERSE", "ROTATE_90"})
"""Turns that swap width and height."""


@cache
def readable_formats() -> tuple[str, ...]:
    """Formats that are read and that Pillow has here."""
    Image.init()
    return tuple(name for name in SUFFIX_OF_FORMAT if name in Image.OPEN)


def begins_as_image(start: bytes) -> bool:
    """True when the first bytes of a file are those of a format that is read."""
    checks = (Image.OPEN[name][1] for name in readable_formats())
    return any(check is not None and check(start) is True for check in checks)


def keep(data: bytes, options: ReadLaion) -> Picture:
    """The image as it is stored. Raises `DownloadFailed` when it is none, or has more than `max_pixels`.

    Unshrunk it is stored byte for byte, and only its header is looked at: `normalise_image` judges the rest. A lack of
    memory says nothing of the image: `MemoryError` passes, for the engine to try again.
    """
    try:
        return _keep(data, options)
    except Image.DecompressionBombError as error:
        raise DownloadFailed(LaionReject.PIXEL_BOMB, str(error)) from None
    except UnidentifiedImageError:
        raise DownloadFailed(LaionReject.NOT_AN_IMAGE, f"begins with {data[:16]!r}") from None
    except DECODE_ERRORS as error:
        raise DownloadFailed(LaionReject.NOT_AN_IMAGE, f"{type(error).__name__}: {error}") from None


def _keep(data: bytes, options: ReadLaion) -> Picture:
    Image.MAX_IMAGE_PIXELS = options.max_pixels  # for images inside of images; the header is checked here
    image: Image.Image = Image.open(io.BytesIO(data), formats=readable_formats())
    width, height = image.size
    if width * height > options.max_pixels:
        raise DownloadFailed(LaionReject.PIXEL_BOMB, f"{width} x {height} px, more than {options.max_pixels} pixels")
    turn = UPRIGHT.get(_orientation(image))
    upright = (height, width) if turn in SIDEWAYS else (width, height)
    stored, size, suffix = data, upright, SUFFIX_OF_FORMAT[image.format or ""]
    side = options.stored_side_px
    if side is not None and min(upright) > side and not _is_animated(image):
        stored, size, suffix = *_shrunk(image, upright, side, turn), "jpg"
    return Picture(
        data=stored, suffix=suffix, sha256=hashlib.sha256(data).hexdigest(), width=size[0], height=size[1],
        original_width=upright[0], original_height=upright[1],
    )  # fmt: skip


def _shrunk(image: Image.Image, upright: tuple[int, int], side: int, turn: str | None) -> tuple[bytes, tuple[int, int]]:
    """(JPEG, its size): the shorter side at `side`, upright, RGB, nothing of the file but pixels."""
    scale = side / min(upright)
    size = (max(1, round(upright[0] * scale)), max(1, round(upright[1] * scale)))
    if image.format in ("JPEG", "MPO"):
        draft = scale * DRAFT_OVERSAMPLING
        image.draft(None, (max(1, int(image.width * draft)), max(1, int(image.height * draft))))
    image.load()
    rgb = to_rgb(image)
    rgb = resized(rgb, size[::-1] if turn in SIDEWAYS else size)
    rgb = rgb.transpose(Image.Transpose[turn]) if turn else rgb
    buffer = io.BytesIO()
    rgb.save(buffer, "JPEG", quality=STORED_QUALITY)
    return buffer.getvalue(), size


def resized(rgb: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The RGB image at another size: bicubic with antialiasing, near to what Pillow makes of it.

    By torch, whose arithmetic for bytes is integers: the same pixels with any vector instructions and any number of
    threads. With AVX2 or more it takes a fifth of Pillow's time, otherwise twice that: shrinking would else be two
    thirds of what a downloaded image costs. Pixels go in where they lie and come out as planes; nothing is copied.
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


def _is_animated(image: Image.Image) -> bool:
    return image.format in ANIMATION_FORMATS and bool(getattr(image, "is_animated", False))


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ORIENTATION_TAG, 1))
    except DECODE_ERRORS:
        return 1
