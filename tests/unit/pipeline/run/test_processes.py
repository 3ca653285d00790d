"""How worker processes start and end. What they do is tested in tests/integration."""

import fnmatch
import os
import signal
import time

import pytest
from _fakes import ReadLines, Upper, plan_of, rows_of, run

from core.errors import PlanError, RunStopped
from pipeline.build import run as runs
from pipeline.build.build import Build
from pipeline.run import processes
from pipeline.run.processes import MOST_FAILED_STARTS, ProcessExecutor
from pipeline.store.storage import Storage

SHARDS = {name: [f"{name} {n}" for n in range(5)] for name in "abcd"}


def test_build_in_two_processes_gives_the_rows_of_one(tmp_path):
    plan = plan_of(tmp_path, [ReadLines(), Upper()], SHARDS)
    storage = Storage(plan.out)
    result = Build(plan, storage, ProcessExecutor(storage, 2), lambda *_: None).run()
    storage.close()
    assert result.ok, result
    alone = plan_of(tmp_path / "alone", [ReadLines(), Upper()], SHARDS)
    assert run(alone).ok
    for shard in SHARDS:
        assert rows_of(plan, "upper", shard) == rows_of(alone, "upper", shard)
    assert not (tmp_path / "run/tmp").exists()


def test_there_are_no_more_processes_than_shards(tmp_path):
    plan = plan_of(tmp_path, [ReadLines()], {"a": ["one"]})
    executor = ProcessExecutor(Storage(plan.out), 8)
    executor.start(plan)
    try:
        assert len(executor._workers) == 1
    finally:
        executor.close()


@pytest.fixture
def one_worker(tmp_path):
    plan = plan_of(tmp_path, [ReadLines()], {"a": ["one"]})
    executor = ProcessExecutor(Storage(plan.out), 1)
    executor.start(plan)
    yield executor
    executor.close()


def until(executor, is_true):
    ends = time.monotonic() + 60
    while not is_true():
        assert time.monotonic() < ends
        executor.wait(0.1)


def test_worker_killed_while_it_starts_is_replaced(one_worker):
    first = one_worker._workers[0].process
    first.kill()
    until(one_worker, lambda: one_worker.slots(0) == 1)
    assert one_worker._workers[0].process.pid != first.pid


def test_workers_that_are_always_killed_stop_the_build(one_worker):
    for _ in range(MOST_FAILED_STARTS):
        worker = one_worker._workers[0]
        worker.process.kill()
        until(one_worker, lambda worker=worker: worker not in one_worker._workers)
    one_worker._workers[0].process.kill()
    with pytest.raises(RunStopped, match=r"a worker did not start: its worker died \(SIGKILL\)"):
        until(one_worker, lambda: False)


def test_idle_worker_that_dies_is_replaced_and_costs_no_attempt(one_worker):
    until(one_worker, lambda: one_worker.slots(0) == 1)
    first = one_worker._workers[0].process
    os.kill(first.pid, signal.SIGKILL)
    until(one_worker, lambda: one_worker._workers[0].process.pid != first.pid)
    until(one_worker, lambda: one_worker.slots(0) == 1)


def test_worker_that_cannot_start_is_explained_by_its_last_line(tmp_path, monkeypatch):
    plan = plan_of(tmp_path, [ReadLines()], {"a": ["one"]})
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.setattr("pipeline.run.processes.sys.path", [str(tmp_path)])
    storage = Storage(plan.out)
    result = Build(plan, storage, ProcessExecutor(storage, 1), lambda *_: None).run()
    storage.close()
    assert result.stopped.startswith("a worker did not start: its worker died (exit code 1): ")
    assert "No module named" in result.stopped


@pytest.mark.parametrize(
    ("address", "variable", "gpu", "expected"),
    [
        (None, "", False, False),
        (None, "local", False, False),
        ("10.0.0.1:6379", "", False, True),
        (None, "10.0.0.1:6379", False, True),
        (None, "", True, False),
    ],
)
def test_ray_is_taken_for_a_cluster_and_for_stages_on_a_gpu(tmp_path, monkeypatch, address, variable, gpu, expected):
    monkeypatch.setenv("RAY_ADDRESS", variable)
    monkeypatch.setattr(runs, "has_gpu", lambda: gpu)
    plan = plan_of(tmp_path, [ReadLines(), Upper()], {"a": ["one"]})
    assert runs._wants_ray(plan, address) is expected


def test_ray_is_taken_where_a_stage_uses_the_gpu_there_is(tmp_path, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(runs, "has_gpu", lambda: True)
    plan = plan_of(tmp_path, [ReadLines(), OnGpu()], {"a": ["one"]})
    assert runs._wants_ray(plan, None)


class OnGpu(Upper):
    needs = Upper.needs.__class__(gpu=0.5)


def test_processes_take_no_address(tmp_path):
    plan = plan_of(tmp_path, [ReadLines()], {"a": ["one"]})
    with pytest.raises(PlanError, match="has workers on this machine only; use --executor ray"):
        runs._executor("processes", plan, Storage(plan.out), 1, "10.0.0.1:6379")


def test_workers_import_nothing_from_the_current_folder(tmp_path, monkeypatch):
    for package in ("samples", "stages", "models"):
        (tmp_path / "here" / package).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    plan = plan_of(tmp_path, [ReadLines()], {"a": ["one"]})
    storage = Storage(plan.out)
    result = Build(plan, storage, ProcessExecutor(storage, 1), lambda *_: None).run()
    storage.close()
    assert result.ok, result.stopped


def test_worker_outlives_a_sigterm_to_its_group(one_worker):
    until(one_worker, lambda: one_worker.slots(0) == 1)
    process = one_worker._workers[0].process
    os.kill(process.pid, signal.SIGTERM)
    time.sleep(0.3)
    assert process.poll() is None


def test_failed_start_of_a_worker_comes_after_the_outcomes(one_worker, monkeypatch):
    until(one_worker, lambda: one_worker.slots(0) == 1)
    worker = one_worker._workers[0]

    def fails():
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(one_worker, "_spawn", fails)
    worker.process.kill()
    with pytest.raises(RunStopped, match=r"a worker cannot be started: resource temporarily unavailable"):
        until(one_worker, lambda: False)


def test_thread_that_cannot_start_is_a_worker_that_cannot(tmp_path, monkeypatch):
    def fails(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(processes.threading.Thread, "start", fails)
    plan = plan_of(tmp_path, [ReadLines()], {"a": ["one"]})
    executor = ProcessExecutor(Storage(plan.out), 1)
    with pytest.raises(OSError, match="can't start new thread"):
        executor.start(plan)
    assert executor._workers == []


class Large(Upper):
    needs = Upper.needs.__class__(memory_bytes=3 << 30)


@pytest.mark.parametrize(("memory_gib", "expected"), [(64, 8), (12, 4), (2, 1)])
def test_workers_are_as_many_as_cores_and_memory_serve(tmp_path, monkeypatch, memory_gib, expected):
    monkeypatch.setattr(processes, "_memory_bytes", lambda: memory_gib << 30)
    monkeypatch.setattr(processes.os, "sched_getaffinity", lambda _: range(8))
    plan = plan_of(tmp_path, [ReadLines(), Large()], {"a": ["one"]})
    assert processes._num_served(plan) == expected


def test_memory_is_that_of_this_machine_at_most():
    assert 0 < processes._memory_bytes() <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.mark.parametrize("device", ["/dev/nvidia0", "/dev/nvidia3", "/dev/dxg", "/dev/kfd"])
def test_gpu_is_found_by_any_of_its_devices(monkeypatch, device):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(processes, "glob", lambda pattern: fnmatch.filter([device, "/dev/nvidiactl"], pattern))
    assert processes.has_gpu()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert not processes.has_gpu()
