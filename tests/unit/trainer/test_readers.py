import os

import pytest

from trainer import readers
from trainer.readers import default_readers, num_local_ranks


@pytest.mark.parametrize(
    ("device", "num_cores", "ranks", "expected"),
    [
        ("cpu", 64, 1, 0),
        ("cuda", 1, 1, 0),
        ("cuda", 2, 1, 1),
        ("cuda", 6, 1, 5),
        ("cuda", 64, 1, 8),
        ("cuda", 64, 8, 7),
        ("cuda", 8, 8, 0),
        ("cuda", 4, 8, 0),
        ("mps", 8, 1, 7),
    ],
)
def test_readers_take_the_cores_that_the_training_leaves(monkeypatch, device, num_cores, ranks, expected):
    monkeypatch.setattr(readers, "num_cores", lambda: num_cores)
    assert default_readers(device, ranks) == expected


def test_cores_that_the_process_may_not_use_do_not_count(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5, 7}, raising=False)
    assert default_readers("cuda", 1) == 2


def test_processes_of_this_machine_are_those_that_the_launcher_says(monkeypatch):
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert num_local_ranks(4) == 4
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert num_local_ranks(4) == 2
