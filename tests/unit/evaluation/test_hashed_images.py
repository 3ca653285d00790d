"""Lists of hashes from folders, Parquet files, finished datasets and benchmarks, with files that give no image."""

import io
import json
import struct
import zlib

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from _checkpoints import make_image
from _datasets import write_dataset
from PIL import Image, ImageOps

from core.errors import EvaluationError, UsageError
from evaluation import hashed_images
from evaluation.hashed_images import FLAT, UNREADABLE, write_list
from models.hash_lists import read_hash_list
from samples.perceptual_hashes import image_hash


def encoded(image, kind="PNG"):
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


SQUARES = [make_image(96, 96, seed) for seed in range(5)]


@pytest.fixture
def out(tmp_path):
    return tmp_path / "x.hashes.parquet"


def pairs(path):
    found = read_hash_list(path)
    return set(zip(found.dhash_N.tolist(), found.phash_N.tolist(), strict=True))


def pair(image):
    return tuple(image_hash(image))[:2]


def png_of_size(width, height):
    """A PNG file whose header claims these sides."""
    data = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", data), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    chunks = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in parts]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def test_folder_gives_the_hashes_of_all_its_images(tmp_path, out):
    (tmp_path / "in/deep").mkdir(parents=True)
    SQUARES[0].save(tmp_path / "in/a.png")
    SQUARES[1].save(tmp_path / "in/deep/b.JPG")
    SQUARES[0].save(tmp_path / "in/again.png")
    (tmp_path / "in/notes.txt").write_text("not an image")
    found = write_list(tmp_path / "in", out)
    assert (found.num_images, found.num_hashes, dict(found.left_out)) == (3, 2, {})
    assert pair(SQUARES[0]) in pairs(out)
    assert read_hash_list(out).name == "x"


def test_list_holds_no_image_and_no_text(tmp_path, out):
    secret = "instruction of the test set"
    (tmp_path / secret).mkdir()
    SQUARES[0].save(tmp_path / secret / f"{secret}.png", comment=secret)
    write_list(tmp_path / secret, out, name="bench")
    assert pq.read_schema(out).names == ["dhash", "phash"]
    assert secret.encode() not in out.read_bytes()


def test_image_that_is_not_square_has_its_centre_square_too(tmp_path, out):
    wide = make_image(160, 96, 9)
    wide.save(tmp_path / "a.png")
    write_list(tmp_path / "a.png", out)
    assert pairs(out) == {pair(wide), pair(ImageOps.fit(wide, (96, 96)))}


def test_mirror_images_are_added_on_request(tmp_path, out):
    SQUARES[0].save(tmp_path / "a.png")
    write_list(tmp_path / "a.png", out, mirrored=True)
    assert pairs(out) == {pair(SQUARES[0]), pair(ImageOps.mirror(SQUARES[0]))}


def test_image_turned_by_its_metadata_is_hashed_upright(tmp_path, out):
    exif = Image.Exif()
    exif[0x0112] = 6
    SQUARES[0].transpose(Image.Transpose.ROTATE_90).save(tmp_path / "a.png", exif=exif)
    write_list(tmp_path / "a.png", out)
    assert pairs(out) == {pair(SQUARES[0])}


def test_bombs_and_damaged_and_even_images_are_counted(tmp_path, out, monkeypatch):
    monkeypatch.setattr(hashed_images, "MAX_IMAGE_BYTES", 100_000)
    files = {
        "bomb.png": png_of_size(60_000, 60_000),
        "cut.png": encoded(SQUARES[0])[:900],
        "text.jpg": b"<html>no image</html>",
        "large.bmp": encoded(make_image(250, 200, 3), "BMP"),
        "white.png": encoded(Image.new("RGB", (64, 64), "white")),
        "good.png": encoded(SQUARES[1]),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    found = write_list(tmp_path, out)
    assert found.num_images == 1
    assert dict(found.left_out) == {UNREADABLE: 4, FLAT: 1}


@pytest.mark.parametrize("kind", [pa.binary(), pa.struct([("bytes", pa.binary()), ("path", pa.string())])])
def test_parquet_gives_all_columns_of_images(tmp_path, out, kind):
    cells = [encoded(image) for image in SQUARES[:4]]
    cells = cells if pa.types.is_binary(kind) else [{"bytes": cell, "path": "x.png"} for cell in cells]
    columns = {"source": pa.array([*cells[:2], None], kind), "target": pa.array([*cells[2:], None], kind)}
    pq.write_table(pa.table({**columns, "caption": ["a", "b", "c"]}), tmp_path / "rows.parquet")
    found = write_list(tmp_path / "rows.parquet", out)
    assert (found.num_images, dict(found.left_out)) == (4, {UNREADABLE: 2})
    assert pairs(out) == {pair(image) for image in SQUARES[:4]}


def test_benchmark_gives_sources_and_results_and_no_masks(tmp_path, out):
    folder = tmp_path / "bench/images/7"
    folder.mkdir(parents=True)
    for number, name in enumerate(("7-input.png", "7-output1.png", "7-mask1.png")):
        SQUARES[number].save(folder / name)
    turn = {"input": "7-input.png", "output": "7-output1.png", "mask": "7-mask1.png", "instruction": "x"}
    (tmp_path / "bench/edit_sessions.json").write_text(json.dumps({"7": [turn]}))
    found = write_list(tmp_path / "bench", out, benchmark="magicbrush")
    assert found.num_images == 2
    assert pairs(out) == {pair(SQUARES[0]), pair(SQUARES[1])}


def test_dataset_gives_its_sources_and_targets_and_no_masks(tmp_path, out):
    def members(index):
        images = {f"{role}.png": encoded(SQUARES[2 * index + place]) for place, role in enumerate(("source", "target"))}
        return {**images, "region_mask.png": encoded(SQUARES[4]), "json": b"{}"}

    write_dataset(tmp_path / "dataset", counts=(1, 1), make=members)
    assert write_list(tmp_path / "dataset", out).num_images == 4
    assert pairs(out) == {pair(image) for image in SQUARES[:4]}


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, r"no image that can be hashed \(none is there\)"),
        ({"a.png": b"x"}, r"no image that can be hashed \(1 could not be decoded\)"),
        ({"a.parquet": b"no table"}, "cannot be read as Parquet"),
    ],
)
def test_source_without_images_is_refused(tmp_path, out, files, reason):
    (tmp_path / "in").mkdir()
    for name, content in files.items():
        (tmp_path / "in" / name).write_bytes(content)
    with pytest.raises(EvaluationError, match=reason):
        write_list(tmp_path / "in", out)
    assert not out.exists()


def test_source_that_is_not_there_is_refused(tmp_path, out):
    with pytest.raises(EvaluationError, match="none does not exist; expected a folder, a Parquet file or"):
        write_list(tmp_path / "none", out)


def test_parquet_without_images_is_refused(tmp_path, out):
    pq.write_table(pa.table({"caption": ["a"]}), tmp_path / "rows.parquet")
    with pytest.raises(EvaluationError, match=r"has no column of images \(it has caption\)"):
        write_list(tmp_path / "rows.parquet", out)


@pytest.mark.parametrize("name", ["x.parquet", ".hashes.parquet"])
def test_list_of_another_name_is_refused(tmp_path, name):
    with pytest.raises(UsageError, match=r"the name of a list ends with \.hashes\.parquet"):
        write_list(tmp_path, tmp_path / name)


def test_folder_of_the_list_is_made_before_any_image_is_read(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("evaluation.hashed_images._stored", lambda _: pytest.fail("an image was read"))
    with pytest.raises(FileExistsError):
        write_list(tmp_path, tmp_path / "file" / "x.hashes.parquet")
    monkeypatch.undo()
    SQUARES[0].save(tmp_path / "a.png")
    assert write_list(tmp_path, tmp_path / "new" / "x.hashes.parquet").num_images == 1
