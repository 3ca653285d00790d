"""The emitted dataset in the hands of its readers: webdataset, datasets and pyarrow, with no code of ours."""

import io
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import imagehash
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset
from _builds import ROOT, build
from _inputs import jpeg, sample, tar_of
from PIL import Image

README = ROOT / "README.md"
MANIFEST = """
name = "readable"
[[stage]]
use = "read_webdataset"
[[stage]]
use = "normalise_image"
shorter_side_px = 64
format = "png"
[[stage]]
use = "filter_caption"
[[stage]]
use = "dedup"
[[stage]]
use = "emit"
"""
CAPTIONS = [f"a dog with {n} b\u00f6nes \u00a0 and \U0001f600 </script in a yard" for n in range(12)]
SHARDS = {"00000": range(7), "00001": range(7, 12)}
FIRST_URL = 6
"""The samples before have no URL: more than the five from which `datasets` guesses columns."""
LOAD = """
import io, json, sys
import datasets
rows = eval(sys.argv[1])
def plain(value):
    if hasattr(value, "size"):
        file = io.BytesIO()
        value.save(file, "PNG")
        return file.getvalue().hex()
    return value
print(json.dumps([{k: plain(v) for k, v in row.items()} for row in rows]))
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    here = tmp_path_factory.mktemp("readers")
    folder, out, manifest = here / "in", here / "out", here / "readable.toml"
    folder.mkdir()
    manifest.write_text(MANIFEST)
    for name, numbers in SHARDS.items():
        members = [
            sample(f"{n:04d}", jpeg(n), CAPTIONS[n], {"url": f"https://x/{n}"} if n >= FIRST_URL else None)
            for n in numbers
        ]
        (folder / f"{name}.tar").write_bytes(tar_of(*(m for one in members for m in one)))
    code, reported, errors = build(out, "--executor", "inprocess", shards=folder, manifest=manifest)
    assert (code, errors) == (0, "")
    assert reported["stages"][-1]["rows_out"] == len(CAPTIONS)
    return SimpleNamespace(here=here, dataset=out / "dataset")


def expected_image(number):
    """The expected result of normalise_image for `jpeg(number)`: the same pixels at a shorter side of 64."""
    whole = Image.open(io.BytesIO(jpeg(number)))
    return np.asarray(whole.resize((77, 64), Image.Resampling.BICUBIC))


def check_record(record):
    """The JSON of a sample against its input. Returns its number."""
    number = int(record["source_key"])
    assert record["caption"] == CAPTIONS[number]
    assert record.get("source_url") == (f"https://x/{number}" if number >= FIRST_URL else None)
    assert (record["width_px"], record["height_px"]) == (77, 64)
    assert (record["original_width_px"], record["original_height_px"]) == (96, 80)
    assert record["sample_id"] == record["session_id"] == record["source_sha256"][:16]
    assert (record["turn"], record["source_format"], record["original_format"]) == (1, "png", "JPEG")
    return number


def load(made, number):
    """Rows as the README's line of that number gives them, in a process without network."""
    lines = [line for line in README.read_text("utf-8").splitlines() if line.startswith("datasets.load_dataset(")]
    code = lines[number].replace("OUT/dataset", str(made.dataset))
    env = os.environ | {"HF_HOME": str(made.here / f"cache-{number}"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", LOAD, code], env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_webdataset_reads_the_tars(made):
    url = str(made.dataset / "{00000..00001}.tar")
    rows = list(webdataset.WebDataset(url, shardshuffle=False).decode("pil"))
    assert [check_record(row["json"]) for row in rows] == list(range(12))
    for number, row in enumerate(rows):
        assert row["__key__"] == row["json"]["sample_id"]
        assert set(row) == {"__key__", "__url__", "__local_path__", "source.png", "json"}
        assert (np.asarray(row["source.png"]) == expected_image(number)).all()


def test_line_of_the_readme_reads_all_columns_of_the_tars(made):
    rows = load(made, 0)
    assert [check_record(row["json"]) for row in rows] == list(range(12))
    for number, row in enumerate(rows):
        image = Image.open(io.BytesIO(bytes.fromhex(row["source.png"])))
        assert (np.asarray(image) == expected_image(number)).all()


def test_line_of_the_readme_reads_the_table(made):
    rows = load(made, 1)
    assert [check_record(row) for row in rows] == list(range(12))
    assert [row["dataset_shard"] for row in rows] == ["00000.tar"] * 7 + ["00001.tar"] * 5
    hashes = [str(imagehash.dhash(Image.fromarray(expected_image(n)))) for n in range(12)]
    assert [f"{row['source_dhash']:016x}" for row in rows] == hashes
    assert max(row["source_dhash"] for row in rows) >= 2**63  # the half that JSON readers fail on


def test_the_table_has_no_pixels(made):
    schema = pq.read_schema(made.dataset / "samples.parquet")
    assert not [f.name for f in schema if pa.types.is_binary(f.type) or pa.types.is_nested(f.type)]
    assert "source_images" not in schema.names


def test_the_table_and_the_tars_hold_the_same_samples(made):
    table = {row["sample_id"]: row for row in pq.read_table(made.dataset / "samples.parquet").to_pylist()}
    for shard in SHARDS:
        for row in webdataset.WebDataset(str(made.dataset / f"{shard}.tar"), shardshuffle=False).decode():
            record = row["json"]
            of_table = table.pop(record["sample_id"])
            assert record == {
                k: v for k, v in of_table.items() if v is not None and k not in ("source_dhash", "dataset_shard")
            }
    assert table == {}
