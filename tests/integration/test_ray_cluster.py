"""A Ray cluster of two nodes on this machine loses one in the middle of a build."""

import json
import subprocess
import time

import pytest
from _builds import ROOT, build, command, tars

pytestmark = pytest.mark.ray


@pytest.fixture
def cluster():
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    yield made
    made.shutdown()


def test_a_lost_node_costs_only_the_shards_it_held(cluster, light, many_shards, tmp_path):
    node = cluster.add_node(num_cpus=1)
    out = tmp_path / "out"
    line = command(out, "--address", cluster.address, shards=many_shards, manifest=light)
    driver = subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while len({json.loads(p.read_text())["worker"] for p in out.glob("stages/*/*.json")}) < 2:
        assert driver.poll() is None, driver.stderr.read()
        time.sleep(0.02)
    cluster.remove_node(node, allow_graceful=False)
    summary = json.loads(driver.communicate(timeout=200)[0])
    assert driver.returncode == 0
    assert summary["ok"]
    events = [json.loads(text) for p in out.glob("run/events-*.jsonl") for text in p.read_text().splitlines()]
    assert {e["failure"] for e in events if e["event"] == "failed"} <= {"preempted", "lost"}
    undisturbed = tmp_path / "undisturbed"
    assert build(undisturbed, "--executor", "inprocess", shards=many_shards, manifest=light)[0] == 0
    assert tars(out) == tars(undisturbed)


def test_without_an_address_a_running_cluster_is_left_alone(cluster, light, tmp_path):
    code, summary, errors = build(tmp_path / "out", "--workers", "1", manifest=light)
    assert code == 0, errors
    assert summary["ok"]
