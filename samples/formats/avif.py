"""Measure the coded frames of an AVIF file before Pillow decodes it, whatever size the boxes say.

Of the boxes' sizes (ispe, tkhd) and those in the coded data the larger counts: the decoder allocates both and scales.
All AV1 items count, used or not, and of each track the first sample, which is all that is ever decoded here.

Sources: ISO/IEC 14496-12, sections 8.3 to 8.7 (tracks) and 8.11 (items); AVIF specification 1.1, section 2.1 (each item
has its own sequence header).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from samples.formats.av1 import Bits, frames_of
from samples.image_limits import (
    MAX_EXIF_BYTES,
    MAX_PARTS,
    MAX_SCAN_PIXELS,
    WEIGHT,
    ImageProblem,
    Problem,
    check_pixels,
    too_complex,
)

BRANDS = frozenset({b"avif", b"avis", b"mif1", b"msf1"})
"""First brands of files that Pillow gives to its AVIF decoder."""
CONTAINERS = {b"mdia": 0, b"minf": 0, b"stbl": 0, b"iprp": 0, b"ipco": 0}
"""Boxes that are looked into -> bytes before the boxes inside."""
MAX_DEPTH = 6
FRAME_BYTES = 12
"""Most bytes of kept frames for each pixel allowed: 4:4:4, 10 bits and alpha are 8; the rest is for gain maps."""


@dataclass(slots=True)
class _Walk:
    """The state of one pass over a file."""

    data: bytes
    max_pixels: int
    parts: int = 0
    sequences: int = 0
    is_cut: bool = False
    """An item or sample reaches beyond the end of the file."""
    joined: int = 0
    """Bytes of items that are in several pieces, which the decoder joins in a copy."""
    pixels: int = 0
    items_bytes: float = 0
    samples_bytes: float = 0
    hidden: list[int] = field(default_factory=list)
    """Places of the types of items that are hidden from Pillow."""

    def count(self) -> None:
        self.parts += 1
        if self.parts > MAX_PARTS:
            raise too_complex("parts", self.parts, MAX_PARTS)

    def number(self, at: int, size: int = 4) -> int:
        return int.from_bytes(self.data[at : at + size], "big")

    def size(self, at: int) -> tuple[int, int]:
        """Width and height that a box says."""
        size = self.number(at), self.number(at + 4)
        check_pixels(size, "AVIF", self.max_pixels)
        return size

    def kept_bytes(self, coded: bytes | memoryview, size: tuple[int, int]) -> float:
        """Bytes that decoding an item or sample takes, of which the boxes say `size`."""
        found = frames_of(coded, self.max_pixels, self.count)
        self.sequences += found.sequences
        self.pixels += found.pixels
        if self.pixels > MAX_SCAN_PIXELS:
            raise too_complex("pixels in frames", self.pixels, MAX_SCAN_PIXELS)
        return max(found.kept_bytes, size[0] * size[1] * found.pixel_bytes)


def strip_avif(data: bytes, max_pixels: int) -> bytes:
    """The file, without a long EXIF block. Raises ImageProblem where its frames are more than may be decoded."""
    if data[8:12] not in BRANDS or b"av01" not in data:
        return data
    walk = _Walk(data, max_pixels)
    for kind, start, end in _boxes(walk, 0, len(data)):
        if kind == b"meta":
            _items(walk, start, end)
        elif kind == b"moov":
            _tracks(walk, start, end)
    most = FRAME_BYTES * int(max_pixels / WEIGHT["AVIF"])
    kept = int(max(walk.items_bytes, walk.samples_bytes))
    if kept > most:
        raise ImageProblem(Problem.PIXEL_BOMB, f"{kept} bytes of frames, more than {most}")
    if not walk.sequences:
        reason = Problem.TRUNCATED if walk.is_cut else Problem.UNDECODABLE
        raise ImageProblem(reason, "no AV1 sequence header where the file says that a frame is")
    if not walk.hidden:
        return data
    changed = bytearray(data)
    for at in walk.hidden:
        changed[at : at + 4] = b"skip"
    return bytes(changed)


def _boxes(walk: _Walk, start: int, end: int) -> list[tuple[bytes, int, int]]:
    """(kind, start and end of its contents) of each box, up to where they cannot be followed."""
    found = []
    while start + 8 <= end:
        walk.count()
        size, kind, inside = walk.number(start), walk.data[start + 4 : start + 8], start + 8
        if size == 1:
            size, inside = walk.number(inside, 8), inside + 8
        stop = min(end, start + size) if size else end
        if stop < inside:
            break
        found.append((kind, inside, stop))
        start = stop
    return found


def _deep(walk: _Walk, start: int, end: int, depth: int = 0) -> list[tuple[bytes, int, int]]:
    """The boxes inside, and those inside of containers."""
    found = []
    for kind, inside, stop in _boxes(walk, start, end):
        found.append((kind, inside, stop))
        if kind in CONTAINERS and depth < MAX_DEPTH:
            found += _deep(walk, inside, stop, depth + 1)
    return found


def _items(walk: _Walk, start: int, end: int) -> None:
    """Measure the items of a `meta` box."""
    boxes = _deep(walk, start + 4, end)
    stored = [walk.data[inside:stop] for kind, inside, stop in boxes if kind == b"idat"]
    types = [named for kind, inside, stop in boxes if kind == b"iinf" for named in _types(walk, inside, stop)]
    coded = {item for item, kind, _ in types if kind == b"av01"}
    exif = {item: at for item, kind, at in types if kind == b"Exif"}
    sizes = _sizes(walk, boxes)
    for item, in_idat, pieces in (
        found for kind, *place in boxes if kind == b"iloc" for found in _places(walk, *place)
    ):
        length = sum(min(size or len(walk.data), len(walk.data)) for _, size in pieces)
        walk.joined += length if len(pieces) > 1 else 0
        if walk.joined > len(walk.data):
            raise too_complex("bytes of items in pieces", walk.joined, len(walk.data))
        if item in exif and length > MAX_EXIF_BYTES:
            walk.hidden.append(exif[item])
        for source in (stored if in_idat else [walk.data]) if item in coded else ():
            view = memoryview(source)
            walk.is_cut |= any(at + size > len(source) for at, size in pieces)
            parts = [view[at : at + size] if size else view[at:] for at, size in pieces]
            whole = parts[0] if len(parts) == 1 else b"".join(parts)
            walk.items_bytes += walk.kept_bytes(whole, sizes.get(item, (0, 0)))


def _sizes(walk: _Walk, boxes: list[tuple[bytes, int, int]]) -> dict[int, tuple[int, int]]:
    """Number of an item -> the size that `ipma` gives it of those in `ipco`."""
    sizes: dict[int, tuple[int, int]] = {}
    for _, start, end in (box for box in boxes if box[0] == b"ipco"):
        for number, (kind, inside, _) in enumerate(_boxes(walk, start, end), 1):
            if kind == b"ispe":
                sizes[number] = walk.size(inside + 4)
    found: dict[int, tuple[int, int]] = {}
    for _, start, end in (box for box in boxes if box[0] == b"ipma"):
        bits = Bits(walk.data, start, end)
        try:
            version, flags = bits.read(8), bits.read(24)
            for _ in range(bits.read(32)):
                item = bits.read(32 if version else 16)
                for _ in range(bits.read(8)):
                    walk.count()
                    bits.read(1)
                    size = sizes.get(bits.read(15 if flags & 1 else 7), (0, 0))
                    found[item] = max(size, found.get(item, size), key=lambda size: size[0] * size[1])
        except EOFError:
            continue
    return found


def _types(walk: _Walk, start: int, end: int) -> list[tuple[int, bytes, int]]:
    """(number, type, place of the type) of each item that an `iinf` box names."""
    found = []
    for kind, inside, stop in _boxes(walk, start + (8 if walk.data[start : start + 1] > b"\0" else 6), end):
        at = inside + (8 if walk.data[inside : inside + 1] == b"\2" else 10)
        if kind == b"infe" and at + 4 <= stop:
            found.append((int.from_bytes(walk.data[inside + 4 : at - 2], "big"), walk.data[at : at + 4], at))
    return found


def _places(walk: _Walk, start: int, end: int) -> list[tuple[int, bool, list[tuple[int, int]]]]:
    """(number, whether it is in `idat`, [(offset, length) of its pieces]) of each item that an `iloc` box has."""
    bits, found = Bits(walk.data, start, end), []
    try:
        version = bits.read(8)
        bits.read(24)
        offset, length, base, index = (8 * bits.read(4) for _ in range(4))
        for _ in range(bits.read(16 if version < 2 else 32)):
            walk.count()
            item, method = bits.read(16 if version < 2 else 32), bits.read(16) if version else 0
            bits.read(16)
            first, pieces = bits.read(base), []
            for _ in range(bits.read(16)):
                walk.count()
                bits.read(index if version else 0)
                pieces.append((first + bits.read(offset), bits.read(length)))
            found.append((item, method & 15 == 1, pieces))
    except EOFError:
        pass  # the decoder refuses the file, too
    return found


def _tracks(walk: _Walk, start: int, end: int) -> None:
    """Measure the first sample of each track of a `moov` box."""
    for kind, *track in _boxes(walk, start, end):
        boxes = _deep(walk, *track) if kind == b"trak" else []
        chunks, lengths, size, is_coded = [], [0], (0, 0), False
        for inner, inside, stop in boxes:
            if inner == b"meta":
                _items(walk, inside, stop)
            elif inner == b"tkhd":
                at = inside + (88 if walk.data[inside : inside + 1] == b"\1" else 76)
                width, height = walk.number(at) >> 16, walk.number(at + 4) >> 16
                check_pixels((width, height), "AVIF", walk.max_pixels)
                size = width, height
            elif inner == b"stsd":
                is_coded |= b"av01" in walk.data[inside:stop]
            elif inner in (b"stco", b"co64"):
                chunks.append(walk.number(inside + 8, 4 if inner == b"stco" else 8))
            elif inner == b"stsz":
                lengths.append(walk.number(inside + 4) or walk.number(inside + 12))
        for at in chunks if is_coded else ():
            walk.samples_bytes += walk.kept_bytes(memoryview(walk.data)[at : at + max(lengths)], size)
