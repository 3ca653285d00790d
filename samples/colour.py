"""Convert colours from an image's profile to sRGB, with LittleCMS as Pillow has it.

Relative colorimetric with black point compensation, as photo programs and browsers do it. A profile that is sRGB up to
rounding changes nothing and costs a look-up. Not covered: colours that are described otherwise than by a profile (gAMA,
cHRM and cICP chunks of PNG, the nclx box of AVIF, EXIF's colour space). They are read as sRGB.
"""

from __future__ import annotations

import io
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from samples.image_limits import DECODE_ERRORS, MAX_PROFILE_BYTES

if TYPE_CHECKING:
    from PIL.Image import Image

LAB = b"Lab"
"""Used as the profile of images in CIE Lab, which need none."""
MODE_OF_SPACE = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab": "LAB"}
USABLE_CLASSES = frozenset({"mntr", "scnr", "prtr", "spac"})
"""Profiles of displays, scanners, printers and colour spaces; the rest describe no image's numbers."""
MAX_KEPT = 8
"""Conversions that are kept: a batch has few different ones."""
SAME_LEVELS = 1
"""A profile under which no colour of the probe moves by more levels is sRGB."""
PROBE_STEPS = (0, 20, 51, 85, 128, 170, 204, 235, 255)


class Conversion(NamedTuple):
    """The way to sRGB of images in `mode`: LittleCMS's transform, or None where the numbers are sRGB already."""

    mode: str
    transform: Any

    def apply(self, image: Image) -> Image:
        """The image, of this mode and without alpha, as RGB in sRGB."""
        if self.transform is None:
            return image
        converted: Image = self.transform.apply(image)
        converted.info = {}
        return converted


def conversion_of(profile: bytes, mode: str) -> Conversion | None:
    """The conversion of images of `mode` (RGB, L, CMYK or LAB), or None for an unreadable profile.

    An unreadable profile is damaged, too large, of another kind of colours, or refused by LittleCMS.
    """
    return _conversion(profile, mode) if len(profile) <= MAX_PROFILE_BYTES else None


@lru_cache(maxsize=MAX_KEPT)
def _conversion(profile: bytes, mode: str) -> Conversion | None:
    from PIL import ImageCms

    try:
        source = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB") if profile == LAB else io.BytesIO(profile))
        found = MODE_OF_SPACE.get(source.profile.xcolor_space.strip(), "")
        if source.profile.device_class not in USABLE_CLASSES or found not in (mode, "RGB" if mode == "L" else mode):
            return None
        transform = ImageCms.ImageCmsTransform(
            source, ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")), found, "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC, flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )  # fmt: skip
        return Conversion(found, None if found == "RGB" and _is_identity(transform) else transform)
    except (ImageCms.PyCMSError, *DECODE_ERRORS):
        return None


def _is_identity(transform: Any) -> bool:
    from PIL import Image, ImageChops

    colours = bytes(v for r in PROBE_STEPS for g in PROBE_STEPS for b in PROBE_STEPS for v in (r, g, b))
    probe = Image.frombytes("RGB", (len(colours) // 3, 1), colours)
    moved: Any = ImageChops.difference(probe, transform.apply(probe)).getextrema()
    return all(most <= SAME_LEVELS for _, most in moved)
