"""Widens the first convolution of a UNet, so that it takes further latents with the noisy one.

Source  Brooks et al. 2023, InstructPix2Pix, section 3.2.1: new weights start at zero, so that the widened network gives
the output of the one it came from, whatever the new channels hold.
"""

from __future__ import annotations

from typing import Any

import torch

from core.errors import ContractError


def widen_conv_in(unet: Any, in_channels: int) -> None:
    """Let a UNet of diffusers take `in_channels`: its weights and bias are kept, weights of new channels are zero.

    The UNet's `in_channels` says so afterwards, so that it is saved and loaded in its new shape. Raises ContractError
    for fewer channels than it has.
    """
    old = unet.conv_in
    if in_channels == old.in_channels:
        return
    if in_channels < old.in_channels:
        raise ContractError(f"a UNet of {old.in_channels} input channels cannot be widened to {in_channels}")
    wide = torch.nn.Conv2d(
        in_channels, old.out_channels, old.kernel_size, stride=old.stride, padding=old.padding,
        bias=old.bias is not None, device=old.weight.device, dtype=old.weight.dtype,
    )  # fmt: skip
    with torch.no_grad():
        wide.weight.zero_()
        wide.weight[:, : old.in_channels] = old.weight
        if old.bias is not None and wide.bias is not None:
            wide.bias.copy_(old.bias)
    wide.requires_grad_(old.weight.requires_grad).train(old.training)
    unet.conv_in = wide
    unet.register_to_config(in_channels=in_channels)
