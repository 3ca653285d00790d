"""Hide the further directories of a TIFF, and refuse more pieces, or larger tiles, than an image has."""

from __future__ import annotations

import struct

from samples.image_limits import MAX_PARTS, MAX_PIXELS, too_complex

TILE_WIDTH, TILE_LENGTH = 322, 323
PRIVATE_TAGS = 700
"""Tags from here on are not read by Pillow unless it is asked for them."""
BYTES_TYPES = frozenset({1, 2, 7})
POINTERS = frozenset({34665, 34853, 40965})
"""Tags of further directories (EXIF, GPS, interoperability), which Pillow would unpack entirely."""
INTEGER_BYTES = {1: 1, 3: 2, 4: 4, 16: 8}
"""Type of a TIFF value -> bytes, of those that a tile's side may have."""


def strip_tiff(data: bytes) -> bytes:
    """The TIFF file without EXIF. Raises ImageProblem for more pieces than an image has, or tiles larger than one."""
    order, is_big = "<" if data[:1] == b"I" else ">", data[2:4] in (b"+\0", b"\0+")
    entry = struct.Struct(order + ("HHQ8s" if is_big else "HHL4s"))
    tile, hidden = {TILE_WIDTH: 0, TILE_LENGTH: 0}, []
    try:
        at = int(struct.unpack_from(order + ("Q" if is_big else "L"), data, 8 if is_big else 4)[0])
        count = int(struct.unpack_from(order + ("Q" if is_big else "H"), data, at)[0])
        for number in range(min(count, MAX_PARTS)):
            place = at + (8 if is_big else 2) + number * entry.size
            tag, kind, values, value = entry.unpack_from(data, place)
            if tag < PRIVATE_TAGS and kind not in BYTES_TYPES and values > 2 * MAX_PARTS:
                raise too_complex(f"values of tag {tag}", values, 2 * MAX_PARTS)
            if tag in POINTERS:
                hidden.append(place)
            if tag in tile:
                tile[tag] = int.from_bytes(value[: INTEGER_BYTES.get(kind, 8)], "little" if order == "<" else "big")
    except (struct.error, OverflowError):
        return data
    if tile[TILE_WIDTH] * tile[TILE_LENGTH] > MAX_PIXELS:
        raise too_complex("pixels a tile", tile[TILE_WIDTH] * tile[TILE_LENGTH], MAX_PIXELS)
    if not hidden:
        return data
    changed = bytearray(data)
    for place in hidden:
        changed[place + 2 : place + 4] = b"\0\0"  # a type that does not exist: readers skip the tag
    return bytes(changed)
