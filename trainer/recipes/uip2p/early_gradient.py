"""Takes the gradient of losses of decoded images as soon as they are known, so that their activations are free at once.

Decoder and image encoder hold most of a step's memory. They are frozen, and their losses depend on the trained network
through one latent alone. So the gradient at that latent is all that the backward pass needs of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

# B rows, C channels, h w cells of a latent


def early_gradient(
    latent_BChw: Tensor, losses_of: Callable[[Tensor], Mapping[str, Tensor]], weights: Mapping[str, float]
) -> tuple[dict[str, Tensor], Tensor]:
    """The losses (B,) of a latent without gradient, and zeros (B,) whose gradient is that of their weighted sum.

    `losses_of` gives some of the losses that `weights` names, each a function of its own row alone.
    """
    inner_BChw = latent_BChw.detach().requires_grad_()
    with torch.enable_grad():
        losses = losses_of(inner_BChw)
        total = torch.stack([weights[name] * loss_B for name, loss_B in losses.items()]).sum()
    (gradient_BChw,) = torch.autograd.grad(total, inner_BChw)
    carrier_B = ((latent_BChw - latent_BChw.detach()) * gradient_BChw).flatten(1).sum(1)
    return {name: loss_B.detach() for name, loss_B in losses.items()}, carrier_B
