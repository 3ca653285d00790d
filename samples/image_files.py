"""Strip an image file before Pillow opens it: costly parts are counted, and what no pixel needs is left out.

The modules of `samples.formats` walk one format's parts each, without decoding, in time linear in the file. A damaged
file is left to Pillow, which reports the damage. Nothing here judges an image: a file is kept from costing more than
its pixels.
"""

from __future__ import annotations

from samples.formats.avif import strip_avif
from samples.formats.gif import strip_gif
from samples.formats.jpeg import strip_jpeg
from samples.formats.jpeg2000 import SIGNATURES, check_parts
from samples.formats.png import strip_png
from samples.formats.stripped import StrippedFile
from samples.formats.tiff import strip_tiff
from samples.image_limits import MAX_FRAMES, MAX_PIXELS, too_complex


def strip_file(data: bytes, max_pixels: int = MAX_PIXELS) -> StrippedFile:
    """The file as Pillow may be given it. Raises ImageProblem where it has more parts than an image needs."""
    if data.startswith(b"\xff\xd8\xff"):
        return StrippedFile(strip_jpeg(data))
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return strip_png(data)
    if data.startswith((b"GIF87a", b"GIF89a")):
        return strip_gif(data)
    if data.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return StrippedFile(strip_tiff(data))
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        frames = data.count(b"ANMF")
        if frames > MAX_FRAMES:
            raise too_complex("frames", frames, MAX_FRAMES)
    if data[4:8] == b"ftyp":
        return StrippedFile(strip_avif(data, max_pixels))
    if data.startswith(SIGNATURES):
        check_parts(data, max_pixels)
    return StrippedFile(data)
