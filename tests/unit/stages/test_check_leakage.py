"""Rows whose images are in a list, and those that only look so to one of the hashes."""

import io

import numpy as np
import pyarrow as pa
import pytest
from _checkpoints import make_image
from PIL import ImageOps
from pydantic import ValidationError

from evaluation.hashed_images import write_list
from models import registry
from models.hash_lists import HashList
from pipeline.context import Context
from samples.perceptual_hashes import image_hash
from stages.check_leakage import CheckLeakage

IMAGES = [make_image(320, 256, seed) for seed in range(12)]


def encoded(image, kind="JPEG", **settings):
    buffer = io.BytesIO()
    image.save(buffer, kind, **settings)
    return buffer.getvalue()


def batch(sources, targets=None):
    columns = {"source_images": pa.array([[one] for one in sources], pa.list_(pa.binary()))}
    if targets is not None:
        columns["target_image"] = pa.array(targets, pa.binary())
    return pa.table(columns)


def checked(table, *lists, **settings):
    """The stage's result for lists by name."""
    stage = CheckLeakage(lists=tuple(lists), **settings)
    open_list = lambda _, model_id: registry.load("HashList", model_id)  # noqa: E731
    return stage.open(Context(stage_name="check_leakage", loader=open_list))(table).to_pylist()


@pytest.fixture(scope="module")
def lists(tmp_path_factory):
    """Two lists: images 0 to 3 with their mirror images, and images 4 and 5."""
    folder = tmp_path_factory.mktemp("lists")
    for name, numbers, mirrored in (("first", range(4), True), ("second", (4, 5), False)):
        (folder / name).mkdir()
        for number in numbers:
            IMAGES[number].save(folder / name / f"{number}.png")
        write_list(folder / name, folder / f"{name}.hashes.parquet", mirrored=mirrored)
    return tuple(f"path:{folder / name}.hashes.parquet" for name in ("first", "second"))


def test_copy_of_a_listed_image_is_rejected_with_list_and_distance(lists):
    copies = [
        encoded(IMAGES[0], quality=40),
        encoded(IMAGES[1].resize((160, 128))),
        encoded(ImageOps.mirror(IMAGES[2])),
        encoded(ImageOps.fit(IMAGES[3], (256, 256))),
        encoded(IMAGES[4], "PNG"),
        encoded(IMAGES[6]),
    ]
    rows = checked(batch(copies), *lists)
    assert [row["reject_reason"] for row in rows] == ["leaked_source"] * 5 + [None]
    assert all(row["leak_distance"] <= 4 for row in rows[:5])
    assert rows[4]["reject_detail"] == "second, distance 0"
    assert rows[0]["reject_detail"] == f"first, distance {rows[0]['leak_distance']}"
    assert rows[5]["leak_distance"] is rows[5]["reject_detail"] is None


def test_mirror_image_is_found_only_in_a_list_that_has_it(lists):
    mirrored = [encoded(ImageOps.mirror(IMAGES[number])) for number in (0, 4)]
    assert [row["reject_reason"] for row in checked(batch(mirrored), *lists)] == ["leaked_source", None]


def test_target_is_checked_where_the_source_is_no_leak(lists):
    own, listed = encoded(IMAGES[7]), encoded(IMAGES[1])
    rows = checked(batch([own, listed, own, own], [listed, listed, own, None]), *lists)
    assert [row["reject_reason"] for row in rows] == ["leaked_target", "leaked_source", None, None]


def test_max_distance_bounds_both_hashes():
    listed = image_hash(IMAGES[0])
    for changed in ({"dhash": listed.dhash ^ 0b111}, {"phash": listed.phash ^ 0b111}):
        one = listed._replace(**changed)
        near = HashList("near", 1, np.array([one.dhash], np.uint64), np.array([one.phash], np.uint64))
        for most, reason in ((2, None), (3, "leaked_source")):
            stage = CheckLeakage(lists=("path:x",), max_distance=most)
            check = stage.open(Context(stage_name="check_leakage", loader=lambda *_, found=near: found))
            (row,) = check(batch([encoded(IMAGES[0], "PNG")])).to_pylist()
            assert row["reject_reason"] == reason


def test_without_a_list_the_stage_is_refused():
    with pytest.raises(ValidationError, match="at least 1 item"):
        CheckLeakage(lists=())
