"""The benchmark of a GPU: failures become rows, batches are halved, networks have the published sizes."""

import json
import sys
import time
import types

import pytest
import torch

from benchmarks.gpu import checkpoints, part, run, table
from benchmarks.gpu.measure import Case, Measured, Work, fitting, peak_flops
from benchmarks.gpu.parts import PARTS, Part


@pytest.fixture
def parts(monkeypatch):
    """A module of parts, of which one case fails, and one asks for a package that is not there."""

    def fails():
        raise ValueError("no such thing\nand more")

    def lacks():
        import no_such_package  # noqa: F401

    def good(_work):
        yield Case("one", lambda: Measured(per_second=2.0, unit="rows", batch=4))
        yield Case("two", fails)
        yield Case("three", lacks)
        yield Case("four", lambda: Measured(per_second=3.0, unit="rows", batch=4, missed=("too slow",)))

    def broken(_work):
        raise RuntimeError("cannot begin")

    module = types.ModuleType("fake_parts")
    module.good, module.broken = good, broken
    monkeypatch.setitem(sys.modules, "fake_parts", module)
    for name in ("good", "broken"):
        monkeypatch.setitem(PARTS, name, Part(f"fake_parts:{name}", 1))


def rows_of(tmp_path, name, until=None):
    path = tmp_path / "rows.jsonl"
    fields = {"folder": str(tmp_path), "small": True, "device": "cpu", "seconds": 0.0}
    part._measure(name, fields, path, time.time() + 60 if until is None else until)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [line for line in lines if "status" in line]


@pytest.mark.usefixtures("parts")
def test_a_case_that_fails_is_a_row_and_the_next_is_measured(tmp_path):
    rows = rows_of(tmp_path, "good")
    assert [row["status"] for row in rows] == ["measured", "failed", "not installed", "measured"]
    assert [row.get("notes") for row in rows[1:3]] == ["ValueError: no such thing", "no_such_package"]
    assert table.failures({"rows": rows}) == ["good, two: failed, ValueError: no such thing", "good: too slow"]


@pytest.mark.usefixtures("parts")
def test_a_part_that_cannot_begin_is_a_row(tmp_path):
    assert [(row["status"], row["notes"]) for row in rows_of(tmp_path, "broken")] == [
        ("failed", "RuntimeError: cannot begin")
    ]


@pytest.mark.usefixtures("parts")
def test_without_time_no_case_is_begun(tmp_path):
    assert {row["status"] for row in rows_of(tmp_path, "good", until=0)} == {"no time left"}


def test_a_process_that_dies_is_a_row_of_its_case(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"part": "pairs", "case": "SD 1.5", "is_start": true}\n')
    (row,) = run._rows(path, ["pairs"], "ended with code -9")
    assert (row["case"], row["status"], row["notes"]) == ("SD 1.5", "failed", "the process ended with code -9")
    (row,) = run._rows(path, ["pairs"], "")
    assert row["status"] == "timed out"


def test_a_batch_that_does_not_fit_is_halved():
    asked = []

    def call(size):
        asked.append(size)
        if size > 8:
            raise torch.OutOfMemoryError("no room")
        return size

    assert fitting(32, call) == (8, 8)
    assert asked == [32, 16, 8]


def test_one_row_that_does_not_fit_is_an_error():
    def call(_size):
        raise torch.OutOfMemoryError("no room")

    with pytest.raises(torch.OutOfMemoryError):
        fitting(2, call)


@pytest.mark.parametrize(
    ("card", "tflops"),
    [
        ("NVIDIA H200", 989), ("NVIDIA H100 80GB HBM3", 989), ("NVIDIA H100 PCIe", 756), ("NVIDIA L40S", 362),
        ("NVIDIA A100-SXM4-80GB", 312), ("NVIDIA GeForce GTX 1080", None), (None, None),
    ],
)  # fmt: skip
def test_peaks_are_found_by_the_name_of_the_card(card, tflops):
    assert peak_flops(card) == (tflops and tflops * 1e12)


@pytest.mark.parametrize(
    ("save", "millions"),
    [
        (checkpoints.save_blip, 446), (checkpoints.save_clip, 428), (checkpoints.save_clipseg, 151),
        (checkpoints.save_grounding_dino, 233), (checkpoints.save_sam, 641),
    ],
)  # fmt: skip
def test_networks_have_the_size_of_the_published_ones(save, millions, monkeypatch, tmp_path):
    """Made without values. The published BLIP holds the table of its words twice, 470 million in all."""
    counted = []

    def count(kind, config, _folder, _work, _processor):
        with torch.device("meta"):
            counted.append(sum(weight.numel() for weight in kind(config).parameters()) / 1e6)

    monkeypatch.setattr(checkpoints, "_save", count)
    save(tmp_path, Work(folder=tmp_path, small=False, device="cpu", seconds=0))
    assert counted == [pytest.approx(millions, rel=0.01)]


def test_operations_counted_without_values_are_those_of_a_run():
    from diffusers import UNet2DConditionModel
    from torch.utils.flop_counter import FlopCounterMode

    from benchmarks.gpu.train import sample_flops
    from benchmarks.pairs.checkpoints import LAYOUTS

    config = {**LAYOUTS["sd15-tiny"].unet, "in_channels": 8}
    with torch.device("meta"):
        counted = sample_flops(UNet2DConditionModel(**config), 16)
    counter = FlopCounterMode(display=False)
    unet = UNet2DConditionModel(**config)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH), counter:
        unet(torch.randn(1, 8, 16, 16), torch.tensor([5]), torch.randn(1, 77, 64)).sample.sum().backward()
    assert counted == counter.get_total_flops()
