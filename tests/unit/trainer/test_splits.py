"""Datasets with splits: only one of them is read, once an epoch, and miscounted ones are found."""

import json
from collections import Counter
from itertools import islice

import numpy as np
import pytest
from _datasets import encoded, write_dataset
from PIL import Image

from core.errors import DatasetError, SampleError
from samples.shards import read_shards
from trainer.data import Loader, first_samples
from trainer.datasets import Datasets, read_datasets
from trainer.decode import Decoder
from trainer.required import check_columns
from trainer.settings import TrainRunOn, TrainSettings

COUNTS = (9, 3, 6, 5, 7)
DECODER = Decoder(size_px=8, required=("source_images",))
SPLITS = ("train", "train", "in_domain")


def split_of(index):
    """Two thirds are trained on, and the second shard is held out as a whole."""
    return "out_of_domain" if 9 <= index < 12 else SPLITS[index % 3]


def sample(index, split=split_of):
    pixels = encoded_pixel(index)
    light = {"instruction": f"edit {index}"} | ({"split": split(index)} if split else {})
    return {"source.png": pixels, "json": json.dumps(light).encode()}


def encoded_pixel(index):
    return encoded(np.asarray(Image.new("RGB", (8, 8), (index, 0, 0))), "PNG")


def with_splits(folder, counts=COUNTS, make=sample, listed=split_of):
    """A dataset whose list counts the splits that `listed` gives its samples."""
    write_dataset(folder, counts, make)
    found, first = json.loads((folder / "shards.json").read_text()), 0
    for entry in found["shards"]:
        indices = range(first, first + entry["samples"])
        entry["splits"] = dict(Counter(map(listed, indices)))
        first = indices.stop
    (folder / "shards.json").write_text(json.dumps(found))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return with_splits(tmp_path_factory.mktemp("data"))


def settings(folder, **more):
    run_on = TrainRunOn(batch_size=2, num_workers=more.pop("num_workers", 0))
    return TrainSettings(data=str(folder), out="o", shuffle_block=4, run_on=run_on, **more)


def taken(config, count, start=0, rank=0, num_ranks=1):
    made = Loader(read_datasets(config), DECODER, config, rank=rank, num_ranks=num_ranks)
    return [(b.number_B.tolist(), b.epochs, b.keys) for b in islice(made.batches(start), count)]


def keys_of(split):
    return {f"{index:05d}" for index in range(sum(COUNTS)) if split_of(index) == split}


@pytest.mark.parametrize("split", ["train", "in_domain"])
@pytest.mark.parametrize(("num_ranks", "num_workers"), [(1, 0), (2, 0), (1, 2)])
def test_only_samples_of_the_split_are_seen_and_all_once_an_epoch(folder, split, num_ranks, num_workers):
    seen = Counter()
    config = settings(folder, split=split, num_workers=num_workers, streams=4)
    for rank in range(num_ranks):
        for _, epochs, keys in taken(config, 40 // num_ranks, rank=rank, num_ranks=num_ranks):
            seen.update(zip(epochs, keys, strict=True))
    for epoch in range(2):
        assert {key: n for (e, key), n in seen.items() if e == epoch} == dict.fromkeys(keys_of(split), 1)


def test_number_of_samples_and_epochs_are_those_of_the_split(folder):
    found = read_datasets(settings(folder))
    assert found.num_samples == len(keys_of("train")) == 18
    assert found.epochs(18) == {"epoch": 1.0}
    assert found.fingerprint == read_shards(folder).fingerprint


@pytest.mark.parametrize("start", [1, 7, 30])
def test_a_resumed_reading_sees_the_same_batches(folder, start):
    config = settings(folder)
    assert taken(config, 6, start) == taken(config, 6 + start)[start:]


def test_a_dataset_without_splits_is_read_whole(tmp_path):
    write_dataset(tmp_path, (4, 2), lambda index: sample(index, split=None))
    assert read_datasets(settings(tmp_path)).num_samples == 6
    assert read_datasets(settings(tmp_path, split="anything")).num_samples == 6


def test_a_split_that_is_not_there_is_refused_with_those_that_are(folder):
    with pytest.raises(DatasetError) as caught:
        read_datasets(settings(folder, split="validation"))
    assert str(caught.value) == (
        f"dataset 'tiny' ({folder}) has no samples of the split 'validation'; "
        "there are: in_domain, out_of_domain, train"
    )


@pytest.mark.parametrize(("index", "listed", "held", "said"), [(0, "in_domain", "at least 6", 5), (2, "train", "6", 7)])
def test_another_number_of_samples_of_the_split_is_found(tmp_path, index, listed, held, said):
    """The list counts one of nine samples, of which six are trained on, in another split than its own."""
    folder = with_splits(tmp_path, (9,), listed=lambda other: listed if other == index else split_of(other))
    with pytest.raises(SampleError) as caught:
        taken(settings(folder), 9)
    assert str(caught.value) == (
        f"shard 00000.tar holds {held} samples of the split 'train', shards.json says {said}; build the dataset again"
    )


def test_first_samples_and_the_check_of_columns_are_of_the_split(folder):
    (dataset,) = read_datasets(settings(folder, split="out_of_domain")).lists
    assert [one.key for one in first_samples(dataset, DECODER, 9)] == ["00009", "00010", "00011"]
    both = Datasets((dataset,), (1,))
    with pytest.raises(DatasetError, match=r"has no target_image, which recipe x needs: its first sample, 00009"):
        check_columns(both, ("target_image",), "recipe x")


def test_sample_whose_json_cannot_be_read_is_named(tmp_path):
    def make(index):
        return {**sample(index), "json": b"{"} if index == 1 else sample(index)

    config = settings(with_splits(tmp_path, (9,), make), streams=1)
    with pytest.raises(SampleError, match=r"shard 00000.tar, sample 00001: json cannot be read"):
        taken(config, 9)


def test_the_split_decides_the_result(folder):
    assert settings(folder).deciding()["split"] == "train"
    shards = read_shards(folder).of_split("train").shards
    assert [shard.num_samples for shard in shards] == [6, 0, 4, 4, 4]
    assert shards[1].splits == (("out_of_domain", 3),)
