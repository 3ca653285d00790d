"""Networks without values: tensors with shape, type and bytes only, so that a step of any batch takes seconds.

Operations allocate as they would with values, except inside of kernels.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any
from unittest import mock

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import Parameter, functional
from torch.utils._pytree import tree_map

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor
    from torch.nn import Module

IN_FLOAT32: tuple[tuple[Any, str], ...] = (
    (functional, "group_norm"),
    (functional, "layer_norm"),
    (functional, "interpolate"),
    (torch.Tensor, "softmax"),
)
"""Functions of the networks measured here that the autocast of CUDA runs in float32, and that of CPUs need not."""


def drop_values(*networks: Module) -> Callable[[Tensor], Tensor]:
    """Take the values of the parameters and buffers away. Return the function that does so with an input."""
    mode = FakeTensorMode(allow_non_fake_inputs=True)  # what decides the course of a step keeps its values
    for module in (module for network in networks for module in network.modules()):
        for name, parameter in module._parameters.items():  # noqa: SLF001  no other way replaces them in place
            if parameter is not None:
                empty: Any = mode.from_tensor(parameter.detach())
                module._parameters[name] = Parameter(empty, parameter.requires_grad)  # noqa: SLF001
        for name, buffer in module._buffers.items():  # noqa: SLF001
            if buffer is not None:
                module._buffers[name] = mode.from_tensor(buffer)  # noqa: SLF001
    return mode.from_tensor


@contextmanager
def types_of_cuda() -> Iterator[None]:
    """Within, the autocast of CPUs gives the types that the autocast of CUDA gives."""
    with ExitStack() as stack:
        for owner, name in IN_FLOAT32:
            stack.enter_context(mock.patch.object(owner, name, _in_float32(getattr(owner, name))))
        yield


def _in_float32(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def call(*args: Any, **named: Any) -> Any:
        if torch.is_autocast_enabled("cpu"):
            args, named = tree_map(_raised, (args, named))
        return function(*args, **named)

    return call


def _raised(value: Any) -> Any:
    return value.float() if isinstance(value, torch.Tensor) and value.dtype == torch.bfloat16 else value
