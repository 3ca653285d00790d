"""All executors, kills and resumes, on the drawn scenes: the same tars whatever happened on the way."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tarfile
import time

import psutil
import pytest
from _builds import ROOT, build, command, tars
from _kernels import environment_of
from _records import num_records, records


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    out = tmp_path_factory.mktemp("reference") / "out"
    code, summary, _ = build(out, "--executor", "inprocess")
    assert code == 0
    assert summary["stages"][-1]["rows_out"] > 60
    return tars(out)


BOTH = [pytest.param("ray", marks=pytest.mark.ray), "processes"]
"""The executors whose workers are other processes."""
TITLES = {"ray": "RayWorker", "processes": "pipeline.run.process_worker"}
"""Part of the command line of a worker: Ray gives it the title of its actor's method."""


@pytest.fixture(params=BOTH)
def executor(request):
    return request.param


@pytest.fixture
def flags(executor, request):
    """Flags for workers: Ray's are on the shared cluster, which saves the start of a Ray of the build's own."""
    if executor == "processes":
        return "--executor", "processes"
    request.getfixturevalue("room")(2)
    return "--address", request.getfixturevalue("cluster").address


def test_two_workers_give_the_same_bytes(flags, reference, tmp_path):
    code, _, _ = build(tmp_path / "out", *flags, "--workers", "2")
    assert code == 0
    assert tars(tmp_path / "out") == reference


@pytest.mark.parametrize(
    ("kernel", "order"), [("HASWELL", (3, 1, 0, 2)), ("SKYLAKEX", (0, 1, 2, 3)), ("ZEN", (2, 3, 1, 0))]
)
def test_kernels_and_the_order_of_sets_and_shards_change_no_byte(kernel, order, reference, tmp_path):
    listed = tmp_path / "shards.txt"
    listed.write_text("\n".join(f"{ROOT}/data/tiny/{n:05d}.tar" for n in order))
    out = tmp_path / "out"
    code, _, _ = build(out, "--executor", "inprocess", shards=listed, env=environment_of(kernel))
    assert code == 0
    assert tars(out) == reference


def test_a_second_build_does_nothing_and_says_so_at_once(light, tmp_path):
    build(tmp_path / "out", "--executor", "inprocess", manifest=light)
    began = time.monotonic()
    code, summary, _ = build(tmp_path / "out", manifest=light)
    assert code == 0
    assert summary["nothing_to_do"]
    assert time.monotonic() - began < 10


def workers(title):
    """Processes below this one with that title. Some may end meanwhile."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            found += [process] if title in " ".join(process.cmdline()) else []
    return found


def test_a_killed_driver_is_resumed_without_redoing_recorded_work(executor, light, many_shards, undisturbed, tmp_path):
    out = tmp_path / "out"
    line = command(out, "--executor", executor, "--workers", "2", shards=many_shards, manifest=light)
    driver = subprocess.Popen(line, cwd=ROOT, stdout=subprocess.DEVNULL)
    while num_records(out) < 6:
        assert driver.poll() is None
        time.sleep(0.02)
    driver.kill()
    driver.wait()
    time.sleep(2)  # workers notice that their driver is gone
    assert executor == "ray" or not [p for p in psutil.process_iter() if is_worker_of(p, out)]
    before = records(out)
    code, summary, _ = build(out, "--executor", "inprocess", shards=many_shards, manifest=light)
    assert code == 0
    after = records(out)
    assert {step: after[step] for step in before} == before
    assert sum(s["cached"] for s in summary["stages"]) >= 6
    assert tars(out) == undisturbed


def is_worker_of(process, out):
    """True for a worker process of a build into `out`, whose log it has open."""
    try:
        return any(str(out) in file.path for file in process.open_files() if "worker" in file.path)
    except psutil.Error:
        return False


def failures(out):
    """Events about failed attempts."""
    lines = [line for path in out.glob("run/events-*.jsonl") for line in path.read_text().splitlines(keepends=True)]
    events = [json.loads(line) for line in lines if line.endswith("\n")]
    return [event for event in events if event["event"] == "failed"]


def test_a_killed_worker_costs_only_its_shard(executor, flags, light, many_shards, tmp_path):
    out = tmp_path / "out"
    line = command(out, *flags, "--workers", "2", shards=many_shards, manifest=light)
    driver = subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    num_kills = 0
    while driver.poll() is None and not failures(out):  # a worker may be killed between two steps, and costs nothing
        if num_records(out) >= 4:
            for worker in workers("RayWorker.run" if executor == "ray" else TITLES[executor])[:1]:
                worker.send_signal(signal.SIGKILL)
                num_kills += 1
                time.sleep(0.3)
        time.sleep(0.01)
    summary = json.loads(driver.communicate(timeout=200)[0])
    assert summary["ok"], summary
    assert driver.returncode == 0
    lost = failures(out)
    assert {e["failure"] for e in lost} == {"lost"}
    assert len(lost) <= num_kills
    assert "its worker died" in lost[0]["message"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_interrupt_lets_shards_in_flight_end(executor, flags, light, many_shards, tmp_path, number):
    out = tmp_path / "out"
    chosen = ["--executor", executor] if number == signal.SIGINT else flags
    line = command(out, *chosen, "--workers", "2", shards=many_shards, manifest=light)
    driver = subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True)
    while num_records(out) < 4:
        time.sleep(0.02)
    if number == signal.SIGINT:
        os.killpg(driver.pid, number)  # as a terminal does: to the driver and its own Ray below it
    else:
        driver.send_signal(number)
    summary = json.loads(driver.communicate(timeout=100)[0])
    assert driver.returncode == 1
    assert summary["interrupted"]
    assert summary["failures"] == []
    assert summary["steps_left"] > 0
    code, _, _ = build(out, "--executor", "inprocess", shards=many_shards, manifest=light)
    assert code == 0


def test_a_shard_that_always_fails_is_named_and_the_others_are_done(flags, light, tmp_path):
    folder = tmp_path / "shards"
    shutil.copytree(ROOT / "data" / "tiny", folder)
    (folder / "00009.tar").write_bytes(b"not a tar at all" * 100)
    code, summary, _ = build(tmp_path / "out", *flags, "--workers", "2", shards=folder, manifest=light)
    assert code == 1
    assert [(f["stage"], f["shard"]) for f in summary["failures"]] == [("read_webdataset", "00009")]
    assert "not a tar archive" in summary["failures"][0]["cause"]
    filtered = next(s for s in summary["stages"] if s["stage"] == "filter_caption")
    assert filtered["done"] == 4
    with tarfile.open(folder / "00009.tar", "w"):
        pass  # as it should be: an archive without samples
    code, summary, _ = build(tmp_path / "out", "--executor", "inprocess", shards=folder, manifest=light)
    assert code == 0
    assert tars(tmp_path / "out")


def test_a_second_build_on_one_folder_names_the_holder(light, many_shards, tmp_path):
    out = tmp_path / "out"
    driver = subprocess.Popen(
        command(out, "--executor", "inprocess", shards=many_shards, manifest=light), cwd=ROOT, stdout=subprocess.DEVNULL
    )
    while not (out / "run" / "lock.json").exists():
        time.sleep(0.01)
    code, _, errors = build(out, "--executor", "inprocess", shards=many_shards, manifest=light)
    assert code == 1
    assert f"held by process {driver.pid} on" in errors
    assert driver.wait(timeout=100) == 0


def test_a_worker_that_goes_silent_is_replaced(executor, flags, light, many_shards, tmp_path):
    impatient = tmp_path / "impatient.toml"
    impatient.write_text(light.read_text().replace('name = "light"', 'name = "light"\n[run_on]\nheartbeat_s = 2\n'))
    out = tmp_path / "out"
    line = command(out, *flags, "--workers", "1", shards=many_shards, manifest=impatient)
    driver = subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    while num_records(out) < 4:
        assert driver.poll() is None
        time.sleep(0.02)
    silent = workers(TITLES[executor])[0]
    silent.send_signal(signal.SIGSTOP)
    summary = json.loads(driver.communicate(timeout=100)[0])
    if silent.is_running():
        silent.kill()  # it could not take its place on the cluster with it
    assert driver.returncode == 0
    assert summary["ok"]
    events = [json.loads(text) for p in out.glob("run/events-*.jsonl") for text in p.read_text().splitlines()]
    assert ["no sign of life for 2 s" in e["message"] for e in events if e["event"] == "failed"] == [True]
