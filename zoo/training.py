"""The loop that trains every miniature model: seeded, resumable, on CPU or GPU.

A model's script says how to build it, what one step's loss is and how long to train; this module owns the optimiser,
the learning rate, checkpoints (safetensors, moments included) and the curve. Step `k` draws its data from the seed and
`k` alone, so a resumed training sees what an uninterrupted one would have seen.
"""

from __future__ import annotations

import json
import math
import os
import random
import re
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import safe_open
from safetensors.torch import save_file

if TYPE_CHECKING:
    from collections.abc import Callable

CHECKPOINTS = Path("runs/zoo")
CHECKPOINT_EVERY_S = 120.0
LOG_EVERY = 50
_BLOCK = re.compile(r"(layers?|blocks|stages|encoder|decoder)\.(\w+\.)*\d+\.")  # inside a numbered block


@dataclass(frozen=True, slots=True)
class Training:
    """How one model is trained.

    `ema` is the decay of the averaged weights that are kept; 0 keeps the last ones. With a `muon_rate` the matrices
    and convolutions (flattened to matrices) inside numbered blocks are trained by Muon (Jordan et al. 2024) at that
    rate, everything else by AdamW at `learning_rate`: vision transformers of this size learn the world's nouns from
    several times fewer images so.
    """

    name: str
    num_steps: int
    batch_size: int
    learning_rate: float
    seed: int = 1
    weight_decay: float = 0.01
    warmup_frac: float = 0.05
    beta2: float = 0.99
    clip_norm: float = 1.0
    ema: float = 0.0
    muon_rate: float = 0.0
    base: str = ""  # fingerprint of the weights that the model is built on; others are another training
    autocast: bool = False  # bfloat16 matrix products; measured per model, it pays for plain transformers only

    def rate_frac(self, step: int) -> float:
        """The share of the peak learning rate at `step`: linear warm-up, then a cosine down to a hundredth."""
        warmup = max(1, int(self.warmup_frac * self.num_steps))
        if step < warmup:
            return (step + 1) / warmup
        progress = (step - warmup) / max(1, self.num_steps - warmup)
        return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress))

    def rng(self, step: int) -> random.Random:
        """The source of everything random in the data of `step`."""
        return random.Random(f"{self.name}/{self.seed}/{step}")


def _is_in_block(name: str) -> bool:
    """Muon's share: weights of numbered blocks. The offsets of deformable attention need AdamW's small steps."""
    return _BLOCK.search(name) is not None and "offset" not in name


def device() -> torch.device:
    """The GPU when there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def train(training: Training, module: torch.nn.Module, loss_at: Callable[[int], dict[str, torch.Tensor]]) -> None:
    """Trains the parameters of `module` that require gradients. On return it holds the (averaged) trained weights.

    `loss_at(step)` gives named losses whose sum is minimised. Progress goes to runs/zoo/NAME: checkpoint.safetensors
    and curve.jsonl. A finished training is taken from its checkpoint.
    """
    folder = CHECKPOINTS / f"{training.name}-seed{training.seed}"
    folder.mkdir(parents=True, exist_ok=True)
    state = _State(training, module, folder)
    step = state.restore()
    started_s = saved_s = time.monotonic()
    while step < training.num_steps:
        state.set_rates(training.rate_frac(step))
        torch.manual_seed(training.seed * 1_000_003 + step)
        with torch.autocast(device().type, torch.bfloat16, enabled=training.autocast):
            losses = loss_at(step)
        module.zero_grad(set_to_none=True)
        torch.stack(list(losses.values())).sum().backward()
        norm = torch.nn.utils.clip_grad_norm_(state.parameters, training.clip_norm)
        state.step()
        step += 1
        state.average(step)
        if step % LOG_EVERY == 0 or step == training.num_steps:
            elapsed_s = time.monotonic() - started_s
            row = {"step": step, "s": round(elapsed_s, 1), "norm": round(float(norm), 3)}
            row |= {key: round(float(value.detach()), 4) for key, value in losses.items()}
            with (folder / "curve.jsonl").open("a") as curve:
                curve.write(json.dumps(row) + "\n")
            print(training.name, row, flush=True)
        if time.monotonic() - saved_s > CHECKPOINT_EVERY_S or step == training.num_steps:
            state.save(step)
            saved_s = time.monotonic()
    state.use_average()


class _State:
    """Weights, moments and averages of one training, to and from one safetensors file."""

    def __init__(self, training: Training, module: torch.nn.Module, folder: Path) -> None:
        self.training, self.path = training, folder / "checkpoint.safetensors"
        self.named = {name: p for name, p in module.named_parameters() if p.requires_grad}
        self.buffers = dict(module.named_buffers())
        self.parameters = list(self.named.values())
        muon = [p for n, p in self.named.items() if training.muon_rate and p.ndim in {2, 4} and _is_in_block(n)]
        taken = {id(p) for p in muon}
        self.matrices = {id(p): torch.nn.Parameter(p.detach().flatten(1)) for p in muon}  # views: same memory
        rest = [p for p in self.parameters if id(p) not in taken]
        groups = [
            {"params": [p for p in rest if p.ndim > 1], "weight_decay": training.weight_decay},
            {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0},
        ]
        self.optimisers: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(groups, lr=training.learning_rate, betas=(0.9, training.beta2), fused=True)
        ]
        if muon:
            rate, decay = training.muon_rate, training.weight_decay
            matrices = list(self.matrices.values())
            self.optimisers.append(
                torch.optim.Muon(matrices, lr=rate, weight_decay=decay, adjust_lr_fn="match_rms_adamw")
            )
        self.peaks = [[group["lr"] for group in optimiser.param_groups] for optimiser in self.optimisers]
        self.averages = {n: p.detach().clone() for n, p in self.named.items()} if training.ema else {}

    def set_rates(self, frac: float) -> None:
        for optimiser, peaks in zip(self.optimisers, self.peaks, strict=True):
            for group, peak in zip(optimiser.param_groups, peaks, strict=True):
                group["lr"] = frac * peak

    def step(self) -> None:
        for parameter in self.parameters:
            if id(parameter) in self.matrices and parameter.grad is not None:
                self.matrices[id(parameter)].grad = parameter.grad.flatten(1)
        for optimiser in self.optimisers:
            optimiser.step()

    def moments(self, parameter: torch.nn.Parameter) -> dict[str, torch.Tensor]:
        """The optimiser's memory of one parameter, or empty before its first step."""
        is_muon = id(parameter) in self.matrices
        state: dict[str, torch.Tensor] = self.optimisers[is_muon].state[self.matrices.get(id(parameter), parameter)]
        return state

    @torch.no_grad()
    def average(self, step: int) -> None:
        decay = min(self.training.ema, (1 + step) / (10 + step))
        for name, mean in self.averages.items():
            mean.lerp_(self.named[name], 1 - decay)

    @torch.no_grad()
    def use_average(self) -> None:
        for name, mean in self.averages.items():
            self.named[name].copy_(mean)

    def save(self, step: int) -> None:
        tensors = {f"weight/{name}": p.detach() for name, p in self.named.items()}
        tensors |= {f"buffer/{name}": b for name, b in self.buffers.items()}
        tensors |= {f"average/{name}": mean for name, mean in self.averages.items()}
        for name, parameter in self.named.items():
            for key, value in self.moments(parameter).items():
                tensors[f"{key}/{name}"] = value
        tensors = {key: value.contiguous().clone() for key, value in tensors.items()}
        partial = self.path.with_suffix(".new")
        save_file(tensors, partial, metadata={"step": str(step), "training": json.dumps(asdict(self.training))})
        os.replace(partial, self.path)  # noqa: PTH105  # the same call on a Path says less

    @torch.no_grad()
    def restore(self) -> int:
        if not self.path.exists():
            return 0
        with safe_open(self.path, "pt") as saved:
            metadata = saved.metadata()
            if Training(**json.loads(metadata["training"])) != self.training:
                raise ValueError(f"{self.path} was written under other settings; move it away to train anew")
            for key in saved.keys():  # noqa: SIM118  # not a mapping
                kind, name = key.split("/", 1)
                tensor = saved.get_tensor(key)
                if kind == "weight":
                    self.named[name].copy_(tensor)
                elif kind == "buffer":
                    self.buffers[name].copy_(tensor)
                elif kind == "average":
                    self.averages[name].copy_(tensor)
                else:
                    parameter = self.named[name]
                    self.moments(parameter)[kind] = tensor.to(parameter.device)
        return int(metadata["step"])
