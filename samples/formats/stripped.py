"""An image file of which only the parts are left that its pixels need."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StrippedFile:
    """The bytes that Pillow is given, with `profile` and `num_frames` where stripping found them."""

    data: bytes
    profile: bytes | None = None
    is_profile_lost: bool = False
    """The file has a colour profile that could not be unpacked."""
    num_frames: int | None = None
