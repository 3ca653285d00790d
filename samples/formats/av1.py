"""Measure the frames of AV1 data without decoding them: how large, how many, and what a decoder keeps of them.

The sequence header bounds the size of its frames, but a frame header may have a size of its own. The specification
forbids a size above the bound, but dav1d, the decoder behind Pillow, does not check it. So a frame with its own size
counts as the largest that the bits of its size fields can express. Superres (a frame is coded smaller and enlarged by
the decoder) and the render size (a hint to players) never make a frame larger, so both are ignored. Frames of layers
count like other frames, also where the decoder leaves them out.

Source: AV1 specification, sections 5.3 (OBUs), 5.5 (sequence header), 5.9.2 (frame header), 7.20 (reference frames).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from samples.image_limits import check_pixels

if TYPE_CHECKING:
    from collections.abc import Callable

SEQUENCE_HEADER, FRAME_HEADERS = 1, frozenset({3, 6, 7})
"""Types of OBU; those of frame headers are the header alone, with its tiles, and repeated."""
SELECT = 2
"""Value of sequence-wide settings that each frame chooses for itself."""
KEY_FRAME, SWITCH_FRAME = 0, 3
KEPT_FRAMES = 10
"""A decoder keeps 8 frames for reference, the one that it makes, and one with film grain."""


class Bits:
    """A reader of numbers of any number of bits. Raises EOFError beyond the end."""

    def __init__(self, data: bytes | memoryview, start: int, end: int) -> None:
        self.data, self.at, self.end = data, 8 * start, 8 * end

    def read(self, bits: int) -> int:
        """The next number."""
        last = self.at + bits
        if last > self.end:
            raise EOFError
        value = int.from_bytes(self.data[self.at >> 3 : last + 7 >> 3], "big") >> (-last & 7)
        self.at = last
        return value & (1 << bits) - 1


@dataclass(slots=True)
class _Sequence:
    """The bounds on the frames of a sequence, and the fields that precede a frame header's size flag."""

    size: tuple[int, int]
    largest: tuple[int, int]
    """Size that a frame with one of its own may have."""
    is_reduced: bool
    timing_bits: int
    id_bits: int
    screen_content: int = SELECT
    integer_mv: int = SELECT
    pixel_bytes: float = 1.5


@dataclass(slots=True)
class Frames:
    """The frames of one item or sample."""

    sequences: int = 0
    num_frames: int = 0
    pixels: int = 0
    """Of all frames together."""
    pixel_bytes: float = 0
    largest_bytes: float = 0

    @property
    def kept_bytes(self) -> float:
        """Most that a decoder keeps of the frames at a time."""
        return self.largest_bytes * min(self.num_frames, KEPT_FRAMES)


def frames_of(coded: bytes | memoryview, max_pixels: int, count: Callable[[], None]) -> Frames:
    """The frames of AV1 data; `count` is called for each OBU. Raises ImageProblem for a frame that is too large."""
    found, sequence, at = Frames(), None, 0
    while at < len(coded):
        count()
        header = coded[at]
        at += 2 if header & 4 else 1
        size = len(coded) - at
        if header & 2:
            size, at = _leb128(coded, at)
        bits = Bits(coded, at, min(len(coded), at + size))
        at += size
        kind = header >> 3 & 15
        try:
            if kind == SEQUENCE_HEADER:
                sequence = _sequence(bits)
                check_pixels(sequence.size, "AVIF", max_pixels)
                found.sequences += 1
                found.pixel_bytes = max(found.pixel_bytes, sequence.pixel_bytes)
            elif kind in FRAME_HEADERS and sequence is not None:
                width, height = sequence.largest if _has_own_size(bits, sequence) else sequence.size
                check_pixels((width, height), "AVIF", max_pixels)
                found.num_frames += 1
                found.pixels += width * height
                found.largest_bytes = max(found.largest_bytes, width * height * sequence.pixel_bytes)
        except EOFError:
            continue  # the decoder refuses it, too
    return found


def _leb128(coded: bytes | memoryview, at: int) -> tuple[int, int]:
    """(The number, where it ends): 7 bits a byte, the lowest first, up to 8 bytes."""
    value = 0
    for number in range(8):
        byte = coded[at] if at < len(coded) else 0
        value, at = value | (byte & 127) << 7 * number, at + 1
        if byte < 128:
            break
    return value, at


def _sequence(bits: Bits) -> _Sequence:
    read = bits.read
    profile, _, is_reduced = read(3), read(1), read(1) == 1
    timing_bits = 0
    if is_reduced:
        read(5)
    else:
        timing_bits = _operating_points(bits)
    wide, high = read(4) + 1, read(4) + 1
    size = read(wide) + 1, read(high) + 1
    found = _Sequence(size, (1 << wide, 1 << high), is_reduced, timing_bits, 0)
    if not is_reduced and read(1):
        found.id_bits = read(4) + 2
        found.id_bits += read(3) + 1
    read(3)
    if not is_reduced:
        read(4)
        has_order = read(1)
        read(2 * has_order)
        found.screen_content = SELECT if read(1) else read(1)
        if found.screen_content:
            found.integer_mv = SELECT if read(1) else read(1)
        read(3 * has_order)
    read(3)
    is_deep = read(1)
    is_grey = profile != 1 and read(2 if profile == 2 and is_deep else 1) & 1
    found.pixel_bytes = (1 if is_grey else 3 if profile else 1.5) * (1 + is_deep)
    return found


def _operating_points(bits: Bits) -> int:
    """Skip the timing in a sequence header. Returns how many bits of timing a frame header has."""
    read = bits.read
    delay_bits = timing_bits = 0
    if read(1):
        read(64)
        if is_equal := read(1):
            zeros = 0
            while zeros < 32 and not read(1):
                zeros += 1
            read(zeros if zeros < 32 else 0)
        if read(1):
            delay_bits = read(5) + 1
            read(37)
            timing_bits = 0 if is_equal else read(5) + 1
            read(5 if is_equal else 0)
    has_display_delay = read(1)
    for _ in range(read(5) + 1):
        read(12)
        read(1 if read(5) > 7 else 0)
        if delay_bits and read(1):
            read(2 * delay_bits + 1)
        if has_display_delay and read(1):
            read(4)
    return timing_bits


def _has_own_size(bits: Bits, sequence: _Sequence) -> bool:
    """True when a frame header has a size of its own."""
    read = bits.read
    if sequence.is_reduced or read(1):  # or an earlier frame is shown
        return False
    kind, is_shown = read(2), read(1)
    if is_shown:
        read(sequence.timing_bits)
    else:
        read(1)
    if not (kind == SWITCH_FRAME or (kind == KEY_FRAME and is_shown)):
        read(1)
    read(1)
    screen_content = read(1) if sequence.screen_content == SELECT else sequence.screen_content
    if screen_content and sequence.integer_mv == SELECT:
        read(1)
    read(sequence.id_bits)
    return kind == SWITCH_FRAME or read(1) == 1
