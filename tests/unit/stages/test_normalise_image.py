"""Pixels, sizes and rejects of normalise_image against the upright original, img2dataset's rules and imagehash."""

import io
import struct
import warnings
import zlib

import imagehash
import numpy as np
import pytest
from _inputs import apply, encoded, jpeg, make_image, png_chunk, png_file, table
from PIL import Image

from samples.images import open_image
from samples.pixels import to_rgb
from stages.normalise_image import ImageReject, NormaliseImage

SIDE = 64


def stage(**options):
    """Settings under which an image of SIDE pixels keeps its pixels exactly."""
    return NormaliseImage(**{"shorter_side_px": SIDE, "min_side_px": 8, "format": "png", "upscale": False, **options})


def normalise(*files, **options):
    return apply(stage(**options), table(source_raw=list(files)))


def only(file, **options):
    """The row of one image, which must be kept, and its image."""
    (row,) = normalise(file, **options)
    assert row["reject_reason"] is None, row["reject_detail"]
    (source,) = row["source_images"]
    image = Image.open(io.BytesIO(source))
    assert (image.mode, image.size) == ("RGB", (row["width_px"], row["height_px"]))
    return row, image


def pixels(image):
    return np.asarray(image.convert("RGB")).astype(int)


def reject(file, **options):
    (row,) = normalise(file, **options)
    assert row["source_images"] is None
    return row["reject_reason"], row["reject_detail"]


def oriented(image, orientation, image_format, **options):
    """A file whose stored pixels need the EXIF orientation to look like `image`."""
    stored = {
        1: lambda im: im,
        2: lambda im: im.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        3: lambda im: im.rotate(180),
        4: lambda im: im.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        5: lambda im: im.transpose(Image.Transpose.FLIP_LEFT_RIGHT).rotate(90, expand=True),
        6: lambda im: im.rotate(90, expand=True),
        7: lambda im: im.transpose(Image.Transpose.FLIP_LEFT_RIGHT).rotate(-90, expand=True),
        8: lambda im: im.rotate(-90, expand=True),
    }[orientation](image)
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(stored, image_format, exif=exif, **options)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "WEBP", "TIFF", "MPO"])
def test_every_exif_orientation_comes_out_upright(orientation, image_format):
    upright = make_image(3, (90, SIDE))
    options = {"PNG": {}, "TIFF": {}, "WEBP": {"lossless": True}}.get(image_format, {"quality": 100, "subsampling": 0})
    row, image = only(oriented(upright, orientation, image_format, **options))
    assert (row["original_width_px"], row["original_height_px"]) == (90, SIDE)
    difference = np.abs(pixels(image) - pixels(upright))
    assert difference.max() <= (0 if image_format in ("PNG", "TIFF", "WEBP") else 6)


@pytest.mark.parametrize(
    "exif", [b"", b"garbage", b"II*\0", b"II*\0\xff\xff\xff\x7f", b"II*\0\x08\0\0\0\xff\xff\x12\x01\x03\0"]
)
def test_damaged_exif_costs_no_image_and_no_warning(exif):
    image = make_image(1)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        row, _ = only(encoded(image, "JPEG", exif=b"Exif\0\0" + exif))
    assert (row["width_px"], row["original_format"], seen) == (77, "JPEG", [])


def test_cmyk_and_adobe_inverted_cmyk_are_the_same_image():
    ink = np.zeros((SIDE, 80, 4), np.uint8)
    ink[:, :20, 0], ink[:, 20:40, 1], ink[:, 40:60, 2], ink[:, 60:, 3] = 255, 255, 255, 255
    expected = np.zeros((SIDE, 80, 3), int)
    expected[:, :20], expected[:, 20:40], expected[:, 40:60] = (0, 255, 255), (255, 0, 255), (255, 255, 0)
    as_found = Image.fromarray(ink, "CMYK")
    inner = np.ones(80, bool)
    inner[[18, 19, 20, 21, 38, 39, 40, 41, 58, 59, 60, 61]] = False  # ringing at the edges
    plain = encoded(as_found, "TIFF")
    inverted = encoded(as_found, "JPEG", quality=100, subsampling=0)  # Pillow writes the Adobe form
    assert b"Adobe" in inverted[:200]
    for file, tolerance in ((plain, 0), (inverted, 12), (_without_adobe(inverted), 12)):
        _, image = only(file)
        assert np.abs(pixels(image) - expected)[:, inner].max() <= tolerance


def _without_adobe(file):
    """The same JPEG without its Adobe segment: Pillow takes it, as Skia does, for inverted all the same."""
    at = file.index(b"\xff\xee")
    return file[:at] + file[at + 2 + int.from_bytes(file[at + 2 : at + 4], "big") :]


def deep_values():
    values = np.random.default_rng(0).integers(0, 65536, (SIDE, 70), dtype=np.uint16)
    values[0, :6] = [0, 255, 256, 511, 65279, 65535]
    return values


def test_16_bit_grey_keeps_its_upper_8_bits():
    values = deep_values()
    for file in (
        encoded(Image.fromarray(values), "PNG"),
        encoded(Image.fromarray(values.astype(">u2")), "TIFF"),
        encoded(Image.fromarray(values.astype(np.int32)), "TIFF"),
        b"P5 70 64 65535\n" + values.astype(">u2").tobytes(),
    ):
        _, image = only(file)
        assert (pixels(image) == (values >> 8)[:, :, None]).all()


def test_a_dark_16_bit_png_stays_dark():
    _, image = only(encoded(Image.fromarray(np.full((SIDE, SIDE), 200, np.uint16)), "PNG"))
    assert pixels(image).max() == 0


def test_16_bit_rgb_keeps_its_upper_8_bits():
    values = np.random.default_rng(1).integers(0, 65536, (SIDE, 70, 3), dtype=np.uint16)
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in values)
    _, image = only(png_file(70, SIDE, zlib.compress(lines), bit_depth=16))
    assert (pixels(image) == values >> 8).all()


def test_a_palette_with_transparency_lies_over_white():
    image = Image.new("P", (SIDE, SIDE))
    image.putpalette([255, 0, 0, 0, 0, 255, 10, 20, 30, 200, 100, 0])
    image.paste(1, (16, 0, 32, SIDE))
    image.paste(2, (32, 0, 48, SIDE))
    image.paste(3, (48, 0, 64, SIDE))
    _, made = only(encoded(image, "PNG", transparency=bytes([255, 0, 255, 128])))
    row = [tuple(p) for p in pixels(made)[5, [0, 20, 40, 60]]]
    half = tuple((value * 128 + 255 * 127 + 127) // 255 for value in (200, 100, 0))
    assert row == [(255, 0, 0), (255, 255, 255), (10, 20, 30), half]


def test_alpha_lies_over_white():
    rgba = np.random.default_rng(2).integers(0, 256, (SIDE, 70, 4), dtype=np.uint8)
    colour, alpha = rgba[..., :3].astype(float), rgba[..., 3:] / 255
    _, made = only(encoded(Image.fromarray(rgba), "PNG"))
    assert np.abs(pixels(made) - (colour * alpha + 255 * (1 - alpha))).max() <= 1
    grey = rgba[..., [0, 3]]
    _, made = only(encoded(Image.fromarray(grey, "LA"), "PNG"))
    assert np.abs(pixels(made) - (colour[..., :1] * alpha + 255 * (1 - alpha))).max() <= 1


@pytest.mark.parametrize(
    ("mode", "value", "transparency", "expected"),
    [("RGB", (9, 8, 7), (9, 8, 7), 255), ("L", 7, 7, 255), ("L", 7, 8, 7), ("1", 0, 0, 255), ("1", 0, 1, 0)],
)
def test_one_transparent_colour_is_white(mode, value, transparency, expected):
    _, made = only(encoded(Image.new(mode, (SIDE, SIDE), value), "PNG", transparency=transparency))
    assert pixels(made).min() == pixels(made).max() == expected


@pytest.mark.parametrize(
    "mode", ["1", "L", "P", "LA", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "I", "F", "I;16", "I;16B"]
)
def test_every_mode_becomes_rgb(mode):
    made = to_rgb(Image.new(mode, (9, 9)))
    assert (made.mode, made.size) == ("RGB", (9, 9))


def test_small_integers_and_floats_keep_their_values_and_are_clipped():
    whole = Image.fromarray(np.array([[0, 1, 254, 255, -5]], np.int32))
    assert np.asarray(to_rgb(whole))[0, :, 0].tolist() == [0, 1, 254, 255, 0]
    floats = Image.fromarray(np.array([[-5, 0, 1.5, 254.7, 300, np.inf]], np.float32))
    assert np.asarray(to_rgb(floats))[0, :, 0].tolist() == [0, 0, 1, 254, 255, 255]


def img2dataset_size(width, height, side, mode):
    """Size by img2dataset's resizer: albumentations' smallest_max_size, center_crop and longest_max_size with pad."""
    if mode == "keep_ratio":
        scale = side / min(width, height)
        return tuple(max(1, round(length * scale)) for length in (width, height))
    return side, side


@pytest.mark.parametrize("size", [(1000, 700), (700, 1000), (333, 500), (64, 64), (70, 180), (97, 89), (3000, 1001)])
@pytest.mark.parametrize("fit", ["keep_ratio", "center_crop", "pad"])
@pytest.mark.parametrize("image_format", ["PNG", "JPEG"])
def test_sizes_are_those_of_img2dataset(size, fit, image_format):
    file = encoded(make_image(1, size), image_format)
    for side in (48, 128):
        row, _ = only(file, fit=fit, upscale=True, shorter_side_px=side)
        assert (row["width_px"], row["height_px"]) == img2dataset_size(*size, side, fit)
        assert (row["original_width_px"], row["original_height_px"]) == size


@pytest.mark.parametrize(
    ("fit", "size", "expected"),
    [
        ("keep_ratio", (100, 80), (100, 80)), ("center_crop", (100, 80), (80, 80)), ("pad", (100, 80), (100, 100)),
        ("keep_ratio", (400, 200), (256, 128)), ("center_crop", (400, 200), (128, 128)),
        ("pad", (400, 200), (128, 128)),
    ],
)  # fmt: skip
def test_without_upscale_small_images_keep_their_scale(fit, size, expected):
    row, _ = only(encoded(make_image(1, size), "PNG"), fit=fit, shorter_side_px=128)
    assert (row["width_px"], row["height_px"]) == expected


def test_an_image_at_its_size_keeps_its_pixels():
    image = make_image(4, (100, SIDE))
    assert (pixels(only(encoded(image, "PNG"))[1]) == pixels(image)).all()


def test_center_crop_keeps_the_middle_and_pad_adds_white_bars():
    image = Image.new("RGB", (128, SIDE), "red")
    image.paste("blue", (32, 0, 96, SIDE))
    assert (pixels(only(encoded(image, "PNG"), fit="center_crop")[1]) == (0, 0, 255)).all()
    padded = pixels(only(encoded(image, "PNG"), fit="pad")[1])
    assert (padded[:15] == 255).all()
    assert (padded[-15:] == 255).all()
    assert (padded[20:44, 20:44] == (0, 0, 255)).all()


@pytest.mark.parametrize("size", [(1600, 1200), (999, 1000)])
def test_a_jpeg_decoded_at_reduced_scale_looks_like_one_decoded_in_full(size, monkeypatch):
    file = jpeg(5, size, quality=95)
    _, reduced = only(file)
    monkeypatch.setattr(Image.Image, "draft", lambda *args: None)
    monkeypatch.setattr("PIL.JpegImagePlugin.JpegImageFile.draft", lambda *args: None)
    _, full = only(file)
    assert reduced.size == full.size
    difference = np.abs(pixels(reduced) - pixels(full))
    assert difference.max() <= 16
    assert difference.mean() < 1.5


@pytest.mark.parametrize(("size", "scale"), [((300, 200), 2), ((520, 260), 4), ((130, 128), 2), ((126, 127), 1)])
def test_reduced_jpegs_are_what_the_decoder_makes_at_the_least_scale(size, scale):
    file = jpeg(5, size, quality=95)
    small = Image.open(io.BytesIO(file))
    small.draft(None, (size[0] // scale, size[1] // scale))
    small.load()
    assert small.size == (-(-size[0] // scale), -(-size[1] // scale))
    row, found = only(file, shorter_side_px=64, reduced_jpegs=True, format="png", max_aspect_ratio=9)
    side = (row["width_px"], row["height_px"])
    assert (row["original_width_px"], row["original_height_px"]) == size
    assert (pixels(found) == pixels(small.resize(side, Image.Resampling.BICUBIC))).all()


def test_reduced_jpegs_are_never_smaller_than_the_side():
    side = 48
    for short in [number * side + more for number in (1, 2, 4, 8) for more in range(-9, 3)]:  # 94 px is a close case
        file = jpeg(1, (short, short + 3))
        assert min(open_image(file).load(side, oversampling=1).size) >= min(side, short), short


def test_a_nearly_square_jpeg_on_its_side_keeps_its_original_size():
    row, _ = only(oriented(make_image(1, (999, 1000)), 6, "JPEG"), shorter_side_px=32)
    assert (row["original_width_px"], row["original_height_px"]) == (999, 1000)


FRAMES = [make_image(n, (80, SIDE)) for n in (1, 2, 3)]
ANIMATED = {
    "GIF": {},
    "WEBP": {"lossless": True},
    "PNG": {},
}


@pytest.mark.parametrize("image_format", ANIMATED)
def test_an_animation_gives_its_first_frame_or_is_rejected(image_format):
    options = {"save_all": True, "append_images": FRAMES[1:], **ANIMATED[image_format]}
    file = encoded(FRAMES[0], image_format, **options)
    assert reject(file, animated="reject") == ("animated", "3 frames")
    _, first = only(file, animated="first")
    still = encoded(FRAMES[0], image_format, **ANIMATED[image_format])
    assert (pixels(first) == pixels(only(still)[1])).all()
    if image_format != "GIF":  # its palette is not exact
        assert (pixels(first) == pixels(FRAMES[0])).all()


@pytest.mark.parametrize("image_format", ["MPO", "TIFF", "ICO"])
def test_pages_and_previews_are_no_animation(image_format):
    options = {"ICO": {"sizes": [(64, 64), (16, 16)]}}.get(
        image_format, {"save_all": True, "append_images": [frame.copy() for frame in FRAMES[1:]]}
    )
    row, _ = only(encoded(make_image(1, (80, 80)), image_format, **options))
    assert row["original_format"] == image_format


def test_dhash_is_that_of_imagehash():
    for seed in range(20):
        row, image = only(encoded(make_image(seed, (200, 150)), "PNG"))
        assert f"{row['source_dhash']:016x}" == str(imagehash.dhash(image))


@pytest.mark.parametrize(("name", "pillow"), [("jpg", "JPEG"), ("png", "PNG"), ("webp", "WEBP")])
def test_output_has_its_format_and_no_metadata_of_the_input(name, pillow):
    exif = Image.Exif()
    exif[0x010E] = "secret"
    file = encoded(make_image(1), "JPEG", comment=b"secret", exif=exif, icc_profile=b"secret profile")
    row, _ = only(file, format=name)
    assert row["source_format"] == name
    assert b"secret" not in row["source_images"][0]
    assert Image.open(io.BytesIO(row["source_images"][0])).format == pillow
    transparent = encoded(Image.new("RGB", (SIDE, SIDE), "red"), "PNG", transparency=(255, 0, 0))
    assert "transparency" not in Image.open(io.BytesIO(only(transparent, format=name)[0]["source_images"][0])).info


def test_quality_is_that_asked_for():
    sizes = [len(only(jpeg(1), format="jpg", quality=q)[0]["source_images"][0]) for q in (30, 95)]
    assert sizes[0] < sizes[1]


def cut(file, share=0.6):
    return file[: int(len(file) * share)]


@pytest.mark.parametrize(
    ("file", "options", "reason", "detail"),
    [
        (b"", {}, ImageReject.UNDECODABLE, "no image format that is read"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", {}, ImageReject.UNDECODABLE, "no image format that is read"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n", {}, ImageReject.UNDECODABLE, "no image format"),
        (jpeg(1)[:50], {}, ImageReject.UNDECODABLE, ""),
        (cut(jpeg(1)), {}, ImageReject.TRUNCATED, "image file is truncated"),
        (cut(encoded(make_image(1), "PNG")), {}, ImageReject.TRUNCATED, "truncated"),
        (cut(encoded(make_image(1), "GIF")), {}, ImageReject.TRUNCATED, "truncated"),
        (cut(encoded(make_image(1), "BMP")), {}, ImageReject.TRUNCATED, "truncated"),
        (encoded(make_image(1, (100, 7)), "PNG"), {}, ImageReject.TOO_SMALL, "100 x 7 px, less than 8 px"),
        (encoded(make_image(1, (100, 33)), "PNG"), {}, ImageReject.ASPECT_RATIO, "100 x 33 px, more than 3 to 1"),
        (encoded(make_image(1, (33, 100)), "PNG"), {}, ImageReject.ASPECT_RATIO, "33 x 100 px, more than 3 to 1"),
        (jpeg(1, (100, 90)), {"max_pixels": 8999}, ImageReject.PIXEL_BOMB, "100 x 90 px, more than 8999 pixels"),
        (encoded(FRAMES[0], "GIF", save_all=True, append_images=FRAMES[1:]), {}, ImageReject.ANIMATED, "3 frames"),
    ],
)  # fmt: skip
def test_an_image_of_no_use_has_its_reason(file, options, reason, detail):
    found = reject(file, **options)
    assert found[0] == reason
    assert detail in found[1]


def test_limits_are_inclusive():
    only(encoded(make_image(1, (99, 33)), "PNG"), min_side_px=33, max_pixels=99 * 33)


BLACK_GIGAPIXEL_ROW = b"\0" * (60_000 * 3 + 1)


@pytest.mark.timeout(30)
def test_a_header_of_3_6_gigapixels_is_refused_before_any_pixel_is_decoded():
    reason, detail = reject(png_file(60_000, 60_000, zlib.compress(BLACK_GIGAPIXEL_ROW)))
    assert reason == "pixel_bomb"
    assert "3600000000 pixels" in detail


@pytest.mark.timeout(30)
def test_a_bomb_inside_an_icon_is_refused():
    inner = png_file(60_000, 60_000, zlib.compress(BLACK_GIGAPIXEL_ROW))
    directory = struct.pack("<HHHBBBBHHII", 0, 1, 1, 64, 64, 0, 0, 1, 32, len(inner), 22)
    assert reject(directory + inner)[0] == "pixel_bomb"


def test_an_icon_whose_header_lies_about_its_size_is_measured():
    inner = encoded(make_image(1, (100, 90)), "PNG")
    directory = struct.pack("<HHHBBBBHHII", 0, 1, 1, 16, 16, 0, 0, 1, 32, len(inner), 22)
    row, _ = only(directory + inner)
    assert (row["original_width_px"], row["original_height_px"]) == (100, 90)
    assert reject(directory + inner, max_pixels=5000)[0] == "pixel_bomb"


@pytest.mark.timeout(30)
def test_a_compressed_text_chunk_is_not_unpacked_without_end():
    bomb = png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(300_000_000), 9))
    whole = encoded(make_image(1), "PNG")
    assert len(bomb) < 400_000
    assert (pixels(only(whole[:33] + bomb + whole[33:])[1]) == pixels(only(whole)[1])).all()


@pytest.mark.timeout(30)
def test_pixel_data_that_unpacks_to_far_more_than_the_image_is_harmless():
    lines = bytes((SIDE * 3 + 1) * SIDE) + bytes(100_000_000)
    row, _ = only(png_file(SIDE, SIDE, zlib.compress(lines, 9)))
    assert row["width_px"] == SIDE


def test_no_damage_raises():
    rng = np.random.default_rng(3)
    options = {"save_all": True, "append_images": FRAMES[1:]}
    seeds = [
        jpeg(1), jpeg(1, progressive=True), encoded(FRAMES[0], "GIF", **options), encoded(FRAMES[0], "PNG"),
        encoded(FRAMES[0], "PNG", **options), encoded(FRAMES[0], "WEBP", **options), encoded(FRAMES[0], "BMP"),
        encoded(make_image(1, (64, 64)), "ICO"), encoded(FRAMES[0], "TGA"), encoded(FRAMES[0], "PCX"),
    ]  # fmt: skip
    files = []
    for number in range(400):
        file = bytearray(seeds[number % len(seeds)])
        for at in rng.integers(0, min(len(file), int(rng.choice([32, 200, len(file)]))), 5):
            file[at] = rng.integers(0, 256)
        files.append(bytes(file))
    rows = normalise(*files, animated="first") + normalise(*files, animated="reject")
    allowed = {None, *(r.value for r in ImageReject)}
    assert {r["reject_reason"] for r in rows} <= allowed
    assert all((r["source_images"] is None) == (r["reject_reason"] is not None) for r in rows)


def test_a_gif_whose_second_frame_is_cut_is_a_reject():
    file = encoded(FRAMES[0], "GIF", save_all=True, append_images=FRAMES[1:])
    for length in range(len(file) - 4000, len(file), 37):
        (row,) = normalise(file[:length])
        assert row["reject_reason"] in ("animated", "undecodable", "truncated")


def test_rows_keep_their_order_and_an_empty_batch_stays_empty():
    rows = normalise(jpeg(1), b"x", jpeg(2))
    assert [r["reject_reason"] for r in rows] == [None, "undecodable", None]
    assert rows[0]["source_dhash"] != rows[2]["source_dhash"]
    assert normalise() == []
