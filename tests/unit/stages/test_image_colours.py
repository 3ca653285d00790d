"""Colour profiles of images, normalised and downloaded: against the sRGB image and against LittleCMS."""

import io
import zlib

import numpy as np
import pytest
from _inputs import encoded, jpeg, make_image, png_chunk, png_file, table
from _profiles import grey_profile, ink_profile, rgb_profile
from PIL import Image, ImageCms

from pipeline.context import Context
from samples.colour import conversion_of
from stages.download.images import keep
from stages.normalise_image import NormaliseImage
from stages.read_laion import ReadLaion

SIZE = (90, 64)
WIDE = rgb_profile()
SRGB = ImageCms.createProfile("sRGB")
UNREADABLE = "images whose colour profile cannot be read"
EXACT = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}, "AVIF": {"quality": 100}}


def normalised(*files):
    """(pixels of each image, notes) at their own size."""
    ctx = Context(stage_name="test")
    stage = NormaliseImage(shorter_side_px=64, min_side_px=8, upscale=False, format="png")
    rows = stage.open(ctx)(table(source_raw=list(files))).to_pylist()
    return [pixels(Image.open(io.BytesIO(row["source_images"][0]))) for row in rows], {
        k: n for k, n in ctx.notes.items() if n
    }


def pixels(image):
    return np.asarray(image.convert("RGB")).astype(int)


def opened_profile(profile):
    return ImageCms.ImageCmsProfile(io.BytesIO(profile))


def from_srgb(image, profile, mode="RGB"):
    """The sRGB image in the numbers of another profile."""
    return ImageCms.profileToProfile(image, SRGB, opened_profile(profile), 1, outputMode=mode)


def by_littlecms(image, profile):
    """The image's own numbers as LittleCMS makes them sRGB."""
    flags = ImageCms.Flags.BLACKPOINTCOMPENSATION
    return pixels(ImageCms.profileToProfile(image, opened_profile(profile), SRGB, 1, outputMode="RGB", flags=flags))


def muted(seed=7):
    """An image whose colours every profile here has."""
    return make_image(seed, SIZE).point(lambda value: 60 + value // 2)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_a_wide_gamut_image_comes_out_as_its_srgb_twin(image_format):
    image = muted()
    file = encoded(from_srgb(image, WIDE), image_format, icc_profile=WIDE, **EXACT.get(image_format, {}))
    (found,), notes = normalised(file)
    difference = np.abs(found - pixels(image))
    assert difference.max() <= (3 if image_format in ("PNG", "TIFF", "WEBP") else 9)
    assert difference.mean() < 1.5
    assert notes == {}


def test_colours_below_transparency_are_converted_before_the_white():
    image = muted()
    alpha = Image.linear_gradient("L").resize(SIZE)
    wide = from_srgb(image, WIDE)
    wide.putalpha(alpha)
    (found,), _ = normalised(encoded(wide, "PNG", icc_profile=WIDE))
    share = np.asarray(alpha)[..., None] / 255
    assert np.abs(found - (pixels(image) * share + 255 * (1 - share))).max() <= 4


def test_a_palette_has_its_colours_converted():
    wide = from_srgb(muted(), WIDE).quantize(200)
    (found,), _ = normalised(encoded(wide, "PNG", icc_profile=WIDE))
    assert np.abs(found - by_littlecms(wide.convert("RGB"), WIDE)).max() <= 1


def test_16_bit_images_have_their_profile_applied():
    image = from_srgb(muted(), WIDE)
    lines = b"".join(b"\0" + (line.astype(">u2") * 257).tobytes() for line in np.asarray(image))
    chunk = png_chunk(b"iCCP", b"wide\0\0" + zlib.compress(WIDE))
    (found,), _ = normalised(png_file(*SIZE, zlib.compress(lines), bit_depth=16, extra=chunk))
    assert np.abs(found - by_littlecms(image, WIDE)).max() <= 1
    deep = Image.fromarray(np.full((64, 90), 128 * 257, np.uint16))
    (found,), _ = normalised(encoded(deep, "PNG", icc_profile=grey_profile(1.0)))
    assert abs(found - 188).max() <= 1


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "TIFF"])
def test_linear_grey_is_brightened_as_its_profile_says(image_format):
    file = encoded(Image.new("L", SIZE, 55), image_format, icc_profile=grey_profile(1.0))
    (found,), notes = normalised(file)
    assert abs(found - 128).max() <= 2
    assert notes == {}


def test_grey_with_alpha_keeps_both_profile_and_alpha():
    file = encoded(Image.merge("LA", [Image.new("L", SIZE, 55), Image.new("L", SIZE, 128)]), "PNG",
                   icc_profile=grey_profile(1.0))  # fmt: skip
    (found,), _ = normalised(file)
    assert abs(found - (128 * 128 + 255 * 127) / 255).max() <= 2


def test_grey_under_a_profile_of_colours_stays_grey():
    (found,), notes = normalised(encoded(Image.new("L", SIZE, 55), "JPEG", icc_profile=rgb_profile(gamma=1.0)))
    assert abs(found - 128).max() <= 2
    assert notes == {}


@pytest.mark.parametrize("image_format", ["JPEG", "TIFF"])
def test_inks_are_mixed_as_their_profile_says(image_format):
    ink = Image.merge("CMYK", [*make_image(3, SIZE).split(), Image.new("L", SIZE, 20)])
    file = encoded(ink, image_format, icc_profile=ink_profile(), **EXACT.get(image_format, {}))
    (found,), notes = normalised(file)
    expected = by_littlecms(ink, ink_profile())
    assert np.abs(found - expected).mean() < 2
    assert np.abs(found - pixels(ink)).mean() > 10
    assert notes == {}


def test_an_image_in_lab_is_read_with_and_without_a_profile():
    image = muted()
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    file = encoded(ImageCms.profileToProfile(image, SRGB, lab, 1, outputMode="LAB"), "TIFF")
    with_profile = encoded(
        ImageCms.profileToProfile(image, SRGB, lab, 1, outputMode="LAB"), "TIFF", icc_profile=lab.tobytes()
    )
    found, _ = normalised(file, with_profile)
    for one in found:
        assert np.abs(one - pixels(image)).mean() < 2


def test_the_profile_of_srgb_changes_nothing():
    srgb = ImageCms.ImageCmsProfile(SRGB).tobytes()
    found, notes = normalised(jpeg(1, icc_profile=srgb), jpeg(1))
    assert (found[0] == found[1]).all()
    assert notes == {}


@pytest.mark.parametrize(
    "profile",
    [b"no profile at all", WIDE[:200], WIDE[:128] + bytes(len(WIDE) - 128), ink_profile(), WIDE + bytes(5_000_000)],
    ids=["text", "cut", "zeros", "of inks", "too large"],
)
def test_an_unreadable_profile_is_ignored_and_noted(profile):
    found, notes = normalised(jpeg(1, icc_profile=profile), jpeg(1))
    assert (found[0] == found[1]).all()
    assert notes == {UNREADABLE: 1}


@pytest.mark.parametrize("size", [1_000_000, 16_000_000])
@pytest.mark.parametrize("packs", [True, False])
def test_large_text_and_profile_chunks_do_not_reject_the_image(size, packs):
    noise = np.random.default_rng(0).bytes(size)
    content = bytes(size) if packs else noise
    text = png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(content, 1))
    itxt = png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(content, 1))
    profile = png_chunk(b"iCCP", b"p\0\0" + zlib.compress(content, 1))
    whole = encoded(make_image(1, SIZE), "PNG")
    found, notes = normalised(whole[:33] + text + itxt + profile + whole[33:], whole)
    assert (found[0] == found[1]).all()
    assert notes == {UNREADABLE: 1}


@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"gAMA", b"pHYs", b"eXIf", b"sRGB"])
def test_a_damaged_chunk_without_pixels_does_not_reject_the_image(kind):
    whole = encoded(make_image(1, SIZE), "PNG")
    for chunk in (png_chunk(kind, b""), png_chunk(kind, b"x\0\xff"), png_chunk(kind, b"k\0\0abc")[:-4] + b"\0\0\0\0"):
        found, _ = normalised(whole[:33] + chunk + whole[33:], whole)
        assert (found[0] == found[1]).all()


@pytest.mark.parametrize("image_format", ["JPEG", "PNG"])
def test_a_download_shrunk_on_arrival_is_in_srgb(image_format):
    image = muted().resize((360, 256))
    file = encoded(from_srgb(image, WIDE), image_format, icc_profile=WIDE, **EXACT.get(image_format, {}))
    kept = keep(file, ReadLaion(stored_side_px=64))
    plain = keep(encoded(image, image_format, **EXACT.get(image_format, {})), ReadLaion(stored_side_px=64))
    found, expected = (pixels(Image.open(io.BytesIO(one.data))) for one in (kept, plain))
    assert np.abs(found - expected).mean() < 2


def test_a_download_keeps_a_profile_that_cannot_be_read():
    kept = keep(jpeg(1, (300, 200), icc_profile=b"no profile at all"), ReadLaion(stored_side_px=64))
    assert normalised(kept.data)[1] == {UNREADABLE: 1}


@pytest.mark.parametrize("kind", [b"abst", b"link", b"nmcl"])
def test_a_profile_that_describes_no_images_numbers_is_unreadable(kind):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert conversion_of(srgb, "RGB") is not None
    assert conversion_of(srgb[:12] + kind + srgb[16:], "RGB") is None
