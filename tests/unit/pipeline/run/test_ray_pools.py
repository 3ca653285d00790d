"""How many Ray workers a chain gets, by GPUs and shares of stages. No Ray is started."""

from types import SimpleNamespace

import pytest

from core.errors import RunStopped
from pipeline.run.ray_pools import SAY_EVERY_S, START_TIMEOUT_S, Pools, PoolWaits
from pipeline.stage import Needs


def sizes_of(resources, *shares, given=None, workers=None):
    """Pool sizes, and the share of a GPU that an actor takes. `given` are the manifest's shares."""
    plan = SimpleNamespace(
        shards=range(100),
        stages=[
            SimpleNamespace(
                index=index, stage=SimpleNamespace(needs=Needs(gpu=share)),
                run_on=SimpleNamespace(gpu=(given or {}).get(index)),
            )
            for index, share in enumerate(shares)
        ],
    )  # fmt: skip
    pools = Pools(plan, workers, resources)
    sizes = pools.sizes(resources)
    return sizes, pools.needs("gpu").gpu if "gpu" in sizes else 0.0


@pytest.mark.parametrize(
    ("resources", "shares", "given", "sizes", "share"),
    [
        ({"CPU": 4}, (0, 0.25, 0.25), None, {"cpu": 4}, 0),
        ({"CPU": 4, "GPU": 1}, (0, 0.25, 0.25), None, {"cpu": 4, "gpu": 2}, 0.5),
        ({"CPU": 4, "GPU": 2}, (0, 0.25, 0.25, 0.25, 0.25, 0.25), None, {"cpu": 4, "gpu": 2}, 1),
        ({"CPU": 4, "GPU": 4}, (2, 0.25), None, {"gpu": 2}, 2),
        ({"CPU": 4, "GPU": 1}, (0, 0.25, 0.25), {1: 0.05, 2: 0.05}, {"cpu": 4, "gpu": 10}, 0.1),
        ({"CPU": 4, "GPU": 1}, (0, 0.25, 0.25), {1: 0.9}, {"cpu": 4, "gpu": 1}, 1),
    ],
)
def test_a_worker_takes_the_shares_of_all_its_stages_together(resources, shares, given, sizes, share):
    found, taken = sizes_of(resources, *shares, given=given)
    assert found == sizes
    assert taken == pytest.approx(share)


def test_workers_bound_both_pools():
    assert sizes_of({"CPU": 8, "GPU": 8}, 0, 0.5, workers=2)[0] == {"cpu": 2, "gpu": 2}


def test_a_stage_that_needs_more_gpus_than_there_are_is_refused():
    with pytest.raises(RunStopped, match="a stage needs 2 GPUs; the cluster has 1"):
        sizes_of({"CPU": 8, "GPU": 1}, 2)


def test_pools_grow_with_the_cluster():
    plan = SimpleNamespace(
        shards=range(100),
        stages=[SimpleNamespace(index=0, stage=SimpleNamespace(needs=Needs()), run_on=SimpleNamespace(gpu=None))],
    )
    pools = Pools(plan, None, {"CPU": 2})
    assert pools.sizes({"CPU": 2}) == {"cpu": 2}
    assert pools.sizes({"CPU": 6, "GPU": 1}) == {"cpu": 6}, "pools stay those of the start"


@pytest.fixture
def waits():
    plan = SimpleNamespace(
        shards=range(1),
        stages=[SimpleNamespace(index=0, stage=SimpleNamespace(needs=Needs()), run_on=SimpleNamespace(gpu=None))],
    )
    return PoolWaits(Pools(plan, None, {"CPU": 1}))


def test_pool_without_a_worker_is_mentioned_at_intervals(waits):
    waits.note("cpu", 0.0, is_served=False)
    assert waits.message(SAY_EVERY_S - 1) == ""
    assert waits.message(SAY_EVERY_S * 2).startswith("no Ray worker of pool 'cpu' started for 30 s: one needs 1 cores")


def test_worker_that_starts_ends_the_wait(waits):
    waits.note("cpu", 0.0, is_served=False)
    waits.note("cpu", 100.0, is_served=True)
    assert waits.message(101.0) == ""


def test_pool_that_never_gets_a_worker_stops_the_run(waits):
    waits.note("cpu", 0.0, is_served=False)
    waits.note("cpu", START_TIMEOUT_S, is_served=False)
    with pytest.raises(RunStopped, match="no Ray worker of pool 'cpu' started within 300 s"):
        waits.note("cpu", START_TIMEOUT_S + 1, is_served=False)
