"""AVIF files of which the boxes and the coded frames say different sizes: refused before they are decoded."""

import contextlib
import io
import random
import struct
import time

import numpy as np
import pytest
from _inputs import decoded_apart, encoded, make_image
from PIL import Image, ImageCms, features

from samples.formats.av1 import frames_of
from samples.formats.avif import strip_avif
from samples.image_limits import MAX_PIXELS, ImageProblem
from samples.images import decode_image, open_image

pytestmark = pytest.mark.skipif(not features.check("avif"), reason="Pillow without AVIF")


def avif(image=None, **options):
    return encoded(make_image(1) if image is None else image, "AVIF", **options)


def resized(file, width, height):
    """The file with another size in its boxes, and the same frames."""
    changed, at = bytearray(file), 0
    while (at := changed.find(b"ispe", at)) >= 0:
        changed[at + 8 : at + 16] = struct.pack(">LL", width, height)
        at += 4
    return bytes(changed)


def animation(mode="RGB"):
    images = [make_image(number).convert(mode) for number in range(4)]
    return avif(images[0], save_all=True, append_images=images[1:])


def problem_of(file, **options):
    with pytest.raises(ImageProblem) as problem:
        decode_image(file, **options)
    return problem.value.reason, problem.value.detail


def bits_to_bytes(text):
    text = text.replace(" ", "")
    text += "0" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big")


def obu(kind, text):
    payload = bits_to_bytes(text)
    return bytes([kind << 3 | 2, len(payload)]) + payload


MAX_64 = "1111 1111 0000000000111111 0000000000111111"  # 16 bits a side, 64 x 64
SEQUENCE = obu(1, f"000 0 0 0 0 00000 {'0' * 12} 00000 {MAX_64} 0 000 0000 0 0 0 000 0 0" + "0" * 40)


def frames(coded):
    return frames_of(coded, MAX_PIXELS, lambda: None)


def test_a_small_size_over_a_huge_frame_is_refused_with_little_memory(tmp_path):
    large = avif(Image.new("RGB", (8000, 8000), (9, 120, 200)), speed=10, quality=30)
    grown_mb, verdict = decoded_apart(tmp_path, avif(), resized(large, 100, 100))
    assert verdict == "pixel_bomb"
    assert grown_mb < 20


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_the_size_of_the_frame_counts_and_not_that_of_the_boxes(mode):
    file = resized(avif(make_image(1, (64, 48)).convert(mode)), 8, 8)
    assert decode_image(file, max_pixels=2 * 64 * 48).size == (8, 8)
    assert problem_of(file, max_pixels=2 * 64 * 48 - 2) == (
        "pixel_bomb", "64 x 48 px, more than 3071 pixels of AVIF",
    )  # fmt: skip


def test_the_first_frame_of_a_sequence_counts():
    file = bytearray(animation())
    at = file.index(b"meta")
    file[at : at + 4] = b"free"
    file[8:12] = b"avis"
    at = file.index(b"tkhd") + 4
    file[at + 88 : at + 96] = struct.pack(">LL", 8 << 16, 8 << 16)
    assert problem_of(bytes(file), max_pixels=2 * 96 * 80 - 2)[0] == "pixel_bomb"


def test_a_frame_without_a_sequence_header_is_refused():
    file = avif()
    at = file.index(b"\x0a", file.index(b"mdat"))
    assert problem_of(file[:at] + b"\x12" + file[at + 1 :])[0] == "undecodable"
    assert problem_of(file[:at])[0] == "truncated"


def test_an_item_joined_of_overlapping_pieces_is_refused():
    file = avif()
    at = file.index(b"iloc") - 4
    size = struct.unpack_from(">L", file, at)[0]
    pieces = struct.pack(">LL", 0, len(file)) * 3
    iloc = b"iloc\0\0\0\0\x44\0" + struct.pack(">HHHH", 1, 1, 0, 3) + pieces
    changed = file[:at] + struct.pack(">L", len(iloc) + 4) + iloc + file[at + size :]
    meta = changed.index(b"meta") - 4
    grown = struct.unpack_from(">L", changed, meta)[0] + len(changed) - len(file)
    changed = changed[:meta] + struct.pack(">L", grown) + changed[meta + 4 :]
    assert problem_of(changed)[0] == "too_complex"


def test_a_frame_may_say_a_size_of_its_own_as_large_as_its_bits():
    shown = "0 00 1 0"  # a key frame that is shown; its cdf is updated
    assert frames(SEQUENCE + obu(6, f"{shown} 0" + "0" * 40)).pixels == 64 * 64
    with pytest.raises(ImageProblem, match="65536 x 65536 px"):
        frames(SEQUENCE + obu(6, f"{shown} 1" + "0" * 40))
    assert frames(SEQUENCE + obu(6, "1" + "0" * 40)).pixels == 64 * 64


def test_frames_that_a_decoder_keeps_are_bounded():
    one = obu(6, "0 00 0 0 0 0 0" + "0" * 40)
    found = frames(SEQUENCE + one * 30)
    assert (found.num_frames, found.pixels, found.kept_bytes) == (30, 30 * 64 * 64, 10 * 64 * 64 * 1.5)
    file = avif(make_image(1, (64, 64)))
    start = file.index(b"\x0a", file.index(b"mdat"))
    coded = SEQUENCE + one * 30
    changed = file[:start] + coded
    length = len(file) - start
    changed = changed.replace(struct.pack(">LL", start, length), struct.pack(">LL", start, len(coded)))
    assert problem_of(changed, max_pixels=2 * 64 * 64) == (
        "pixel_bomb", f"{10 * 64 * 64 * 3 // 2} bytes of frames, more than {12 * 64 * 64}",
    )  # fmt: skip


@pytest.mark.parametrize("subsampling", ["4:0:0", "4:2:0", "4:2:2", "4:4:4"])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_healthy_files_are_left_as_they_are(mode, subsampling):
    for quality in (1, 60, 100):
        for size in ((96, 80), (1, 1), (17, 300)):
            file = avif(make_image(1, size).convert(mode), quality=quality, subsampling=subsampling, speed=10)
            assert strip_avif(file, 2 * size[0] * size[1]) is file


def test_text_profiles_and_animations_are_left_as_they_are():
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a field"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    file = avif(exif=exif, xmp=b"<x/>" * 50_000, icc_profile=profile)
    assert strip_avif(file, MAX_PIXELS) is file
    assert decode_image(file).size == (80, 96)
    for mode in ("RGB", "RGBA"):
        moving = animation(mode)  # once: an animation holds the second in which it was made
        assert strip_avif(moving, 2 * 96 * 80) == moving
        assert open_image(moving).num_frames == 4


def test_a_long_exif_block_is_hidden_and_the_turn_kept():
    exif = Image.Exif()
    exif[0x0112], exif[0x927C] = 6, bytes(100_000)
    file = avif(exif=exif)
    opened = Image.open(io.BytesIO(strip_avif(file, MAX_PIXELS)))
    assert len(opened.info["exif"]) < 100
    assert np.array_equal(np.asarray(decode_image(file)), np.asarray(decode_image(avif()).rotate(-90, expand=True)))


def test_damaged_files_raise_nothing_else_and_take_no_time():
    numbers = random.Random(5)
    files = [avif(), avif(make_image(1).convert("RGBA")), animation(), avif(xmp=b"<x/>" * 20)]
    for _ in range(4000):
        file = bytearray(numbers.choice(files))
        for _ in range(numbers.choice((1, 2, 8))):
            at = numbers.randrange(min(len(file), numbers.choice((400, 1200, len(file)))))
            file[at] = numbers.choice((file[at] ^ 1 << numbers.randrange(8), 0, 255))
        began = time.process_time()
        with contextlib.suppress(ImageProblem):
            strip_avif(bytes(file[: numbers.choice((len(file), numbers.randrange(len(file))))]), MAX_PIXELS)
        assert time.process_time() - began < 1


@pytest.mark.parametrize("filling", [b"\0\0\0\x08moov", b"\0\0\x10\0trak", b"\0\0\0\0meta\0\0\0\0", b"\x32\0", b"\0"])
def test_looking_through_takes_no_longer_than_reading(filling):
    file = avif()
    for long in (file + filling * 2_000_000, file[:32] + filling * 2_000_000):
        began = time.process_time()
        with contextlib.suppress(ImageProblem):
            strip_avif(long + b"av01", MAX_PIXELS)
        assert time.process_time() - began < 2


def test_a_huge_size_that_alpha_alone_has_is_refused():
    file = bytearray(avif(Image.new("RGBA", (100, 100), (9, 120, 200, 77)), icc_profile=b"x" * 200))
    at = file.index(b"colr")  # the fourth property
    file[at : at + 16] = b"ispe\0\0\0\0" + struct.pack(">LL", 16_000, 16_000)
    of_alpha = bytes([4, 1, 6, 0x87, 8])
    assert of_alpha in file
    assert problem_of(bytes(file).replace(of_alpha, bytes([4, 4, 6, 0x87, 8])))[0] == "pixel_bomb"


def test_depth_and_subsampling_decide_what_a_frame_takes():
    frame = obu(6, "0 00 1 0 0" + "0" * 40)
    timing = f"1 {'0' * 64} 1 00101 1 00011 {'0' * 32} 00010 00100"
    for profile, colours, pixel_bytes in (
        ("000", "0 0", 1.5), ("000", "0 1", 1), ("000", "1 0", 3), ("001", "0", 3), ("001", "1", 6),
        ("010", "1 0 0", 6), ("010", "1 0 1", 2),
    ):  # fmt: skip
        for before in ("0 0 00000", f"{timing} 1 00000"):
            point = f"{'0' * 12} 01001 1" + ("" if before[0] == "0" else "1 0000 0000 0 1 0000")
            header = f"{profile} 0 0 {before} {point} {MAX_64} 0 000 0000 0 0 0 000 {colours}"
            found = frames(obu(1, header + "0" * 40) + frame)
            assert (found.pixels, found.largest_bytes) == (64 * 64, pixel_bytes * 64 * 64)
