"""Images in healthy tars: of every format, valid in odd ways, or damaged. Each is an output or a reject."""

import struct
import zlib
from functools import cache

import numpy as np
from _inputs import make_image, png_chunk, png_file, sample, tar_of
from fuzz.cases import CAPTION, image_bytes, jpeg_of, mutated, write_manifest
from PIL import Image, ImageCms, features

SIDES = (0, 1, 31, 65_535, 10_000, 9_999, 16_384)
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", *(["AVIF"] if features.check("avif") else []))
SUFFIX = {"JPEG": "jpg", "PNG": "png", "GIF": "gif", "WEBP": "webp", "TIFF": "tif", "BMP": "bmp", "AVIF": "avif"}
MODES = {"JPEG": ("RGB", "L", "CMYK"), "PNG": ("RGB", "L", "P", "RGBA", "LA", "1", "I;16"), "GIF": ("P", "L"),
         "WEBP": ("RGB", "RGBA"), "TIFF": ("RGB", "L", "CMYK", "1", "I;16", "F", "LAB"), "BMP": ("RGB", "L", "P", "1"),
         "AVIF": ("RGB", "RGBA")}  # fmt: skip
OPTIONS = {"JPEG": ({}, {"progressive": True}, {"quality": 1}, {"optimize": True}), "PNG": ({}, {"compress_level": 0}),
           "TIFF": ({}, {"compression": "tiff_lzw"}, {"compression": "tiff_deflate"}, {"compression": "packbits"}),
           "WEBP": ({}, {"lossless": True})}  # fmt: skip
NEAR_LIMIT = ((9_999, 10_000), (7_000, 7_000), (4_000, 4_000))


@cache
def profiles():
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    return srgb, lab


def healthy(rng, number):
    """(bytes, format) of a valid image of Pillow in a random format, mode and set of options."""
    image_format = rng.choice(FORMATS)
    mode = rng.choice(MODES[image_format])
    options = dict(rng.choice(OPTIONS.get(image_format, ({},))))
    if image_format in ("JPEG", "PNG", "WEBP", "TIFF") and rng.random() < 0.5:
        profile = rng.choice(profiles())
        options["icc_profile"] = rng.choice((profile, profile[:200], mutated(rng, profile)[0], b"", rng.randbytes(300)))
    if image_format in ("JPEG", "PNG", "WEBP") and rng.random() < 0.5:
        exif = Image.Exif()
        exif[0x0112] = rng.choice((1, 2, 3, 5, 6, 8, 0, 9, 65_535))
        options["exif"] = exif.tobytes()
    return image_bytes(in_mode(make_image(number), mode), image_format, **options), image_format


def in_mode(image, mode):
    if mode == "I;16":
        return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    if mode == "LAB":
        return ImageCms.applyTransform(
            image, ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
        )
    return image.convert(mode)


def big_text(rng, number):
    """A valid PNG with a text or profile chunk of up to 12 MB."""
    raw = image_bytes(make_image(number), "PNG")
    size = rng.choice((1000, 70_000, 1_100_000, 12_000_000))
    kind, body = rng.choice((
        (b"zTXt", b"k\0\0" + zlib.compress(bytes(size))), (b"tEXt", b"k\0" + b"x" * size),
        (b"iTXt", b"k\0\1\0\0\0" + zlib.compress(b"x" * size)), (b"iCCP", b"k\0\0" + zlib.compress(bytes(size))),
        (b"eXIf", bytes(size)),
    ))  # fmt: skip
    chunks = png_chunk(kind, body) * (rng.choice((1, 1, 40)) if size < 10**5 else 1)
    return raw[:33] + chunks + raw[33:]


def many_scans(rng, number):
    """A progressive JPEG whose last scan comes many times over."""
    raw = image_bytes(make_image(number, rng.choice(((96, 80), (96, 80), (800, 600)))), "JPEG", progressive=True)
    last = raw.rindex(b"\xff\xda")
    return raw[:-2] + raw[last:-2] * rng.choice((10, 90, 1000, 4000)) + raw[-2:]


def huge_sides(rng, number):
    """An image whose header claims other sides than it has data for."""
    width, height = rng.choice(SIDES), rng.choice(SIDES)
    image_format = rng.choice(("PNG", "GIF", "BMP", "JPEG"))
    if image_format == "PNG":
        return png_file(
            width,
            height,
            zlib.compress(bytes(1000)),
            bit_depth=rng.choice((1, 8, 16)),
            colour_type=rng.choice((0, 2, 3, 6)),
        )
    raw = bytearray(image_bytes(make_image(number), image_format))
    at, form = {"GIF": (6, "<HH"), "BMP": (18, "<ii"), "JPEG": (raw.find(b"\xff\xc0") + 5, ">HH")}[image_format]
    struct.pack_into(form, raw, at, *((height, width) if image_format == "JPEG" else (width, height)))
    return bytes(raw)


@cache
def under_the_limit(side, colour_type, bit_depth):
    """A whole PNG of one colour with about as many pixels as are allowed."""
    width, height = NEAR_LIMIT[side]
    row = bytes(1 + (width * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour_type] * bit_depth + 7) // 8)
    pack = zlib.compressobj(1)
    body = b"".join(pack.compress(row) for _ in range(height)) + pack.flush()
    palette = png_chunk(b"PLTE", bytes(768)) + png_chunk(b"tRNS", bytes(9)) if colour_type == 3 else b""
    return png_file(width, height, body, bit_depth=bit_depth, colour_type=colour_type, extra=palette)


def near_limit(rng, number):
    return under_the_limit(rng.randrange(3), rng.choice((0, 2, 3, 4, 6)), rng.choice((8, 8, 16)))


def animation(rng, number):
    frames = [make_image(number + 100 * n) for n in range(rng.choice((2, 3, 300)))]
    return image_bytes(
        frames[0], rng.choice(("GIF", "WEBP", "PNG")), save_all=True, append_images=frames[1:3] * (len(frames) // 2)
    )


def bad_chunk(rng, number):
    """A PNG one of whose chunks has another length, kind or checksum."""
    raw = bytearray(image_bytes(make_image(number), "PNG"))
    at = rng.choice((8, 33, raw.find(b"IDAT") - 4))
    struct.pack_into(">I", raw, at, rng.choice((0, 1, 2**31 - 1, 2**31, 2**32 - 1, 100_000)))
    return bytes(raw)


def trailing(rng, number):
    return jpeg_of(number) + rng.choice((bytes(5000), rng.randbytes(70_000), jpeg_of(number + 1), b"PK\3\4"))


def damaged(rng, number):
    raw, _ = healthy(rng, number)
    for _ in range(rng.randint(1, 3)):
        raw = mutated(rng, raw)[0] or b"\xff"
    return raw


def in_other_clothes(rng, number):
    heads = (
        b"<svg xmlns='http://www.w3.org/2000/svg' width='96' height='80'/>", b"%!PS-Adobe-3.0 EPSF-3.0\n",
        b"%PDF-1.7", b"\0\0\1\0\1\0", b"qoif", b"P6 96 80 255\n", b"8BPS\0\1", b"\0\0\0\x0cjP  \r\n\x87\n",
        b"SIMPLE  =", b"FLC", b"",
    )  # fmt: skip
    return rng.choice(heads) + rng.randbytes(rng.choice((0, 100, 30_000)))


BAD = (damaged,) * 8 + (huge_sides, huge_sides, bad_chunk, bad_chunk, in_other_clothes, animation)
VALID = (big_text, trailing)
RARE = (many_scans, near_limit)


def make(rng, folder, case):
    """A tar of images. Healthy ones must be kept, others at least accounted for."""
    write_manifest(folder, 'use = "read_webdataset"')
    members = []
    for number in range(rng.randint(4, 14)):
        key, dice, image_number = f"i{number:05d}", rng.random(), 50 + number
        if dice < 0.4:
            raw, image_format = healthy(rng, image_number)
            case.kept.append(key)
        else:
            make_one = rng.choice(RARE) if dice > 0.99 else rng.choice(VALID if dice < 0.5 else BAD)
            raw, image_format = make_one(rng, image_number), rng.choice(FORMATS)
            case.what.append(f"{key}: {make_one.__name__}")
            (case.kept if make_one in VALID else case.accounted).append(key)
        members += sample(key, raw, CAPTION, suffix=SUFFIX[image_format])
    case.num_rows = len(case.kept) + len(case.accounted)
    (folder / "in/images.tar").write_bytes(tar_of(*members))
