import hashlib
import io
import json
import tarfile

import pytest

from samples.shard_check import wrong_shards


def tar_of(*keys):
    """A tar with one member for each key."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for key in keys:
            tar.addfile(tarfile.TarInfo(f"{key}.json"))
    return content.getvalue()


def files_of(tars, **changed):
    """A dataset's files by name. `changed` replaces values in the first entry of the list."""
    listed = [
        {"file": name, "samples": count, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, (content, count) in tars.items()
    ]
    listed[0] |= changed
    content = json.dumps({"dataset": "tiny", "shards": listed}).encode()
    return {"shards.json": content, **{name: content for name, (content, _) in tars.items()}}


def wrong(files, *, deep=True):
    sizes = {name: len(content) for name, content in files.items()}
    return list(wrong_shards("dataset", sizes, lambda name: io.BytesIO(files[name]), deep=deep))


@pytest.fixture
def tars():
    return {"a.tar": (tar_of("x", "y"), 2), "b.tar": (tar_of("z"), 1)}


def test_dataset_as_listed_has_nothing_wrong(tars):
    assert wrong(files_of(tars)) == []


def test_tar_of_another_size_is_named(tars):
    files = files_of(tars)
    size = len(files["a.tar"])
    files["a.tar"] += b"x"
    assert wrong(files, deep=False) == [f"dataset/a.tar: {size + 1} bytes, shards.json says {size}"]


def test_tar_of_another_content_is_found_by_a_deep_check_only(tars):
    files = files_of(tars, sha256="0" * 64)
    assert wrong(files, deep=False) == []
    assert wrong(files) == ["dataset/a.tar: sha256 differs from shards.json"]


def test_wrong_number_of_samples_is_found_by_a_deep_check(tars):
    assert wrong(files_of(tars, samples=3)) == ["dataset/a.tar: 2 samples, shards.json says 3"]


def test_tar_that_is_no_tar_is_named():
    [line] = wrong(files_of({"a.tar": (b"x" * 2000, 1)}))
    assert line.startswith("dataset/a.tar: cannot be read as a tar (")


def test_sample_in_two_tars_is_named():
    files = files_of({"a.tar": (tar_of("x"), 1), "b.tar": (tar_of("x"), 1)})
    assert wrong(files) == ["dataset/b.tar: sample x is also in a.tar, or its members are not adjacent"]


def test_members_of_a_sample_that_are_not_adjacent_are_found():
    lines = wrong(files_of({"a.tar": (tar_of("x", "y", "x"), 2)}))
    assert lines == [
        "dataset/a.tar: 3 samples, shards.json says 2",
        "dataset/a.tar: sample x is also in a.tar, or its members are not adjacent",
    ]


def test_tar_that_is_not_listed_is_named(tars):
    assert wrong({**files_of(tars), "c.tar": b""}) == ["dataset/c.tar: not listed in shards.json"]


def test_damaged_list_is_the_only_thing_reported(tars):
    [line] = wrong({**files_of(tars), "shards.json": b"{}"})
    assert line.startswith("dataset/shards.json is not as it was written (")
