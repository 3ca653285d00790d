import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from _profiles import rgb_profile
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from core.errors import EvaluationError
from evaluation.images import (
    ParquetCell,
    existing,
    inside,
    open_mask,
    open_rgb,
    png_texts,
    read_bytes,
    save_png,
    sha256_of,
)

RED = Image.new("RGB", (6, 4), (255, 0, 0))
MASK = np.zeros((4, 6), bool)
MASK[1:3, 2:] = True


def stored(image, **settings):
    buffer = io.BytesIO()
    image.save(buffer, settings.pop("format", "PNG"), **settings)
    return buffer.getvalue()


def refusal(call, *arguments):
    with pytest.raises(EvaluationError) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_image_is_a_file_bytes_or_a_cell(tmp_path):
    (tmp_path / "a.png").write_bytes(stored(RED))
    table = pa.table(
        {"plain": [stored(RED)], "struct": [{"bytes": stored(RED), "path": "x"}], "none": pa.array([None])}
    )
    pq.write_table(table, tmp_path / "t.parquet")
    cells = [ParquetCell(tmp_path / "t.parquet", 0, 0, name) for name in ("plain", "struct")]
    for stored_ in (tmp_path / "a.png", stored(RED), *cells):
        assert np.asarray(open_rgb(stored_)).tolist() == np.asarray(RED).tolist()
        assert sha256_of(stored_) == sha256_of(stored(RED))
    assert "row group 0 row 0 column none holds no bytes of an image" in refusal(
        read_bytes, ParquetCell(tmp_path / "t.parquet", 0, 0, "none")
    )


def test_images_come_in_rgb_and_upright():
    assert open_rgb(stored(RED.convert("L"))).mode == "RGB"
    assert open_rgb(stored(RED.convert("RGBA"))).mode == "RGB"
    exif = Image.Exif()
    exif[0x0112] = 6  # taken with the camera on its side
    assert open_rgb(stored(RED, format="JPEG", exif=exif)).size == (4, 6)


def test_what_is_no_image_is_named(tmp_path):
    (tmp_path / "a.png").write_bytes(stored(RED)[:40])
    assert refusal(open_rgb, tmp_path / "a.png").startswith(f"image {tmp_path / 'a.png'} cannot be read as one (")
    assert "no such file" in refusal(open_rgb, tmp_path / "b.png").lower()
    assert refusal(open_rgb, b"text").startswith("image of 4 bytes cannot be read as one (")


def test_a_mask_is_white_or_transparent_where_the_image_may_change():
    white = Image.fromarray(MASK.astype(np.uint8) * 255)
    clear = RED.convert("RGBA")
    clear.putalpha(Image.fromarray(np.where(MASK, 0, 255).astype(np.uint8)))
    palette = Image.fromarray(np.where(MASK, 1, 0).astype(np.uint8), "P")
    palette.putpalette([9, 9, 9, 200, 200, 200])
    for image, settings in ((white, {}), (white.convert("1"), {}), (clear, {}), (palette, {"transparency": 1})):
        np.testing.assert_array_equal(open_mask(stored(image, **settings), (6, 4)), MASK)
    for mode in ("RGBA", "LA"):  # opaque, as paint programs save what is black and white
        np.testing.assert_array_equal(open_mask(stored(white.convert(mode)), (6, 4)), MASK)
    assert not open_mask(
        stored(Image.new("RGBA", (6, 4), (90, 120, 90, 255))), (6, 4)
    ).any()  # nothing made transparent
    square = Image.fromarray(np.kron(MASK, np.ones((16, 16))).astype(np.uint8) * 255)
    assert (open_mask(stored(square, format="JPEG"), square.size) == np.kron(MASK, np.ones((16, 16)))).all()


def test_a_mask_of_another_size_or_a_photo_is_refused():
    white = Image.fromarray(MASK.astype(np.uint8) * 255)
    assert "is 6 x 4 pixels, its image 4 x 6; expected the same size" in refusal(open_mask, stored(white), (4, 6))
    grey = Image.new("L", (6, 4), 100)
    assert "is neither black and white nor partly transparent" in refusal(open_mask, stored(grey), (6, 4))


@pytest.mark.parametrize(
    "name",
    [
        "../a.png",
        "b/../../a.png",
        "/etc/passwd",
        "C:\\a.png",
        "..\\a.png",
        "C:a.png",
        "",
        " ",
        ".",
        "a\0b",
        None,
        7,
        ["a"],
    ],
)
def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path, name):
    message = refusal(inside, tmp_path, name, "cases.jsonl line 3")
    assert message == f"cases.jsonl line 3 names {name!r}; expected the name of a file below {tmp_path}"


def test_a_name_below_the_folder_is_taken(tmp_path):
    assert inside(tmp_path, "images/a..b.png", "x") == tmp_path / "images" / "a..b.png"
    assert refusal(existing, tmp_path, "a.png", "line 1") == (
        f"line 1 names 'a.png', and {tmp_path / 'a.png'} is not there; put it there or remove the entry"
    )


def test_a_png_is_written_whole_with_its_texts(tmp_path):
    path = tmp_path / "deep" / "a.png"
    save_png(RED, path, {"editloom": "é"})
    assert png_texts(path) == {"editloom": "é"}
    assert [file.name for file in path.parent.iterdir()] == ["a.png"]
    (tmp_path / "a.jpg").write_bytes(stored(RED, format="JPEG"))
    assert png_texts(tmp_path / "a.jpg") == {}


def test_an_image_is_read_in_srgb_and_its_transparent_parts_white():
    wide = rgb_profile()
    image = ImageCms.profileToProfile(
        Image.new("RGB", (6, 4), (200, 40, 30)),
        ImageCms.createProfile("sRGB"),
        ImageCms.ImageCmsProfile(io.BytesIO(wide)),
        1,
    )
    found = np.asarray(open_rgb(stored(image, icc_profile=wide)), int)
    assert abs(found - (200, 40, 30)).max() <= 3
    assert open_rgb(stored(Image.new("RGBA", (6, 4), (0, 0, 0, 0)))).getpixel((0, 0)) == (255, 255, 255)


def test_large_text_does_not_cost_an_image():
    text = PngInfo()
    text.add_text("Comment", "x" * 3_000_000, zip=True)
    assert open_rgb(stored(RED, pnginfo=text)).size == (6, 4)
