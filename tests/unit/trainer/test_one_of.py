"""Lists of which a sample gives one value: the same place in all, another one in other epochs."""

import json

import numpy as np
import pytest
import torch
from _datasets import encoded, write_dataset

from core.errors import ContractError, SampleError
from samples.shards import read_shards
from trainer.batch import collate
from trainer.data import Loader
from trainer.datasets import Datasets
from trainer.decode import Decoder
from trainer.one_of import drawn_values
from trainer.settings import TrainRunOn, TrainSettings

EXAMPLES = ("example_source_images", "example_target_images")
DECODER = Decoder(size_px=8, required=("source_images", *EXAMPLES), one_of=EXAMPLES, seed=3)


def grey(level):
    return encoded(np.full((8, 8, 3), level, np.uint8), "PNG")


def members(number, *, targets=3):
    """Sources of examples have the levels 10, 20, 30, their targets 110, 120, 130."""
    found = {"source.png": grey(number)}
    found |= {f"example_source{n or ''}.png": grey(10 * n + 10) for n in range(3)}
    found |= {f"example_target{n or ''}.png": grey(10 * n + 110) for n in range(targets)}
    return {**found, "json": json.dumps({}).encode()}


def decode(number, decoder=DECODER, raw=None):
    raw = members(0) if raw is None else raw
    return decoder.decode({"__key__": "k", **raw}, shard="s.tar", number=number, epoch=0, is_mirrored=False)


def levels(number, decoder=DECODER):
    return [int(decode(number, decoder).values[name][0, 0, 0]) for name in EXAMPLES]


def test_one_place_is_drawn_for_all_lists_and_each_as_often():
    found = [levels(number) for number in range(600)]
    assert all(target == source + 100 for source, target in found)
    counts = [sum(source == level for source, _ in found) for level in (10, 20, 30)]
    assert sum(counts) == 600
    assert min(counts) > 160  # 200 expected, standard deviation 11.5


def test_the_draw_depends_on_seed_and_number_alone():
    again = Decoder(size_px=8, required=(*EXAMPLES, "source_images"), one_of=EXAMPLES[::-1], seed=3)
    other = Decoder(size_px=8, required=("source_images", *EXAMPLES), one_of=EXAMPLES, seed=4)
    assert [levels(n) for n in range(40)] == [levels(n, again) for n in range(40)]
    assert [levels(n) for n in range(40)] != [levels(n, other) for n in range(40)]


def test_a_batch_has_one_image_a_sample_of_them():
    batch = collate([decode(0), decode(1)], DECODER, "recipe x")
    assert batch["example_source_images"].shape == (2, 3, 8, 8)
    assert [image.shape for image in batch["source_images"]] == [(2, 3, 8, 8)]
    assert batch.select([1])["example_target_images"].shape == (1, 3, 8, 8)
    assert batch.to(torch.device("cpu"))["example_target_images"].shape == (2, 3, 8, 8)


def test_values_that_are_not_drawn_are_not_decoded():
    raw = members(0)
    drawn = drawn_values(EXAMPLES, raw, seed=3, number=7)["example_source_images"][0]
    damaged = {name: content if content == drawn or "_source" not in name else b"none" for name, content in raw.items()}
    assert "example_source_images" in decode(7, raw=damaged).values


def test_lists_of_other_lengths_are_named_with_the_sample():
    with pytest.raises(SampleError) as caught:
        decode(0, raw=members(0, targets=2))
    assert str(caught.value) == (
        "shard s.tar, sample k: example_source.jpg|png|webp cannot be read: example_source_images has 3, "
        "example_target_images has 2 values; expected as many in each, as one place is drawn for all"
    )


def test_sample_without_values_lacks_the_column_where_it_may():
    bare = {name: content for name, content in members(0).items() if not name.startswith("example")}
    with pytest.raises(SampleError, match=r"sample k: example_source\.jpg\|png\|webp is not there"):
        decode(0, raw=bare)
    optional = Decoder(size_px=8, required=("source_images",), optional=EXAMPLES, one_of=EXAMPLES)
    lacking = decode(0, optional, raw=bare)
    assert lacking.values.keys() == {"source_images"}
    assert "example_source_images" not in collate([lacking, decode(1, optional)], optional, "recipe x")


@pytest.mark.parametrize("name", ["target_image", "example_source_images"])
def test_column_of_no_list_or_not_read_is_refused(name):
    with pytest.raises(ContractError, match=rf"`one_of` has '{name}'; expected a column that is read and is a list"):
        Decoder(size_px=8, required=("source_images", "target_image"), one_of=(name,))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_draws_are_the_same_for_any_batches_and_differ_between_epochs(tmp_path, num_workers):
    dataset = read_shards(write_dataset(tmp_path, (4, 4), members))

    def seen(batch_size, workers):
        run_on = TrainRunOn(batch_size=batch_size, num_workers=workers)
        config = TrainSettings(data="d", out="o", run_on=run_on)
        batches = Loader(Datasets((dataset,), (1,)), DECODER, config, rank=0, num_ranks=1).batches()
        found = {}
        while len(found) < 160:
            batch = next(batches)
            drawn = (batch["example_source_images"][:, 0, 0, 0] + 1) * 127.5
            found |= dict(
                zip(batch.number_B.tolist(), zip(batch.keys, drawn.round().tolist(), strict=True), strict=True)
            )
        return found

    found = seen(1, 0)
    assert seen(8, num_workers) == found
    assert all(len({level for key, level in found.values() if key == f"{n:05d}"}) == 3 for n in range(8))
