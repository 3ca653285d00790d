"""The state that a training step changes: weights, buffers, moments, their average, the scale of half precision.

Only the parameters that a step trains have gradients in it; the backward pass stops at the first of them, and the
optimiser leaves the others alone, weight decay included. That is why gradients are averaged over processes here rather
than by DistributedDataParallel, which fixes the set of parameters when it is made. Processes reduce by the declared
names, not by the gradients that they have: one that is missing counts as zeros, so that all reduce the same.
"""

from __future__ import annotations

import json
import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import broadcast  # type: ignore[import-untyped]
from diffusers.training_utils import EMAModel

from core.errors import ContractError, NotFiniteError, TrainingError, nearest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from accelerate import Accelerator  # type: ignore[import-untyped]
    from torch import Tensor
    from torch.nn import Module, Parameter

    from trainer.recipe import Objective, ParameterGroup
    from trainer.settings import TrainSettings

BUCKET_BYTES = 64 << 20
MOMENTS = ("step", "exp_avg", "exp_avg_sq")
"""State that AdamW has for each parameter that it has changed."""


class TrainState:
    """The trained modules with their optimiser. Names are `<module>.<parameter or buffer>`, in the groups' order."""

    def __init__(self, objective: Objective, settings: TrainSettings, accelerator: Accelerator) -> None:
        """Move the modules to the device, in train mode. Raises ContractError for names that are not the modules'."""
        self._settings, self._accelerator = settings, accelerator
        self._modules = dict(objective.modules)
        for module in self._modules.values():
            module.to(accelerator.device).train().requires_grad_(requires_grad=False)
        self.parameters = _grouped(self._modules, objective.groups)
        for parameter in self.parameters.values():
            parameter.requires_grad_(True)
        self._rates = [_or(group.learning_rate, settings.learning_rate) for group in objective.groups]
        optimiser = torch.optim.AdamW(
            [self._options(group) for group in objective.groups], lr=settings.learning_rate,
            betas=(settings.adam_beta1, settings.adam_beta2), eps=settings.adam_epsilon,
        )  # fmt: skip
        self._optimiser: Any = accelerator.prepare(optimiser)
        self._average = EMAModel(self.parameters.values(), decay=settings.ema_decay) if settings.ema_decay else None
        self._trained: frozenset[str] = frozenset()

    def _options(self, group: ParameterGroup) -> dict[str, Any]:
        decay = _or(group.weight_decay, self._settings.weight_decay)
        return {"params": [self.parameters[name] for name in group.names], "weight_decay": decay}

    @property
    def buffers(self) -> dict[str, Tensor]:
        """The buffers that are part of the modules' state, by name. A module may have put another tensor in place."""
        return _saved_buffers(self._modules)

    def begin(self, trained: Collection[str]) -> None:
        """Clear gradients. Enable them only for `trained`. Raises ContractError for a name that is in no group."""
        for name in trained:
            if name not in self.parameters:
                raise ContractError(
                    f"the objective trains {name!r}, which is in no group{nearest(name, self.parameters)}"
                )
        self._trained = frozenset(trained)
        for name, parameter in self.parameters.items():
            parameter.grad = None
            parameter.requires_grad_(name in self._trained)

    def update(self, step: int) -> float:
        """Do one optimiser step. Return the norm of the gradients before clipping, over all processes.

        Raises NotFiniteError where the norm is no number, except in float16, whose scaler skips such a step.
        """
        self._reduce()
        active = [parameter for name, parameter in self.parameters.items() if name in self._trained]
        norm = float(self._accelerator.clip_grad_norm_(active, self._settings.max_grad_norm or float("inf")))
        if not math.isfinite(norm) and self._accelerator.scaler is None:
            raise NotFiniteError(f"step {step}: the norm of the gradients is {norm}; lower learning_rate")
        for group, rate in zip(self._optimiser.param_groups, self._rates, strict=True):
            group["lr"] = rate * self._settings.rate_frac(step)
        self._optimiser.step()
        for parameter in self.parameters.values():
            parameter.grad = None
            parameter.requires_grad_(True)  # EMAModel copies, not averages, what needs no gradient
        if self._average is not None:
            self._average.step(self.parameters.values())
        return norm

    def _reduce(self) -> None:
        """Average gradients over processes, by sorted name in buckets. Buffers become those of the first process."""
        bucket: list[Tensor] = []
        for name in sorted(self._trained):
            parameter = self.parameters[name]
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            bucket.append(parameter.grad)
            if sum(grad.nbytes for grad in bucket) >= BUCKET_BYTES:
                self._reduce_bucket(bucket)
                bucket = []
        if bucket:
            self._reduce_bucket(bucket)
        if self._accelerator.num_processes > 1:
            for _, buffer in sorted(self.buffers.items()):
                broadcast(buffer)

    def _reduce_bucket(self, bucket: list[Tensor]) -> None:
        if self._accelerator.num_processes == 1:
            return
        flat = torch.cat([grad.flatten() for grad in bucket])
        mean: Any = self._accelerator.reduce(flat, "mean")
        for grad, part in zip(bucket, mean.split([grad.numel() for grad in bucket]), strict=True):
            grad.copy_(part.view_as(grad))

    @contextmanager
    def as_result(self) -> Iterator[None]:
        """Within, the modules are in eval mode, with the averaged weights where there are any."""
        for module in self._modules.values():
            module.eval()
        if self._average is not None:
            self._average.store(self.parameters.values())
            self._average.copy_to(self.parameters.values())
        try:
            yield
        finally:
            if self._average is not None:
                self._average.restore(self.parameters.values())
            for module in self._modules.values():
                module.train()

    def tensors(self) -> dict[str, Tensor]:
        """Everything a checkpoint needs, by `kind/name`: weight, buffer, exp_avg, exp_avg_sq, step and average."""
        found = {f"weight/{name}": parameter.detach() for name, parameter in self.parameters.items()}
        found |= {f"buffer/{name}": buffer for name, buffer in self.buffers.items()}
        moments = self._optimiser.state
        for name, parameter in self.parameters.items():
            found |= {f"{key}/{name}": value for key, value in moments.get(parameter, {}).items()}
        if self._average is not None:
            found |= {f"average/{n}": p for n, p in zip(self.parameters, self._average.shadow_params, strict=True)}
        return found

    def scalars(self) -> dict[str, Any]:
        """The state besides tensors, as JSON values."""
        scaler = self._accelerator.scaler
        return {
            "average_steps": self._average.optimization_step if self._average else 0,
            "scaler": json.loads(json.dumps(scaler.state_dict())) if scaler else None,
        }

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Tensor], scalars: Mapping[str, Any]) -> None:
        """Restore a checkpoint. Raises TrainingError for names or shapes that are not this model's."""
        places = self._places()
        missing = [place for place in places if place not in tensors]
        if missing:
            raise TrainingError(f"the checkpoint has no {missing[0]}, and lacks {len(missing) - 1} others")
        moments: dict[str, set[str]] = {}
        for key, tensor in tensors.items():
            kind, _, name = key.partition("/")
            parameter = self.parameters.get(name)
            if key in places and tensor.shape == places[key].shape:
                places[key].copy_(tensor)
            elif parameter is not None and kind in MOMENTS and tensor.shape == _moment_shape(kind, parameter):
                state = self._optimiser.state.setdefault(parameter, {})
                state[kind] = tensor if kind == "step" else tensor.to(parameter.device)
                moments.setdefault(name, set()).add(kind)
            else:
                raise TrainingError(f"the checkpoint's {key} does not fit the model; was it of another checkpoint?")
        absent = [f"{kind}/{name}" for name, found in moments.items() for kind in MOMENTS if kind not in found]
        if absent:
            raise TrainingError(f"the checkpoint has no {absent[0]}, and lacks {len(absent) - 1} others")
        if self._average is not None:
            self._average.optimization_step = int(scalars["average_steps"])
        if self._accelerator.scaler is not None and scalars.get("scaler"):
            self._accelerator.scaler.load_state_dict(scalars["scaler"])

    def _places(self) -> dict[str, Tensor]:
        """The tensors that a checkpoint must have, by `kind/name`, as they are in memory."""
        found: dict[str, Tensor] = {f"weight/{name}": parameter for name, parameter in self.parameters.items()}
        found |= {f"buffer/{name}": buffer for name, buffer in self.buffers.items()}
        if self._average is not None:
            found |= {f"average/{n}": p for n, p in zip(self.parameters, self._average.shadow_params, strict=True)}
        return found


def _grouped(modules: Mapping[str, Module], groups: Sequence[ParameterGroup]) -> dict[str, Parameter]:
    """The parameters of all groups by name, in their order."""
    known = {f"{module}.{name}": p for module, one in modules.items() for name, p in one.named_parameters()}
    found: dict[str, Parameter] = {}
    seen: dict[int, str] = {}
    for name in (name for group in groups for name in group.names):
        if name not in known:
            raise ContractError(f"no trained module has the parameter {name!r}{nearest(name, known)}")
        if name in found:
            raise ContractError(f"the parameter {name!r} is in two groups; name each once")
        if other := seen.get(id(known[name])):
            raise ContractError(f"{other!r} and {name!r} are one parameter of two modules; name it once")
        found[name] = known[name]
        seen[id(known[name])] = name
    if not found:
        raise ContractError("the objective's groups are empty; name the parameters that it trains")
    return found


def _saved_buffers(modules: Mapping[str, Module]) -> dict[str, Tensor]:
    """Buffers that are part of a module's state, by name."""
    found: dict[str, Tensor] = {}
    for module, one in modules.items():
        kept = one.state_dict().keys()
        found |= {f"{module}.{name}": buffer for name, buffer in one.named_buffers() if name in kept}
    return found


def _or(of_group: float | None, of_settings: float) -> float:
    return of_settings if of_group is None else of_group


def _moment_shape(kind: str, parameter: Parameter) -> torch.Size:
    return torch.Size() if kind == "step" else parameter.shape
