"""A Ray cluster of two nodes loses one during a build, or gets one, or is absent."""

import json
import signal
import socket
import subprocess
import sys
import time

import pytest
from _builds import ROOT, build, command, tars
from _fakes import write_shards
from _records import num_records, records

pytestmark = pytest.mark.ray
IMPATIENT = "from cli import main; from pipeline.run import ray_pools; ray_pools.SAY_EVERY_S = 2; main.main()"
"""The command, which says what it waits for after 2 s instead of 15."""


def test_a_cluster_without_room_is_reported_while_the_build_waits(cluster, light, tmp_path):
    """Before `one_node` is there."""
    line = command(tmp_path / "out", "--address", cluster.address, manifest=light)
    line.remove("--json")
    line[:1] = [sys.executable, "-c", IMPATIENT]
    driver = subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    output = ""
    while "no Ray worker of pool 'cpu' started for" not in output:
        output = driver.stderr.readline()
        assert output, driver.wait(60)
    driver.send_signal(signal.SIGTERM)
    assert driver.wait(60) == 1


@pytest.fixture(scope="module")
def one_node(room):
    """The node of one core that the tests below find on the cluster."""
    return room(1)


def test_a_lost_node_costs_only_the_shards_it_held(cluster, one_node, light, many_shards, undisturbed, tmp_path):
    node = cluster.add_node(num_cpus=1)
    out = tmp_path / "out"
    line = command(out, "--address", cluster.address, shards=many_shards, manifest=light)
    driver = subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while len({record["worker"] for record in records(out).values()}) < 2:
        assert driver.poll() is None, driver.stderr.read()
        time.sleep(0.02)
    cluster.remove_node(node, allow_graceful=False)
    summary = json.loads(driver.communicate(timeout=200)[0])
    assert driver.returncode == 0
    assert summary["ok"]
    events = [json.loads(text) for p in out.glob("run/events-*.jsonl") for text in p.read_text().splitlines()]
    assert {e["failure"] for e in events if e["event"] == "failed"} <= {"preempted", "lost"}
    assert tars(out) == undisturbed


def test_without_an_address_a_running_cluster_is_left_alone(cluster, one_node, light, tmp_path):
    code, summary, errors = build(tmp_path / "out", "--workers", "1", manifest=light)
    assert code == 0, errors
    assert summary["ok"]


def test_a_node_that_joins_gets_work(cluster, one_node, tmp_path):
    write_shards(tmp_path / "in", {f"{n:02d}": [f"slow {n}"] for n in range(14)})
    line = [sys.executable, str(ROOT / "tests" / "_fragile.py"), cluster.address]
    driver = subprocess.Popen(
        line, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    driver.stdin.write(json.dumps({"folder": str(tmp_path), "run_on": {}}) + "\n")
    driver.stdin.flush()
    while not num_records(tmp_path / "run", "fragile"):
        assert driver.poll() is None, driver.stderr.read()
        time.sleep(0.02)
    node = cluster.add_node(num_cpus=1)
    driver.communicate(timeout=200)
    cluster.remove_node(node)
    workers = [record["worker"] for record in records(tmp_path / "run", "fragile").values()]
    assert len(workers) == 14
    assert len(set(workers)) == 2


def test_signal_while_connecting_ends_the_build_and_frees_the_folder(light, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as mute:
        line = command(tmp_path / "out", "--address", f"127.0.0.1:{mute.getsockname()[1]}", manifest=light)
        driver = subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        mute.accept()
        time.sleep(1)
        driver.send_signal(signal.SIGTERM)
        began = time.monotonic()
        errors = driver.communicate(timeout=60)[1]
    assert time.monotonic() - began < 5
    assert driver.returncode not in (0, 2)
    assert "Traceback" not in errors
    assert not (tmp_path / "out" / "run" / "lock.json").exists()


def test_an_absent_cluster_is_reported_within_seconds(light, tmp_path):
    began = time.monotonic()
    code, summary, _ = build(tmp_path / "out", "--address", "127.0.0.1:9", manifest=light)
    assert code == 1
    assert "cannot reach the Ray cluster at '127.0.0.1:9' (--address): connection refused" in summary["stopped"]
    assert time.monotonic() - began < 30
