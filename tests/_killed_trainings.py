"""Trainings in processes of their own that are killed, and their curves."""

import signal
import time

from trainer.metrics import TIMINGS, read_metrics


def curve(out):
    """The rows of a training's metrics without what depends on speed."""
    return [{name: value for name, value in row.items() if name not in TIMINGS} for row in read_metrics(out)]


def kill_at_step(process, out, steps=3, deadline_s=200):
    """Kill the training of `process` once `out` has metrics of that many steps, and before it has a model."""
    deadline = time.monotonic() + deadline_s
    while len(read_metrics(out)) < steps:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    assert process.wait(30) == -signal.SIGKILL
    assert not (out / "model").exists()
