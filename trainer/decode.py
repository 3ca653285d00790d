"""From the members of one sample to arrays. A dataset is data, not code: nothing in it is unpickled or trusted.

Images, masks and latents are those of the centre square at one size, cut as the stage `encode_latents` cuts, so that a
latent of the dataset and one made here are of the same picture.
"""

from __future__ import annotations

import io
import json
import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps

from core.errors import SampleError
from samples.images import open_image

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    Pixels = npt.NDArray[np.uint8]
    Bools = npt.NDArray[np.bool_]
    Halves = npt.NDArray[np.float16]

# H W pixels, C channels, h w cells of a latent

FORMATS = ("jpg", "png", "webp")
PILLOW_FORMATS = ("JPEG", "PNG", "WEBP")
TEXTS = ("target_caption", "source_caption", "instruction", "source_phrase", "target_phrase", "edit_type")
BROKEN = (OSError, ValueError, EOFError, LookupError, TypeError, OverflowError, RecursionError)
"""Errors of images (ImageProblem is a ValueError), json and numpy for bytes that are not what they should be."""


@dataclass(frozen=True, slots=True)
class LatentSpec:
    """Which latents of a dataset may stand for its images: model id and revision, the side in pixels, (C, h, w)."""

    model: str
    revision: str
    size_px: int
    shape: tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One sample, decoded: images uint8 RGB, masks true inside, latents scaled; None for what is not there."""

    number: int
    epoch: int
    key: str
    source_HWC: Pixels
    target_HWC: Pixels
    source_mask_HW: Bools | None
    target_mask_HW: Bools | None
    source_latent_Chw: Halves | None
    target_latent_Chw: Halves | None
    texts: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoder:
    """Decodes samples at `size_px`; masks only where a recipe needs them, latents where they are as `latents` says."""

    size_px: int
    needs_masks: bool
    latents: LatentSpec | None = None

    def wants(self, member: str) -> bool:
        """Whether the member of this file name is read at all."""
        role = member.rpartition("/")[2].partition(".")[2].lower()
        if role.endswith("_mask.png"):
            return self.needs_masks
        if role.endswith("_latent.npy"):
            return self.latents is not None
        return role == "json" or role.partition(".")[0] in ("source", "target")

    def decode(self, raw: Mapping[str, Any], *, shard: str, number: int, epoch: int, is_mirrored: bool) -> Sample:
        """The sample of members `raw` (suffix -> bytes). Raises SampleError naming shard, key and member."""
        member = "json"
        try:
            told = _texts(raw)
            fields: dict[str, Any] = {"texts": {name: told.get(name) or "" for name in TEXTS}}
            for side in ("source", "target"):
                member = f"{side}.{'|'.join(FORMATS)}"
                fields[f"{side}_HWC"] = self._image(_image_bytes(raw, side), is_mirrored=is_mirrored)
                member = f"{side}_mask.png"
                mask = self._mask(raw[member], is_mirrored=is_mirrored) if self.needs_masks else None
                fields[f"{side}_mask_HW"] = mask
                member = f"{side}_latent.npy"
                fields[f"{side}_latent_Chw"] = self._latent(raw, member, told)
        except BROKEN as error:
            reason = "is not there" if isinstance(error, KeyError) else f"cannot be read: {_reason(error)}"
            raise SampleError(f"shard {shard}, sample {raw['__key__']}: {member} {reason}") from error
        return Sample(number=number, epoch=epoch, key=str(raw["__key__"]), **fields)

    def _image(self, encoded: bytes, *, is_mirrored: bool) -> Pixels:
        pixels_HWC: Pixels = np.asarray(self._square(encoded, "RGB", Image.Resampling.BICUBIC, is_mirrored))
        return pixels_HWC

    def _mask(self, encoded: bytes, *, is_mirrored: bool) -> Bools:
        mask_HW: Bools = np.asarray(self._square(encoded, "L", Image.Resampling.NEAREST, is_mirrored)) >= 128
        return mask_HW

    def _square(self, encoded: bytes, mode: str, resampling: Image.Resampling, is_mirrored: bool) -> Image.Image:
        with warnings.catch_warnings(action="ignore"):  # of damage in what is no pixel
            opened = open_image(encoded, formats=PILLOW_FORMATS).load()
        image = ImageOps.fit(opened.convert(mode), (self.size_px, self.size_px), resampling)
        return ImageOps.mirror(image) if is_mirrored else image

    def _latent(self, raw: Mapping[str, Any], member: str, told: Mapping[str, Any]) -> Halves | None:
        spec = self.latents
        if spec is None or member not in raw:
            return None
        made_by = (told.get("latent_model"), told.get("latent_revision"), told.get("latent_size_px"))
        if made_by != (spec.model, spec.revision, spec.size_px):
            return None
        return _array(raw[member], spec.shape)


def _array(encoded: bytes, shape: tuple[int, ...]) -> Halves:
    """The array in a .npy file, finite float16 of `shape`; of another one nothing is read but its header."""
    file = io.BytesIO(encoded)
    version = np.lib.format.read_magic(file)
    read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in read_header:
        raise ValueError(f"version {version} of the format; expected 1.0 or 2.0")
    found, is_fortran, dtype = read_header[version](file)
    if found != shape or dtype != np.float16:
        raise ValueError(f"{dtype} of shape {found}; expected finite float16 of shape {shape}")
    content = encoded[file.tell() :]
    if len(content) != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{len(content)} bytes of values; expected finite float16 of shape {shape}")
    array: Halves = np.frombuffer(content, dtype).reshape(shape, order="F" if is_fortran else "C")
    if not np.isfinite(array).all():
        raise ValueError(f"values that are not finite; expected finite float16 of shape {shape}")
    return array


def _texts(raw: Mapping[str, Any]) -> dict[str, Any]:
    told = json.loads(raw["json"])
    if not isinstance(told, dict) or not isinstance(told.get("target_caption"), str):
        raise TypeError("it states no target_caption")
    wrong = [name for name in TEXTS if not isinstance(told.get(name, ""), str | None)]
    if wrong:
        raise TypeError(f"{wrong[0]} is no text")
    return told


def _image_bytes(raw: Mapping[str, Any], side: str) -> bytes:
    for name in FORMATS:
        if f"{side}.{name}" in raw:
            encoded: bytes = raw[f"{side}.{name}"]
            return encoded
    raise KeyError(side)


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
