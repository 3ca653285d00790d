"""Image formats that every reader of this project takes: one list for tars, folders, downloads and commands."""

from __future__ import annotations

SUFFIX_OF_FORMAT = {
    "JPEG": "jpg", "MPO": "jpg", "PNG": "png", "WEBP": "webp", "GIF": "gif", "BMP": "bmp", "TIFF": "tif", "AVIF": "avif",
}  # fmt: skip
"""Pillow's name of a format that is read -> suffix of a file in it. Pillow tries formats in this order."""

IMAGE_SUFFIXES = (
    "jpg", "jpeg", "jpe", "jfif", "png", "webp", "gif", "bmp", "tif", "tiff", "avif",
)  # fmt: skip
"""Suffixes of image members and files, lower case; a sample with several images has the first of these."""
