"""What Ray workers do at the end; no Ray is started."""

from types import SimpleNamespace

import pytest

from pipeline.executors.ray import RayExecutor


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
