import io

import numpy as np
import pytest
from PIL import Image

from benchmarks.data_juicer.pairs import make_pairs
from benchmarks.data_juicer.run import DEFAULT, OURS, RAY, missed


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return make_pairs(tmp_path_factory.mktemp("pairs"), 100)


def pixels(content):
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def test_each_fault_is_there_once_in_a_hundred_pairs(pairs):
    assert pairs.faults == {"copy": 1, "lossless": 1, "small": 1, "short": 1}
    content = {path.stem: path.read_bytes() for path in pairs.images.iterdir() if path.suffix != ".jsonl"}
    assert len(content) == 100
    assert content["000010"] == content["000009"]
    assert content["000020"] != content["000019"]
    assert (pixels(content["000020"]) == pixels(content["000019"])).all()
    assert len(set(content.values())) == 99
    assert pixels(content["000030"]).shape == (36, 48, 3)


def test_both_lists_name_the_same_images_and_captions(pairs):
    ours, theirs = (path.read_text().splitlines() for path in (pairs.images / "metadata.jsonl", pairs.listed))
    assert len(ours) == len(theirs) == 100
    assert '"file_name": "000020.png"' in ours[20]
    assert f'"images": ["{pairs.images}/000020.png"]' in theirs[20]


def found(ours_s, default_s, ray_s, kept=(96, 96, 96)):
    sides = zip((OURS, DEFAULT, RAY), (ours_s, default_s, ray_s), kept, strict=True)
    return {"chain": "filter", "sides": {s: {"wall_s": w, "peak_bytes": 1, "kept": [k]} for s, w, k in sides}}


def test_missed_bars_and_other_rows_are_named():
    assert missed(found(10, 20, 25)) == []
    [line] = missed(found(10, 19, 25))
    assert line == "chain filter: data-juicer default takes 1.90 times the time of Editloom, the bar is 2.0"
    [line] = missed(found(10, 20, 25, kept=(96, 96, 95)))
    assert line.startswith("chain filter: rows kept {'editloom': [96]")
