"""The one list of image formats, and how a file says that it is turned."""

import json
import re
from pathlib import Path

import pytest
from _inputs import encoded, jpeg, make_image, png_chunk, read_rows, sample, tar_of
from PIL import Image

from samples.image_limits import MAX_PIXELS, ImageProblem, Problem
from samples.images import IMAGE_SUFFIXES, SUFFIX_OF_FORMAT, decode_image
from stages.download.images import keep
from stages.normalise_image import NormaliseImage
from stages.read_image_folder import ReadImageFolder
from stages.read_laion import ReadLaion
from stages.read_webdataset import ReadWebdataset

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("suffix", IMAGE_SUFFIXES)
def test_tars_and_folders_take_the_same_suffixes(tmp_path, suffix):
    (tmp_path / "tars").mkdir()
    (tmp_path / "tars" / "a.tar").write_bytes(tar_of(*sample("k", jpeg(1), "a cat", suffix=suffix)))
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / f"k.{suffix}").write_bytes(jpeg(1))
    (tmp_path / "folder" / "metadata.jsonl").write_text(json.dumps({"file_name": f"k.{suffix}", "text": "a cat"}))
    for stage, place in ((ReadWebdataset(), "tars"), (ReadImageFolder(), "folder")):
        ((row,), _) = read_rows(stage, tmp_path / place)
        assert (row["source_raw"], row["reject_reason"]) == (jpeg(1), None)


@pytest.mark.parametrize("image_format", SUFFIX_OF_FORMAT)
def test_every_format_of_the_list_is_decoded_and_downloaded(image_format):
    file = encoded(make_image(1), image_format)
    assert decode_image(file).size == (96, 80)
    assert keep(file, ReadLaion()).suffix == SUFFIX_OF_FORMAT[image_format]
    assert SUFFIX_OF_FORMAT[image_format] in IMAGE_SUFFIXES


def test_there_is_one_default_limit():
    assert NormaliseImage().max_pixels == ReadLaion().max_pixels == MAX_PIXELS


XMP = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'


def test_an_image_turned_by_xmp_or_by_exif_of_a_png_is_upright():
    exif = Image.Exif()
    exif[0x0112] = 6
    whole = encoded(make_image(1), "PNG")
    text = png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP)
    turned = [encoded(make_image(1), "PNG", exif=exif), whole[:33] + text + whole[33:], jpeg(1, xmp=XMP)]
    assert [decode_image(file).size for file in turned] == [(80, 96)] * 3


def test_bytes_that_are_no_image_have_one_exception():
    for data, reason in ((b"", Problem.UNDECODABLE), (jpeg(1)[:900], Problem.TRUNCATED)):
        with pytest.raises(ImageProblem) as caught:
            decode_image(data)
        assert caught.value.reason == reason


@pytest.mark.parametrize("room", ["stages", "trainer", "evaluation", "export", "models", "cli"])
def test_images_are_decoded_by_samples_alone(room):
    sources = {path: path.read_text(encoding="utf-8") for path in (ROOT / room).rglob("*.py")}
    assert sources
    assert [path for path, source in sources.items() if re.search(r"\b(Image|Pillow)\.open\(", source)] == []
