"""What a training step changes: weights, the optimiser's moments, the average, the scale of half precision.

Only the parameters that a step trains want gradients in it; the backward pass stops at the first of them, and the
optimiser leaves the others alone, weight decay included. That is why gradients are averaged over processes here rather
than by DistributedDataParallel, which fixes the set of parameters when it is made.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import torch
from diffusers.training_utils import EMAModel

from core.errors import NotFiniteError, TrainingError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from accelerate import Accelerator  # type: ignore[import-untyped]
    from torch import Tensor
    from torch.nn import Parameter

    from trainer.config import TrainConfig

BUCKET_BYTES = 64 << 20
MOMENTS = ("step", "exp_avg", "exp_avg_sq")
"""State that AdamW has for each parameter that it has changed."""


class TrainState:
    """The trained parameters with their optimiser. Names are the recipe's; order is theirs."""

    def __init__(self, parameters: Mapping[str, Parameter], config: TrainConfig, accelerator: Accelerator) -> None:
        self.parameters, self._config, self._accelerator = dict(parameters), config, accelerator
        optimiser = torch.optim.AdamW(
            list(self.parameters.values()), lr=config.learning_rate, betas=(config.adam_beta1, config.adam_beta2),
            eps=config.adam_epsilon, weight_decay=config.weight_decay,
        )  # fmt: skip
        self._optimiser: Any = accelerator.prepare(optimiser)
        self._average = EMAModel(self.parameters.values(), decay=config.ema_decay) if config.ema_decay else None

    def begin(self, trained: frozenset[str]) -> None:
        """Forget gradients, and want them of `trained` alone."""
        for name, parameter in self.parameters.items():
            parameter.grad = None
            parameter.requires_grad_(name in trained)

    def update(self, step: int) -> float:
        """One optimiser step over the gradients there are; their norm before clipping, over all processes.

        Raises NotFiniteError where the norm is no number, except in float16, whose scaler skips such a step.
        """
        active = [parameter for parameter in self.parameters.values() if parameter.grad is not None]
        self._reduce(active)
        norm = float(self._accelerator.clip_grad_norm_(active, self._config.max_grad_norm or float("inf")))
        if not math.isfinite(norm) and self._accelerator.scaler is None:
            raise NotFiniteError(f"step {step}: the norm of the gradients is {norm}; lower learning_rate")
        for group in self._optimiser.param_groups:
            group["lr"] = self._config.learning_rate * self._config.rate_frac(step)
        self._optimiser.step()
        for parameter in self.parameters.values():
            parameter.grad = None
            parameter.requires_grad_(True)  # EMAModel copies, not averages, what wants no gradient
        if self._average is not None:
            self._average.step(self.parameters.values())
        return norm

    def _reduce(self, active: list[Parameter]) -> None:
        """Average gradients over processes, in buckets."""
        if self._accelerator.num_processes == 1:
            return
        bucket: list[Tensor] = []
        for parameter in active:
            assert parameter.grad is not None
            bucket.append(parameter.grad)
            if sum(grad.nbytes for grad in bucket) >= BUCKET_BYTES:
                self._reduce_bucket(bucket)
                bucket = []
        if bucket:
            self._reduce_bucket(bucket)

    def _reduce_bucket(self, bucket: list[Tensor]) -> None:
        flat = torch.cat([grad.flatten() for grad in bucket])
        mean: Any = self._accelerator.reduce(flat, "mean")
        for grad, part in zip(bucket, mean.split([grad.numel() for grad in bucket]), strict=True):
            grad.copy_(part.view_as(grad))

    def swap_in_average(self) -> None:
        """Put the averaged weights into the model, where there are any; `swap_out_average` takes them back."""
        if self._average is not None:
            self._average.store(self.parameters.values())
            self._average.copy_to(self.parameters.values())

    def swap_out_average(self) -> None:
        """Put the trained weights back."""
        if self._average is not None:
            self._average.restore(self.parameters.values())

    def tensors(self) -> dict[str, Tensor]:
        """Everything a checkpoint needs, by `kind/name`: weight, exp_avg, exp_avg_sq, step and average."""
        found = {f"weight/{name}": parameter.detach() for name, parameter in self.parameters.items()}
        moments = self._optimiser.state
        for name, parameter in self.parameters.items():
            found |= {f"{key}/{name}": value for key, value in moments.get(parameter, {}).items()}
        if self._average is not None:
            found |= {f"average/{n}": p for n, p in zip(self.parameters, self._average.shadow_params, strict=True)}
        return found

    def scalars(self) -> dict[str, Any]:
        """The rest, as JSON values."""
        scaler = self._accelerator.scaler
        return {
            "average_steps": self._average.optimization_step if self._average else 0,
            "scaler": json.loads(json.dumps(scaler.state_dict())) if scaler else None,
        }

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Tensor], scalars: Mapping[str, Any]) -> None:
        """Take all of it back. Raises TrainingError when names or shapes are not this model's."""
        shadow = dict(zip(self.parameters, self._average.shadow_params, strict=True)) if self._average else {}
        missing = [name for name in self.parameters if f"weight/{name}" not in tensors]
        if missing:
            raise TrainingError(f"the checkpoint has no weights for {missing[0]} and {len(missing) - 1} others")
        moments: dict[str, set[str]] = {}
        for key, tensor in tensors.items():
            kind, _, name = key.partition("/")
            parameter = self.parameters.get(name)
            fits = kind in ("weight", *MOMENTS) or (kind == "average" and name in shadow)
            shape = torch.Size() if kind == "step" or parameter is None else parameter.shape
            if parameter is None or not fits or tensor.shape != shape:
                raise TrainingError(f"the checkpoint's {key} does not fit the model; was it of another checkpoint?")
            if kind == "weight":
                parameter.copy_(tensor)
            elif kind == "average":
                shadow[name].copy_(tensor)
            else:
                state = self._optimiser.state.setdefault(parameter, {})
                state[kind] = tensor if kind == "step" else tensor.to(parameter.device)
                moments.setdefault(name, set()).add(kind)
        absent = [f"average/{name}" for name in shadow if f"average/{name}" not in tensors]
        absent += [f"{kind}/{name}" for name, found in moments.items() for kind in MOMENTS if kind not in found]
        if absent:
            raise TrainingError(f"the checkpoint has no {absent[0]}, and lacks {len(absent) - 1} others")
        if self._average is not None:
            self._average.optimization_step = int(scalars["average_steps"])
        if self._accelerator.scaler is not None and scalars.get("scaler"):
            self._accelerator.scaler.load_state_dict(scalars["scaler"])
