"""Two processes of gloo in which a parameter has a gradient in one alone."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = """
import json
from types import SimpleNamespace

import torch
from accelerate import Accelerator

from trainer.recipe import ParameterGroup
from trainer.settings import TrainSettings
from trainer.state import TrainState

module = torch.nn.Module()
module.a, module.b = (torch.nn.Parameter(torch.ones(2)) for _ in "ab")
module.register_buffer("mean", torch.zeros(1))
groups = (ParameterGroup(names=("m.b", "m.a"), weight_decay=0.0),)
accelerator = Accelerator(cpu=True)
settings = TrainSettings(data="d", out="o", learning_rate=0.1, max_grad_norm=None)
state = TrainState(SimpleNamespace(modules={"m": module}, groups=groups), settings, accelerator)
rank = accelerator.process_index
state.begin(("m.a", "m.b"))
(module.a if rank == 0 else 3 * module.b).sum().backward()
module.mean.fill_(rank + 5)
norm = state.update(0)
moments = {name[-1]: tensor.tolist() for name, tensor in state.tensors().items() if name.startswith("exp_avg/")}
print(json.dumps({"norm": norm, "mean": module.mean.item(), **moments}))
"""


def started(rank, port):
    group = {"WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    group |= {"ACCELERATE_USE_CPU": "true", "RANK": rank, "LOCAL_RANK": rank, "OMP_NUM_THREADS": 1}
    env = os.environ | {name: str(value) for name, value in group.items()}
    return subprocess.Popen([sys.executable, "-c", SCRIPT], cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True)


def test_gradient_missing_in_one_process_counts_as_zeros_in_the_mean():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [started(rank, port) for rank in range(2)]
    found = [json.loads(process.communicate(timeout=120)[0].splitlines()[-1]) for process in processes]
    assert found[0] == found[1]
    assert found[0]["a"] == pytest.approx([0.5 * 0.1] * 2)  # the mean of 1 and 0, times 1 - beta1
    assert found[0]["b"] == pytest.approx([1.5 * 0.1] * 2)
    assert found[0]["norm"] == pytest.approx((2 * 0.5**2 + 2 * 1.5**2) ** 0.5)
    assert found[0]["mean"] == 5  # buffers are those of the first process
