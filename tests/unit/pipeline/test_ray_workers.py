"""How many Ray workers a chain gets, by GPUs and shares of stages, and what they do at the end; no Ray is started."""

from types import SimpleNamespace

import pytest

from pipeline.errors import RunStopped
from pipeline.executors.ray import RayExecutor
from pipeline.stage import Needs


def sizes_of(resources, *shares, given=None, workers=None):
    """Pool sizes, and the share of a GPU that an actor takes; `given` are the manifest's shares."""
    executor = RayExecutor(storage=None, workers=workers)
    executor._ray = SimpleNamespace(cluster_resources=lambda: resources)
    executor._plan = SimpleNamespace(
        shards=range(100),
        stages=[
            SimpleNamespace(
                index=index, stage=SimpleNamespace(needs=Needs(gpu=share)),
                run_on=SimpleNamespace(gpu=(given or {}).get(index)),
            )
            for index, share in enumerate(shares)
        ],
    )  # fmt: skip
    executor._fix_pools()
    sizes = executor._pool_sizes()
    return sizes, executor._needs("gpu").gpu if "gpu" in sizes else 0.0


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


@pytest.mark.parametrize("is_elsewhere", [True, False])
def test_workers_on_a_cluster_remove_their_copies_of_a_remote_run_folder_before_they_end(is_elsewhere):
    done = []
    handle = SimpleNamespace(close=SimpleNamespace(remote=lambda: done.append("closed")))
    executor = RayExecutor(storage=SimpleNamespace(is_local=not is_elsewhere))
    executor._actors = [SimpleNamespace(handle=handle, is_ready=True)]
    executor._ray = SimpleNamespace(
        wait=lambda refs, **_more: None, exceptions=SimpleNamespace(RayError=RuntimeError),
        kill=lambda handle, **_more: done.append("killed"),
    )  # fmt: skip
    executor.close()
    assert done == (["closed", "killed"] if is_elsewhere else ["killed"])
