"""Exact edits as a dataset: what the trainer reads is the world's truth, and no held-out scene is among it."""

import json

import numpy as np
import pytest
from _datasets import samples_of

from samples.shards import read_shards
from samples.stored_images import mask_array, rgb_image
from trainer.data import first_samples
from trainer.decode import Decoder
from zoo.batches import HELD_OUT_SEED
from zoo.world import KINDS, edit_mask, render
from zoo.write_edit_dataset import main
from zoo.write_edits import EditOrder

COUNT = 14
READS = ("source_images", "target_image", "instruction", "edit_type")


def written(folder, *flags):
    assert main([str(folder), "--count", str(COUNT), "--seed", "4", "--samples-per-shard", "6", *flags]) == 0
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def edits():
    return [edit for _, edit in EditOrder(COUNT, 0, KINDS, world_seed=4).edits()]


def test_the_same_arguments_write_the_same_bytes(tmp_path):
    assert written(tmp_path / "a") == written(tmp_path / "b")
    assert written(tmp_path / "c", "--seed", "5") != written(tmp_path / "a")


def test_the_trainer_reads_every_exact_pair(tmp_path):
    written(tmp_path)
    dataset = read_shards(tmp_path)
    assert [shard.num_samples for shard in dataset.shards] == [6, 6, 2]
    samples = first_samples(dataset, Decoder(size_px=64, required=READS), COUNT)
    for sample, edit in zip(samples, edits(), strict=True):
        assert (sample.values["source_images"][0] == render(edit.source)).all()
        assert (sample.values["target_image"] == render(edit.target)).all()
        assert (sample.values["instruction"], sample.values["edit_type"]) == (edit.instruction, edit.kind)


def test_regions_are_the_masks_of_the_edits(tmp_path):
    written(tmp_path, "--regions")
    for members, edit in zip(samples_of(tmp_path), edits(), strict=True):
        assert (mask_array(members["region_mask.png"]) == edit_mask(edit)).all()
        assert json.loads(members["json"])["is_whole_image"] == bool(edit_mask(edit).all())


def test_without_regions_nothing_says_where(tmp_path):
    written(tmp_path, "--size-px", "32")
    for members in samples_of(tmp_path):
        assert set(members) == {"source.png", "target.png", "json"}
        assert np.asarray(rgb_image(members["source.png"], 1 << 20)).shape == (32, 32, 3)
        assert "is_whole_image" not in json.loads(members["json"])


def test_without_targets_the_sources_and_texts_are_the_same(tmp_path):
    written(tmp_path / "all")
    written(tmp_path / "none", "--without-targets")
    both = zip(samples_of(tmp_path / "all"), samples_of(tmp_path / "none"), strict=True)
    for with_target, without in both:
        assert without == {suffix: one for suffix, one in with_target.items() if suffix != "target.png"}


def test_another_world_has_other_scenes():
    first, other = (next(EditOrder(1, 0, KINDS, world_seed=seed).edits())[1] for seed in (4, HELD_OUT_SEED))
    assert first.source != other.source


@pytest.mark.parametrize("flags", [["--count", "0"], ["--samples-per-shard", "0"], ["--size-px", "8"]])
def test_an_order_of_nothing_is_refused(tmp_path, flags, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([str(tmp_path / "out"), *flags])
    assert stopped.value.code == 2
    assert "needs at least one edit, one sample in each shard and 16 px" in capsys.readouterr().err


@pytest.mark.parametrize("seed", ["-1", str(HELD_OUT_SEED)])
def test_the_held_out_world_is_not_written_for_training(tmp_path, seed, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([str(tmp_path / "out"), "--seed", seed])
    assert stopped.value.code == 2
    assert f"seed {seed} is none to train on" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
