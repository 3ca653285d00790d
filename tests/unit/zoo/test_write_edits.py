"""Held-out edits as files: the same bytes at every run, true results, no scene of another seed."""

import hashlib
import json

import numpy as np
import pytest
from PIL import Image

from evaluation.benchmarks.pairs import Pairs
from zoo.batches import held_out
from zoo.world import KINDS, caption, facts_of, read_facts, render, scene_of
from zoo.write_edits import main


def written(folder, *flags):
    assert main([str(folder), "--count", "14", *flags]) == 0
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def rows_of(folder):
    return [json.loads(line) for line in (folder / "cases.jsonl").read_text().splitlines()]


def pixels(folder, name):
    return np.asarray(Image.open(folder / name))


def test_the_same_arguments_write_the_same_bytes(tmp_path):
    first = written(tmp_path / "a")
    assert written(tmp_path / "b") == first
    assert len(first) == 14 * 3 + 1
    assert written(tmp_path / "c", "--seed", "1") != first


def test_kinds_come_in_turn_and_only_those_asked_for(tmp_path):
    written(tmp_path / "all")
    assert [row["edit_type"] for row in rows_of(tmp_path / "all")] == [*KINDS, *KINDS]
    written(tmp_path / "two", "--kinds", "replace_noun", "change_colour")
    assert [row["edit_type"] for row in rows_of(tmp_path / "two")] == ["replace_noun", "change_colour"] * 7


def test_scenes_are_held_out_and_of_each_seed_others(tmp_path):
    written(tmp_path / "a")
    written(tmp_path / "b", "--seed", "3")
    scenes = held_out(100)
    for row in rows_of(tmp_path / "a"):
        assert row["source_caption"] == caption(scenes[row["world_index"]])
        assert (pixels(tmp_path / "a", row["source"]) == render(scenes[row["world_index"]])).all()
    for row in rows_of(tmp_path / "b"):
        assert row["world_index"] >= 3_000_000
        assert row["source_caption"] == caption(scene_of(row["world_seed"], row["world_index"]))


def test_the_target_is_the_true_result_and_the_mask_holds_what_changes(tmp_path):
    written(tmp_path, "--kinds", "replace_noun", "change_colour", "add", "remove")
    for row in rows_of(tmp_path):
        source, target, mask = (pixels(tmp_path, row[name]) for name in ("source", "target", "mask"))
        assert set(np.unique(mask)) == {0, 255}
        changed = np.abs(source.astype(int) - target).max(2)
        assert changed[mask == 255].mean() > 10 * changed[mask == 0].mean()
        assert read_facts(row["target_caption"]) != facts_of(scene_of(row["world_seed"], row["world_index"]))


def test_the_protocol_reads_what_is_written(tmp_path):
    written(tmp_path, "--size-px", "32")
    benchmark = Pairs().read(tmp_path)
    assert len(benchmark.cases) == 14
    assert Image.open(benchmark.cases[0].source).size == (32, 32)


@pytest.mark.parametrize("flags", [["--count", "0"], ["--seed", "-1"], ["--size-px", "8"]])
def test_an_order_of_nothing_is_refused(tmp_path, flags, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([str(tmp_path / "out"), *flags])
    assert stopped.value.code == 2
    assert "needs at least one edit, a seed of 0 or more and 16 px" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
