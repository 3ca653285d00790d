"""Received bytes as images: what is kept, at which size, and what is no image."""

import hashlib
import io

import numpy as np
import pytest
import torch
from _inputs import encoded, jpeg, make_image
from _kernels import printed_by_kernel
from PIL import Image

from stages.download.images import keep, resized
from stages.download.status import DownloadFailed
from stages.read_laion import ReadLaion

AS_FOUND = ReadLaion()
SHRUNK = ReadLaion(stored_side_px=48)
STORED = """
import hashlib, sys
sys.path.append("tests")
from _inputs import encoded, jpeg, make_image
from stages.download.images import keep
from stages.read_laion import ReadLaion
for number, side_px in enumerate((24, 48, 100, 255)):
    for data in (jpeg(number, (513, 301)), encoded(make_image(number, (257, 300)), "PNG")):
        print(hashlib.sha256(keep(data, ReadLaion(stored_side_px=side_px)).data).hexdigest())
"""


def opened(data):
    return Image.open(io.BytesIO(data))


@pytest.mark.parametrize(
    ("image_format", "suffix"),
    [
        ("JPEG", "jpg"),
        ("PNG", "png"),
        ("WEBP", "webp"),
        ("GIF", "gif"),
        ("BMP", "bmp"),
        ("TIFF", "tif"),
        ("MPO", "jpg"),
    ],
)
def test_every_format_is_kept_byte_for_byte_under_its_suffix(image_format, suffix):
    data = encoded(make_image(1), image_format)
    kept = keep(data, AS_FOUND)
    assert (kept.data, kept.suffix, kept.sha256) == (data, suffix, hashlib.sha256(data).hexdigest())
    assert (kept.width, kept.height, kept.original_width, kept.original_height) == (96, 80, 96, 80)


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"<html>", b"%PDF-1.7", encoded(make_image(1), "ICO")])
def test_other_bytes_are_no_image(data):
    with pytest.raises(DownloadFailed) as failure:
        keep(data, AS_FOUND)
    assert failure.value.reason == "not_an_image"


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "BMP", "TIFF"])
def test_a_large_image_is_shrunk_to_a_jpeg_whose_shorter_side_is_as_asked(image_format):
    data = encoded(make_image(1, (300, 200)), image_format)
    kept = keep(data, SHRUNK)
    assert (kept.suffix, kept.sha256) == ("jpg", hashlib.sha256(data).hexdigest())
    assert (kept.width, kept.height, kept.original_width, kept.original_height) == (72, 48, 300, 200)
    with opened(kept.data) as image:
        assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (72, 48))
        expected = np.asarray(make_image(1, (300, 200)).resize((72, 48), Image.Resampling.BICUBIC), dtype=int)
        assert np.abs(np.asarray(image, dtype=int) - expected).mean() < 3


@pytest.mark.parametrize("size", [(48, 48), (48, 500), (30, 20)])
def test_an_image_that_is_small_enough_stays_as_it_is(size):
    data = jpeg(1, size)
    kept = keep(data, SHRUNK)
    assert (kept.data, kept.width, kept.original_width) == (data, size[0], size[0])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_shrunk_image_is_upright(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = make_image(3, (300, 200))
    back = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_90",
            7: "TRANSVERSE", 8: "ROTATE_270"}.get(orientation)  # fmt: skip
    stored = upright.transpose(Image.Transpose[back]) if back else upright
    kept = keep(encoded(stored, "JPEG", quality=95, exif=exif), SHRUNK)
    assert (kept.width, kept.height, kept.original_width, kept.original_height) == (72, 48, 300, 200)
    with opened(kept.data) as image:
        assert not image.getexif()
        expected = np.asarray(upright.resize((72, 48), Image.Resampling.BICUBIC), dtype=int)
        assert np.abs(np.asarray(image, dtype=int) - expected).mean() < 3


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "CMYK", "LA", "I;16"])
def test_images_of_every_mode_are_shrunk(mode):
    image = make_image(2, (120, 110)).convert(mode) if mode != "I;16" else Image.new("I;16", (120, 110), 40_000)
    data = encoded(image, "JPEG" if mode == "CMYK" else "PNG")
    with opened(keep(data, SHRUNK).data) as shrunk:
        assert (shrunk.mode, shrunk.size) == ("RGB", (52, 48))


def test_a_transparent_image_is_laid_on_white():
    data = encoded(Image.new("RGBA", (100, 100), (0, 0, 0, 0)), "PNG")
    with opened(keep(data, SHRUNK).data) as shrunk:
        assert shrunk.getpixel((20, 20)) == (255, 255, 255)


@pytest.mark.parametrize("image_format", ["GIF", "PNG", "WEBP"])
def test_an_animation_is_kept_whole(image_format):
    frames = [make_image(n, (100, 90)) for n in range(3)]
    data = encoded(frames[0], image_format, save_all=True, append_images=frames[1:])
    assert keep(data, SHRUNK).data == data


def test_a_cut_image_that_must_be_decoded_is_none():
    data = jpeg(1, (300, 200))
    assert keep(data[:-500], AS_FOUND).data == data[:-500]
    with pytest.raises(DownloadFailed) as failure:
        keep(data[:-500], SHRUNK)
    assert failure.value.reason == "not_an_image"


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")  # silenced for a whole shard at once
@pytest.mark.parametrize("options", [AS_FOUND, SHRUNK])
def test_more_pixels_than_allowed_are_not_decoded(options):
    data = encoded(Image.new("1", (2000, 1000)), "PNG")
    with pytest.raises(DownloadFailed) as failure:
        keep(data, options.model_copy(update={"max_pixels": 1_999_999}))
    assert failure.value.reason == "pixel_bomb"


@pytest.mark.parametrize(
    "sizes", [((640, 480), (341, 256)), ((333, 777), (50, 117)), ((3000, 2500), (300, 250)), ((97, 61), (96, 60))]
)
def test_resizing_is_bicubic_as_pillow_has_it(sizes):
    before, after = sizes
    image = make_image(5, before)
    found = np.asarray(resized(image, after), dtype=int)
    expected = np.asarray(image.resize(after, Image.Resampling.BICUBIC), dtype=int)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= (2 if before != (3000, 2500) else 6)


@pytest.mark.parametrize("options", [AS_FOUND, SHRUNK])
def test_a_lack_of_memory_is_no_verdict_on_the_image(monkeypatch, options):
    def without_memory(*args, **kwargs):
        raise MemoryError

    monkeypatch.setattr(Image, "open", without_memory)
    with pytest.raises(MemoryError):
        keep(jpeg(1, (300, 200)), options)


def test_what_torch_says_of_a_lack_of_memory_becomes_a_memory_error(monkeypatch):
    def far_too_much(*args, **kwargs):
        return torch.empty(1 << 60, dtype=torch.uint8)

    monkeypatch.setattr(torch.nn.functional, "interpolate", far_too_much)
    with pytest.raises(MemoryError, match="can't allocate memory"):
        keep(jpeg(1, (300, 200)), SHRUNK)


def test_any_other_error_of_torch_stays_a_verdict(monkeypatch):
    def broken(*args, **kwargs):
        raise RuntimeError("no kernel")

    monkeypatch.setattr(torch.nn.functional, "interpolate", broken)
    with pytest.raises(DownloadFailed, match="RuntimeError: no kernel"):
        keep(jpeg(1, (300, 200)), SHRUNK)


def test_stored_images_are_the_same_under_every_kernel():
    printed = printed_by_kernel(STORED)
    assert printed["HASWELL"]
    assert printed["SKYLAKEX"] == printed["HASWELL"]
    assert printed["ZEN"] == printed["HASWELL"]
