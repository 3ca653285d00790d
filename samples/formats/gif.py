"""Strip a GIF of all but its first frame, and count its frames."""

from __future__ import annotations

import re

from samples.formats.stripped import StrippedFile
from samples.image_limits import MAX_BLOCKS, too_complex

BLOCK_START = re.compile(rb"[!,;]")
EXTENSION, IMAGE, CONTROL = 0x21, 0x2C, 0xF9


def strip_gif(data: bytes) -> StrippedFile:
    """The GIF file up to its first frame, without comments. All frames are counted."""
    at = _behind_palette(data, 10, 13)
    kept, frames, blocks = [data[:at]], 0, 0
    while (found := BLOCK_START.search(data, at)) is not None and found[0] != b";":
        start = found.start()
        is_image = data[start] == IMAGE
        if is_image and start + 10 > len(data):
            break
        at = _behind_palette(data, start + 9, start + 10) + 1 if is_image else start + 2
        while at < len(data) and data[at]:
            at += data[at] + 1
            blocks += 1
        if blocks > MAX_BLOCKS:
            raise too_complex("blocks", blocks, MAX_BLOCKS)
        at += 1
        if frames == 0 and (is_image or data[start + 1 : start + 2] == bytes([CONTROL])):
            kept.append(data[start:at])
        frames += is_image
    if frames == 0:
        return StrippedFile(data[: 2 * len(kept[0])])
    is_whole = at <= len(data)
    return StrippedFile(b"".join(kept) + b";" * (is_whole or frames > 1), num_frames=frames)


def _behind_palette(data: bytes, flags_at: int, at: int) -> int:
    """The place behind the palette, if the flags say that there is one at `at`."""
    flags = data[flags_at] if flags_at < len(data) else 0
    return at + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
