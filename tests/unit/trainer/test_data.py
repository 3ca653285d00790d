import json
import logging
from collections import Counter
from itertools import islice

import pytest
import torch
from _datasets import encoded, write_dataset, write_list, write_tar

from core.errors import SampleError, UsageError
from samples.shards import read_shards
from trainer.data import Loader, first_samples
from trainer.datasets import Datasets
from trainer.decode import Decoder
from trainer.settings import TrainRunOn, TrainSettings

COUNTS = (5, 7, 1, 6, 5, 6)
READS = ("source_images", "target_image", "target_caption", "source_mask_png", "target_mask_png")
DECODER = Decoder(size_px=8, required=READS)


def small(index):
    """A sample of 8 px whose image and mask say which one it is."""
    pixels = torch.full((8, 8, 3), index, dtype=torch.uint8).numpy()
    mask = encoded(torch.full((8, 8), 255 * (index % 2), dtype=torch.uint8).numpy(), "PNG")
    members = {f"{side}.png": encoded(pixels, "PNG") for side in ("source", "target")}
    members |= {f"{side}_mask.png": mask for side in ("source", "target")}
    return {**members, "json": json.dumps({"target_caption": f"caption {index}"}).encode()}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return read_shards(write_dataset(tmp_path_factory.mktemp("data"), COUNTS, small))


def loader(dataset, rank=0, num_ranks=1, default_workers=0, **settings):
    run_on = TrainRunOn(batch_size=3, num_workers=settings.pop("num_workers", 0))
    config = TrainSettings(data="d", out="o", shuffle_block=4, run_on=run_on, **settings)
    datasets = dataset if isinstance(dataset, Datasets) else Datasets((dataset,), (1,))
    return Loader(datasets, DECODER, config, rank=rank, num_ranks=num_ranks, default_workers=default_workers)


def taken(made, count, start=0):
    return [(b.number_B.tolist(), b.epochs, b.keys) for b in islice(made.batches(start), count)]


@pytest.mark.parametrize(("num_ranks", "num_workers"), [(1, 0), (2, 0), (3, 0), (1, 2)])
def test_every_sample_is_seen_once_an_epoch_over_all_processes_and_workers(dataset, num_ranks, num_workers):
    seen = Counter()
    for rank in range(num_ranks):
        made = loader(dataset, rank, num_ranks, num_workers=num_workers, streams=6)
        for _, epochs, keys in taken(made, 60 // num_ranks):
            seen.update(zip(epochs, keys, strict=True))
    for epoch in range(3):
        assert {key: n for (e, key), n in seen.items() if e == epoch} == {f"{i:05d}": 1 for i in range(30)}


@pytest.mark.parametrize("num_ranks", [1, 2, 3])
def test_order_over_all_processes_does_not_depend_on_their_number(dataset, num_ranks):
    def global_order(ranks):
        found = {}
        for rank in range(ranks):
            for numbers, _, keys in taken(loader(dataset, rank, ranks, streams=6), 24 // ranks):
                found.update(zip(numbers, keys, strict=True))
        return [found[number] for number in range(72)]

    assert global_order(num_ranks) == global_order(1)


def test_every_process_has_full_batches_without_end(dataset):
    """No process waits for another that has no samples left, with shards of one and of seven samples."""
    for rank in range(6):
        assert all(len(keys) == 3 for _, _, keys in taken(loader(dataset, rank, 6), 40))


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("start", [1, 4, 17])
def test_batches_from_any_number_on_are_those_of_an_unbroken_reading(dataset, num_workers, start):
    made = loader(dataset, num_workers=num_workers)
    assert taken(made, 12, start) == taken(loader(dataset), 12 + start)[start:]


def test_batches_carry_what_the_samples_hold(dataset):
    batch = next(loader(dataset).batches())
    (source,) = batch["source_images"]
    assert source.shape == (3, 3, 8, 8)
    levels = (source[:, 0, 0, 0] + 1) * 127.5
    assert levels.round().int().tolist() == [int(key) for key in batch.keys]
    assert batch["target_caption"] == tuple(f"caption {int(key)}" for key in batch.keys)
    assert batch["source_mask_png"][:, 0, 0, 0].tolist() == [int(key) % 2 for key in batch.keys]
    assert batch["target_mask_png"].shape == (3, 1, 8, 8)


def one_of(folder, first, counts):
    """A dataset whose keys begin at `first`, so that they say which dataset a sample is of."""
    folder.mkdir(parents=True)
    listed, index = {}, first
    for number, count in enumerate(counts):
        write_tar(folder / f"{number:05d}.tar", {f"{i:05d}": small(i % 250) for i in range(index, index + count)})
        listed[f"{number:05d}.tar"], index = count, index + count
    return read_shards(write_list(folder, listed))


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mixed")
    return Datasets((one_of(folder / "a", 0, (5, 7, 4, 8)), one_of(folder / "b", 100, (3, 3))), (3, 1))


def dealt(mixed, ranks, count, start=0, **settings):
    """Sample number -> key, of all processes."""
    found = {}
    for rank in range(ranks):
        for numbers, _, keys in taken(loader(mixed, rank, ranks, **settings), count // ranks, start):
            found.update(zip(numbers, keys, strict=True))
    return found


def test_several_datasets_are_drawn_from_by_their_weights(mixed):
    found = dealt(mixed, 1, 32)
    assert sorted(found) == list(range(96))
    assert sum(int(key) >= 100 for key in found.values()) == 24
    for first in range(0, 96, 16):
        assert 3 <= sum(int(found[first + n]) >= 100 for n in range(16)) <= 5


def test_each_of_several_datasets_is_seen_once_in_each_of_its_epochs(mixed):
    seen = Counter()
    for _, epochs, keys in taken(loader(mixed), 64):
        seen.update(zip(epochs, keys, strict=True))
    for epoch in range(3):
        assert {key: n for (e, key), n in seen.items() if e == epoch and int(key) < 100} == {
            f"{index:05d}": 1 for index in range(24)
        }
        assert {key: n for (e, key), n in seen.items() if e == epoch and int(key) >= 100} == {
            f"{index:05d}": 1 for index in range(100, 106)
        }


def test_order_of_several_datasets_is_the_same_for_any_processes(mixed):
    expected = dealt(mixed, 1, 24)
    assert dealt(mixed, 2, 24) == expected
    assert dealt(mixed, 2, 24, num_workers=1) == expected


@pytest.mark.parametrize("start", [1, 5, 23])
def test_batches_of_several_datasets_start_anywhere(mixed, start):
    assert taken(loader(mixed), 8, start) == taken(loader(mixed), 8 + start)[start:]


def test_workers_share_the_streams_of_every_dataset(mixed, caplog):
    expected = taken(loader(mixed), 20, 3)
    assert taken(loader(mixed, num_workers=2), 20, 3) == expected
    loader(mixed, num_workers=3)
    assert caplog.messages == [
        "reading with 2 workers a process instead of 3: 4 streams of shards are dealt to 1 processes"
    ]


def test_rows_of_two_datasets_of_which_one_lacks_masks_are_filled(tmp_path):
    def bare(index):
        return {name: content for name, content in small(index).items() if "mask" not in name}

    lists = [read_shards(write_dataset(tmp_path / n, (4,), make)) for n, make in (("a", small), ("b", bare))]
    decoder = Decoder(
        size_px=8, required=("source_images",), optional=("source_mask_png",), filled={"source_mask_png": 1.0}
    )
    config = TrainSettings(data="d", out="o", run_on=TrainRunOn(batch_size=8))
    batch = next(Loader(Datasets(tuple(lists), (1, 1)), decoder, config, rank=0, num_ranks=1).batches())
    means = batch["source_mask_png"].mean((1, 2, 3)).tolist()
    assert len(means) == 8
    assert means.count(0.0) == 2  # samples 0 and 2 of the dataset with masks


def test_damaged_sample_of_one_of_several_datasets_is_named_with_it(mixed, tmp_path):
    write_dataset(tmp_path, (1,), lambda _: {"json": b"{"})
    both = Datasets((mixed.lists[0], read_shards(tmp_path)), (1, 1))
    with pytest.raises(SampleError, match=r"shard tiny#2/00000.tar, sample 00000: json cannot be read"):
        taken(loader(both), 4)


def test_fewer_workers_than_asked_for_are_noted(dataset, caplog):
    with caplog.at_level(logging.WARNING):
        loader(dataset, 0, 2, num_workers=8)
    assert caplog.messages == [
        "reading with 2 workers a process instead of 8: 4 streams of shards are dealt to 2 processes"
    ]


def test_without_a_number_the_default_reads_as_far_as_streams_allow(dataset, caplog):
    with caplog.at_level(logging.INFO):
        made = loader(dataset, num_workers=None, default_workers=3)
    assert caplog.messages == ["reading with 2 processes for each training process"]
    assert taken(made, 12, 3) == taken(loader(dataset), 15)[3:]


def test_a_number_in_the_settings_wins_over_the_default(dataset, caplog):
    with caplog.at_level(logging.INFO):
        loader(dataset, num_workers=0, default_workers=7)
    assert not caplog.messages


def test_fewer_shards_than_processes_is_refused(dataset):
    with pytest.raises(UsageError, match="has 6 shards with samples and there are 7 processes"):
        loader(dataset, 0, 7)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_damaged_sample_is_named_in_one_line_from_a_worker_too(tmp_path, num_workers):
    folder = write_dataset(tmp_path, (2,), small)
    write_tar(folder / "00000.tar", {"a": small(0), "b": {**small(1), "target.png": b"nonsense"}})
    write_list(folder, {"00000.tar": 2})
    made = loader(read_shards(folder), num_workers=num_workers)
    with pytest.raises(SampleError) as caught:
        taken(made, 2)
    assert str(caught.value).startswith(
        "shard 00000.tar, sample b: target.jpg|png|webp cannot be read: no image format that is read"
    )
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("claimed", "message"), [(4, "holds 3 samples"), (2, "holds at least 3 samples")])
def test_shard_with_another_number_of_samples_than_listed_is_refused(tmp_path, claimed, message):
    folder = write_dataset(tmp_path, (3,), small)
    write_list(folder, {"00000.tar": claimed})
    with pytest.raises(SampleError, match=rf"shard 00000.tar {message}, shards.json says {claimed}; build"):
        taken(loader(read_shards(folder)), 2)


def test_shard_that_is_gone_or_cut_off_is_named(tmp_path):
    folder = write_dataset(tmp_path, (3,), small)
    found = read_shards(folder)
    (folder / "00000.tar").write_bytes((folder / "00000.tar").read_bytes()[:1800])
    with pytest.raises(SampleError, match=r"00000.tar has 1800 bytes, shards.json says 20480: it is not the file that"):
        taken(loader(found), 1)
    with pytest.raises(SampleError, match=r"shard 00000.tar cannot be read: unexpected end of data"):
        taken(loader(read_shards(write_list(folder, {"00000.tar": 3}))), 1)
    (folder / "00000.tar").unlink()
    with pytest.raises(SampleError, match=r"shard 00000.tar cannot be read: no such file or directory"):
        taken(loader(found), 1)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_tar_that_was_altered_is_refused_before_a_sample_is_used(tmp_path, num_workers):
    folder = write_dataset(tmp_path, (3,), small)
    found = read_shards(folder)
    tar = folder / "00000.tar"
    content = bytearray(tar.read_bytes())
    content[600] ^= 1
    tar.write_bytes(content)
    with pytest.raises(SampleError, match=r"00000.tar has the sha256 .* put that one back, or build the dataset again"):
        next(loader(found, num_workers=num_workers).batches())
    with pytest.raises(SampleError, match=r"00000.tar has the sha256"):
        first_samples(found, DECODER, 1)


def test_sample_with_a_member_twice_is_refused(tmp_path):
    folder = write_dataset(tmp_path, (1,), small)
    write_tar(folder / "00000.tar", {"a": {**small(0), "SOURCE.png": b""}})
    write_list(folder, {"00000.tar": 1})
    with pytest.raises(SampleError, match=r"shard 00000.tar cannot be read: a.SOURCE.png: duplicate file name"):
        taken(loader(read_shards(folder)), 1)


def test_empty_shards_count_for_nothing(tmp_path):
    folder = write_dataset(tmp_path, (2, 0, 2), small)
    made = loader(read_shards(folder))
    assert made.num_streams == 2
    assert len({key for _, _, keys in taken(made, 4) for key in keys}) == 4


def test_some_samples_are_mirrored_when_asked_and_the_same_ones_again(tmp_path):
    def halves(index):
        pixels = torch.zeros((8, 8, 3), dtype=torch.uint8).numpy()
        pixels[:, :4] = 255
        return {**small(index), "source.png": encoded(pixels, "PNG")}

    found = read_shards(write_dataset(tmp_path, (12,), halves))

    def left(**settings):
        batches = islice(loader(found, **settings).batches(), 8)
        return [int(level) for batch in batches for level in batch["source_images"][0][:, 0, 0, 0]]

    assert set(left()) == {1}
    assert set(left(horizontal_flip=True)) == {1, -1}
    assert left(horizontal_flip=True) == left(horizontal_flip=True)


@pytest.mark.parametrize("count", [1, 6, 100])
def test_first_samples_come_in_the_order_of_the_tars(dataset, count):
    found = first_samples(dataset, DECODER, count)
    assert [sample.key for sample in found] == [f"{index:05d}" for index in range(min(count, 30))]


def test_dataset_is_read_from_a_url(tmp_path):
    import fsspec

    fs = fsspec.filesystem("memory")
    for path in write_dataset(tmp_path, (2, 2), small).iterdir():
        fs.pipe(f"/loader-test/{path.name}", path.read_bytes())
    remote, local = read_shards("memory://loader-test"), read_shards(tmp_path)
    assert taken(loader(remote), 5) == taken(loader(local), 5)


def test_dataset_without_target_images_is_read_where_none_is_asked_for(tmp_path):
    def bare(index):
        return {name: content for name, content in small(index).items() if not name.startswith("target")}

    found = read_shards(write_dataset(tmp_path, (3,), bare))
    (sample,) = first_samples(found, Decoder(size_px=8, required=("source_images", "target_caption")), 1)
    assert sample.values.keys() == {"source_images", "target_caption"}
    with pytest.raises(SampleError, match=r"sample 00000: target\.jpg\|png\|webp is not there"):
        first_samples(found, DECODER, 1)
