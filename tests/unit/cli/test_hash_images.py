"""`editloom hash-images`: what it prints, and what it refuses."""

import json

from _checkpoints import make_image
from PIL import Image

from models.hash_lists import read_hash_list


def fill(folder):
    folder.mkdir()
    for seed in range(3):
        make_image(64, 64, seed).save(folder / f"{seed}.png")
    Image.new("RGB", (64, 64), "white").save(folder / "white.png")
    (folder / "broken.png").write_bytes(b"x")
    return folder


def test_counts_are_printed(tmp_path, editloom):
    out = tmp_path / "a.hashes.parquet"
    code, text, _ = editloom("hash-images", fill(tmp_path / "in"), "--out", out, "--name", "my test set", "--mirrored")
    assert code == 0
    assert text.splitlines() == [
        f"{out}: 6 hashes of 3 images", "left out: 1 could not be decoded", "left out: 1 too even to be told apart",
    ]  # fmt: skip
    assert read_hash_list(out).name == "my test set"


def test_counts_are_printed_as_json(tmp_path, editloom):
    out = tmp_path / "a.hashes.parquet"
    _, text, _ = editloom("hash-images", fill(tmp_path / "in"), "--out", out, "--json")
    left_out = {"could not be decoded": 1, "too even to be told apart": 1}
    assert json.loads(text) == {"list": str(out), "images": 3, "hashes": 3, "left_out": left_out}


def test_unknown_benchmark_is_refused(tmp_path, refused):
    message = refused(
        "hash-images", tmp_path, "--out", tmp_path / "a.hashes.parquet", "--benchmark", "magicbrus", code=2
    )
    assert "no benchmark is called 'magicbrus'" in message
    assert "magicbrush" in message


def test_wrong_name_of_the_list_is_refused(tmp_path, refused):
    assert "expected NAME.hashes.parquet" in refused("hash-images", tmp_path, "--out", tmp_path / "a.bin", code=2)
