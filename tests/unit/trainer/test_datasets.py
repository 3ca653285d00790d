"""Several datasets in one training: shares, identity, and what each of them must have."""

import json
from pathlib import Path

import pytest
from _datasets import sample_members, write_dataset

from core.errors import DatasetError
from samples.shards import read_shards
from trainer.datasets import Datasets, read_datasets
from trainer.required import check_columns
from trainer.settings import TrainSettings


def named(folder, counts, name, make=sample_members):
    write_dataset(folder, counts, make)
    listed = json.loads((folder / "shards.json").read_text())
    (folder / "shards.json").write_text(json.dumps({**listed, "dataset": name}))
    return str(folder)


@pytest.fixture
def two(tmp_path):
    return named(tmp_path / "a", (3, 3), "a"), named(tmp_path / "b", (2,), "b")


def read(*data, weights=None):
    return read_datasets(TrainSettings(data=data, data_weights=weights, out="o"))


def test_datasets_are_drawn_from_as_often_as_they_have_samples(two):
    found = read(*two)
    assert (found.weights, found.shares, found.num_samples) == ((6, 2), (0.75, 0.25), 8)
    assert found.epochs(4) == {"epoch": 0.5, "epoch/a": 0.5, "epoch/b": 0.5}


def test_weights_decide_the_shares_and_the_epochs_of_each(two):
    found = read(*two, weights=(0.5, 1.5))
    assert (found.weights, found.shares) == ((1, 3), (0.25, 0.75))
    assert found.epochs(8) == {"epoch": 1.0, "epoch/a": pytest.approx(1 / 3), "epoch/b": 3.0}


def test_fingerprint_covers_all_datasets_in_their_order(two):
    one, both, other = read(two[0]), read(*two), read(*reversed(two))
    assert one.fingerprint == one.lists[0].fingerprint
    assert len({one.fingerprint, both.fingerprint, other.fingerprint}) == 3
    assert [(d["name"], d["num_samples"], d["share"]) for d in both.described()] == [("a", 6, 0.75), ("b", 2, 0.25)]


def test_datasets_of_one_name_are_told_apart(two):
    assert read(two[0], two[0]).names == ("a", "a#2")


def test_one_of_several_datasets_without_samples_is_refused(two, tmp_path):
    empty = named(tmp_path / "empty", (0,), "empty")
    with pytest.raises(DatasetError, match=r"dataset 'empty' \(.*\) has no samples; leave it out"):
        read(two[0], empty)


@pytest.mark.parametrize(
    ("absent", "column"),
    [("target_mask.png", "target_mask_png"), ("target.jpg", "target_image"), ("json", "instruction")],
)
def test_dataset_without_a_column_is_named(two, tmp_path, absent, column):
    def bare(index):
        return {name: b"{}" if name == absent == "json" else content for name, content in sample_members(index).items()
                if name != absent or name == "json"}  # fmt: skip

    lacking = named(tmp_path / "c", (0, 2), "c", bare)
    columns = ("source_images", "target_image", "target_mask_png", "instruction")
    check_columns(read(*two), columns, "recipe x")
    with pytest.raises(DatasetError) as caught:
        check_columns(read(two[0], lacking), columns, "recipe x")
    assert str(caught.value) == (
        f"dataset 'c' ({lacking}) has no {column}, which recipe x needs: its first sample, 00000, lacks it; add a "
        "stage that writes it, or train on another dataset"
    )


@pytest.mark.parametrize("content", [b"", b"nonsense" * 200, b"\0" * 10240])
def test_tar_that_cannot_be_read_is_left_to_the_loader(two, content):
    (Path(two[0]) / "00000.tar").write_bytes(content)
    check_columns(Datasets((read_shards(two[0]),), (1,)), ("target_image",), "recipe x")


@pytest.mark.parametrize("content", [b"[]", b"{", b"\xff"])
def test_json_that_cannot_be_read_is_left_to_the_loader(tmp_path, content):
    folder = named(tmp_path / "a", (1,), "a", lambda index: {**sample_members(index), "json": content})
    check_columns(read(folder), ("instruction",), "recipe x")
