"""Inputs shared by the integration tests."""

import shutil

import pytest
from _builds import LIGHT, ROOT, build, tars


@pytest.fixture(scope="session")
def light(tmp_path_factory):
    path = tmp_path_factory.mktemp("light") / "light.toml"
    path.write_text(LIGHT)
    return path


@pytest.fixture(scope="session")
def many_shards(tmp_path_factory):
    """Twelve shards, so that a kill finds work in flight."""
    folder = tmp_path_factory.mktemp("many")
    for copy in range(3):
        for shard in sorted((ROOT / "data" / "tiny").glob("*.tar")):
            shutil.copyfile(shard, folder / f"{copy}-{shard.name}")
    return folder


@pytest.fixture(scope="session")
def undisturbed(light, many_shards, tmp_path_factory):
    """The tars of the light chain over many shards."""
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    assert build(out, "--executor", "inprocess", shards=many_shards, manifest=light)[0] == 0
    return tars(out)


@pytest.fixture(scope="session")
def cluster():
    """A Ray cluster on this machine for all tests: its head takes no worker, `room` adds nodes."""
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    yield made
    made.shutdown()


@pytest.fixture(scope="module")
def room(cluster):
    """Called with a number of cores: a node with so many joins the cluster until the module's tests have ended."""
    nodes = []

    def add(num_cpus):
        nodes.append(cluster.add_node(num_cpus=num_cpus))
        return nodes[-1]

    yield add
    for node in nodes:
        cluster.remove_node(node)
