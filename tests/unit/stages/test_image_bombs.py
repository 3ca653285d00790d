"""Image files that take long or much to decode, or to look at, against normalise_image and the store of downloads."""

import io
import struct
import time

import numpy as np
import pytest
from _inputs import apply, encoded, jpeg, make_image, png_chunk, table
from PIL import Image, TiffImagePlugin

from samples.image_limits import ImageProblem
from samples.images import decode_image, open_image
from stages.download.images import keep
from stages.download.status import DownloadFailed
from stages.normalise_image import NormaliseImage
from stages.read_laion import ReadLaion

pytestmark = pytest.mark.timeout(60)
SOS = b"\xff\xda"


def row_of(file, **options):
    (row,) = apply(
        NormaliseImage(shorter_side_px=64, min_side_px=8, max_aspect_ratio=100, **options), table(source_raw=[file])
    )
    return row


def with_scans(file, count):
    """The progressive JPEG with its last scan `count` times."""
    last = file[file.rindex(SOS) : -2]
    return file[:-2] + last * (count - file.count(SOS)) + b"\xff\xd9"


PROGRESSIVE = jpeg(1, (1000, 800), progressive=True)


def test_a_jpeg_of_sixty_thousand_scans_is_refused_at_once():
    file = with_scans(jpeg(1, progressive=True), 60_000)
    began = time.process_time()
    row = row_of(file)
    assert time.process_time() - began < 1
    assert (row["reject_reason"], row["reject_detail"]) == ("too_complex", "501 scans of 7680 pixels, more than 500")


def test_scans_count_for_more_the_larger_the_image():
    large = jpeg(1, (8000, 4000), progressive=True, quality=10)
    assert row_of(large)["reject_reason"] is None
    assert row_of(with_scans(large, 31))["reject_reason"] is None
    assert row_of(with_scans(large, 32))["reject_reason"] == "too_complex"


def test_scans_cannot_hide_behind_an_end_that_is_none():
    comment = b"\xff\xfe\x00\x06\xff\xd9\xff\xd9"
    file = with_scans(PROGRESSIVE, 12)
    at = file.rindex(SOS)
    hidden = file[:at] + comment + file[at:-2] + file[at:-2] * 600 + b"\xff\xd9"
    assert row_of(hidden)["reject_reason"] == "too_complex"


def test_scans_behind_the_end_or_in_text_are_not_counted():
    assert row_of(PROGRESSIVE + SOS * 5000)["reject_reason"] is None
    assert row_of(jpeg(1, comment=SOS * 5000))["reject_reason"] is None


def test_a_download_of_many_scans_is_refused_whether_shrunk_or_not():
    file = with_scans(PROGRESSIVE, 1000)
    for options in (ReadLaion(), ReadLaion(stored_side_px=64)):
        with pytest.raises(DownloadFailed) as failure:
            keep(file, options)
        assert failure.value.reason == "too_complex"


@pytest.mark.parametrize(
    "header",
    [
        b"".join(b"\xff\xe1\x01\x02Exif\0\0" + bytes(250) for _ in range(50_000)),
        b"\xff" * 30_000_000,
        b"\xff\xfe\xff\xff" + bytes(65_533),
        bytes(30_000_000),
    ],
    ids=["EXIF", "filling", "comment", "zeros"],
)
def test_metadata_of_a_jpeg_costs_no_time(header):
    whole = jpeg(1)
    began = time.process_time()
    row = row_of(whole[:20] + header + whole[20:])
    assert time.process_time() - began < 4
    assert row["source_images"] == row_of(whole)["source_images"]


def test_a_jpeg_with_a_long_header_keeps_what_its_pixels_need():
    exif = Image.Exif()
    exif[0x0112] = 6
    ink = Image.merge("CMYK", [*make_image(3).split(), Image.new("L", (96, 80), 20)])
    plain = encoded(ink, "JPEG", exif=exif)
    long = plain[:2] + (b"\xff\xfe\xff\xff" + bytes(65_533)) * 3 + plain[2:]
    row = row_of(long)
    assert row["source_images"] == row_of(plain)["source_images"]
    assert (row["original_width_px"], row["original_height_px"]) == (80, 96)


def test_a_jpeg_without_a_scan_is_refused_at_once():
    began = time.process_time()
    assert row_of(jpeg(1)[:20] + b"\xff\xd9" + bytes(30_000_000))["reject_reason"] == "undecodable"
    assert time.process_time() - began < 4


def test_a_png_of_a_million_chunks_is_refused_or_read_at_once():
    whole = encoded(make_image(1), "PNG")
    for chunk in (png_chunk(b"IDAT", b""), png_chunk(b"teST", b"")):
        began = time.process_time()
        row = row_of(whole[:33] + chunk * 1_000_000 + whole[33:])
        assert time.process_time() - began < 4
        assert row["reject_reason"] == "too_complex"
    assert row_of(whole[:33] + png_chunk(b"teST", b"") * 50_000 + whole[33:])["reject_reason"] is None


def gif(frames, image_format="GIF", **options):
    images = [make_image(n, (80, 64)) for n in range(frames)]
    return encoded(images[0], image_format, save_all=True, append_images=images[1:], **options)


def test_a_gif_of_very_many_frames_is_counted_in_time():
    file = gif(2)
    one = b",\0\0\0\0\x01\0\x01\0\0\x02\x02L\x01\0"
    began = time.process_time()
    row = row_of(file[:-1] + one * 400_000 + b";")
    assert time.process_time() - began < 6
    assert (row["reject_reason"], row["reject_detail"]) == ("animated", "400002 frames")
    assert row_of(file[:-1] + one * 1_000_001 + b";")["reject_reason"] == "too_complex"


def test_a_gif_keeps_its_first_frame_without_comments():
    file = gif(3, comment=b"x" * 2000)
    assert row_of(file, animated="first")["source_images"] == row_of(gif(1))["source_images"]


def test_an_animation_of_more_frames_than_are_looked_into_is_refused():
    file = gif(2, "WEBP", lossless=True)
    assert row_of(file + b"ANMF" * 20_000)["reject_reason"] == "too_complex"


def directory(*entries, following=0):
    packed = b"".join(struct.pack("<HHLL", *entry) for entry in entries)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + packed + struct.pack("<L", following)


def test_a_tiff_of_many_strips_or_of_one_giant_tile_is_refused():
    strips = directory((256, 4, 1, 64), (257, 4, 1, 64), (273, 4, 5_000_000, 8)) + bytes(20_000_000)
    row = row_of(strips)
    assert (row["reject_reason"], row["reject_detail"]) == (
        "too_complex", "5000000 values of tag 273, more than 200000",
    )  # fmt: skip
    tile = directory((256, 4, 1, 64), (257, 4, 1, 64), (322, 4, 1, 60_000), (323, 4, 1, 60_000))
    assert row_of(tile)["reject_reason"] == "too_complex"


def test_a_tiff_whose_directories_run_in_a_circle_gives_its_first_page():
    file = bytearray(encoded(make_image(1), "TIFF"))
    at = struct.unpack_from("<L", file, 4)[0]
    count = struct.unpack_from("<H", file, at)[0]
    file[at + 2 + 12 * count : at + 6 + 12 * count] = struct.pack("<L", at)
    assert row_of(bytes(file))["source_images"] == row_of(encoded(make_image(1), "TIFF"))["source_images"]


def test_exif_of_a_tiff_is_left_unread():
    pointer = TiffImagePlugin.ImageFileDirectory_v2()
    pointer[34665], pointer.tagtype[34665] = 8, 4
    file = encoded(make_image(1), "TIFF", tiffinfo=pointer)
    assert 34665 in Image.open(io.BytesIO(file)).tag_v2
    assert 34665 not in open_image(file).image.tag_v2
    assert row_of(file)["source_images"] == row_of(encoded(make_image(1), "TIFF"))["source_images"]


@pytest.mark.parametrize("size", [(100_000, 64), (64, 100_000)])
def test_an_image_with_a_side_that_is_too_long_is_refused(size):
    row = row_of(encoded(Image.new("1", size), "PNG"))
    assert row["reject_reason"] == "pixel_bomb"
    assert "a side of more than 65535 px" in row["reject_detail"]


def test_what_pillow_reads_beyond_the_list_is_no_image():
    for image_format in ("TGA", "PCX", "DDS", "SGI"):
        assert row_of(encoded(make_image(1), image_format))["reject_detail"] == "no image format that is read"
    for image_format in ("JPEG2000", "PPM", "ICO", "BMP"):
        assert row_of(encoded(make_image(1), image_format))["reject_reason"] is None


def test_formats_that_take_more_memory_may_have_fewer_pixels():
    assert np.asarray(decode_image(encoded(make_image(1, (30, 20)), "WEBP"), max_pixels=900)).shape == (20, 30, 3)
    with pytest.raises(ImageProblem, match="30 x 20 px, more than 599 pixels of WEBP"):
        decode_image(encoded(make_image(1, (30, 20)), "WEBP"), max_pixels=899)
