"""JPEG 2000 files of far more tiles, precincts and code-blocks than an image needs."""

import contextlib
import random
import struct

import pytest
from _inputs import decoded_apart, encoded, make_image
from PIL import Image, features

from samples.formats.jpeg2000 import check_parts
from samples.image_limits import MAX_PIXELS, WEIGHT, ImageProblem
from samples.images import decode_image

pytestmark = pytest.mark.skipif(not features.check("jpg_2000"), reason="Pillow without JPEG 2000")


def stream(size=(100, 100), **options):
    return encoded(make_image(1, size), "JPEG2000", no_jp2=True, **options)


def tiled(file, side):
    """The file, of which the header says tiles of that side."""
    changed, at = bytearray(file), file.index(b"\xff\x51")
    changed[at + 22 : at + 30] = struct.pack(">LL", side, side)
    return bytes(changed)


def cut(file, *, block=4, precinct=15):
    """The file with other exponents of code-blocks and precincts in its main header."""
    at = file.index(b"\xff\x52")
    length = struct.unpack_from(">H", file, at + 2)[0]
    style = bytearray(file[at + 4 : at + 14])
    style[0] |= 1
    style[6:8] = bytes([block - 2, block - 2])
    style += bytes([precinct * 17] * (style[5] + 1))
    return file[:at] + b"\xff\x52" + struct.pack(">H", 2 + len(style)) + style + file[at + 2 + length :]


def refused(file):
    with pytest.raises(ImageProblem) as problem:
        decode_image(file)
    return problem.value.reason


@pytest.mark.parametrize(
    "file",
    [tiled(stream((250, 250)), 1), cut(stream((1700, 1700)), precinct=1), cut(stream((1700, 1700)), block=2)],
    ids=["tiles", "precincts", "code-blocks"],
)
def test_many_pieces_are_refused_with_little_memory(file, tmp_path):
    grown_mb, verdict = decoded_apart(tmp_path, stream(), file)
    assert verdict == "too_complex"
    assert grown_mb < 20


def test_pieces_are_counted_in_the_box_of_a_file_and_in_tiles():
    whole = encoded(make_image(1, (1700, 1700)), "JPEG2000")
    assert refused(cut(whole, block=2)) == "too_complex"
    file = stream((1700, 1700))
    at, tile = file.index(b"\xff\x52"), file.index(b"\xff\x93")
    fine = cut(file, block=2)[at : at + 2 + 2 + 10 + file[at + 9] + 1]
    part = struct.unpack_from(">L", file, tile - 6)[0]
    assert part == len(file) - 2 - (tile - 12)
    longer = file[: tile - 6] + struct.pack(">L", part + len(fine)) + file[tile - 2 : tile] + fine + file[tile:]
    assert refused(longer) == "too_complex"


def test_a_segment_cannot_hide_behind_an_unknown_marker():
    file = cut(stream((1700, 1700)), block=2)
    for unknown in (b"\xff\x30", b"\xff\x93", b"\xff\x30\xff\xff"):
        for whole in (file[:2] + unknown + file[2:], file[:51] + unknown + file[51:]):
            boxed = b"\0\0\0\x0cjP  \r\n\x87\n\0\0\0\0jp2c" + whole
            with pytest.raises(ImageProblem, match="tiles and code-blocks"):
                check_parts(boxed, MAX_PIXELS)


def test_healthy_files_are_not_refused():
    limit = int(MAX_PIXELS / WEIGHT["JPEG2000"])
    for options in (
        {}, {"num_resolutions": 1}, {"tile_size": (64, 64)}, {"codeblock_size": (16, 16)}, {"irreversible": True},
        {"precinct_size": (128, 128), "codeblock_size": (32, 32)}, {"num_resolutions": 8},
    ):  # fmt: skip
        check_parts(stream((600, 500), **options), MAX_PIXELS)
        large = bytearray(stream((600, 500), **options))
        side = int(limit**0.5)
        at = large.index(b"\xff\x51")
        large[at + 6 : at + 14] = struct.pack(">LL", side, side)
        if "tile_size" not in options:
            large[at + 22 : at + 30] = struct.pack(">LL", side, side)
        check_parts(bytes(large), MAX_PIXELS)
    assert decode_image(encoded(Image.new("RGBA", (64, 48)), "JPEG2000", tile_size=(32, 32))).size == (64, 48)


def test_damaged_files_raise_nothing_else():
    numbers = random.Random(5)
    files = [stream(), encoded(make_image(1), "JPEG2000", tile_size=(32, 32)), cut(stream(), precinct=5)]
    for _ in range(4000):
        file = bytearray(numbers.choice(files))
        for _ in range(numbers.choice((1, 2, 8))):
            at = numbers.randrange(min(len(file), numbers.choice((200, len(file)))))
            file[at] = numbers.choice((file[at] ^ 1 << numbers.randrange(8), 0, 255))
        with contextlib.suppress(ImageProblem):
            check_parts(bytes(file[: numbers.choice((len(file), numbers.randrange(len(file))))]), MAX_PIXELS)
