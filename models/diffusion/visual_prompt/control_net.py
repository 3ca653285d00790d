"""A ControlNet that sees a grid of images, with the hint encoder and the zero layers that its kind asks for.

With convolutions for both it is diffusers' ControlNetModel as it is, and diffusers loads what is saved. With others it
is the same network with these parts replaced, and its config.json says by what. Owns the network and its files.

Source  Zhang et al. 2023, ControlNet; Meng et al. 2024, InstructGIE, section 3.1: VMamba in the place of the encoder
and of the zero convolutions.
"""

from __future__ import annotations

import json
from copy import deepcopy
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

from core.errors import ModelError, one_line
from models.diffusion.visual_prompt.kinds import HintEncoderKind, ZeroLayerKind

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

# B rows, C channels of a latent of h w, H W pixels of a grid, L tokens, D embedding

WEIGHTS_FILE = "diffusion_pytorch_model.safetensors"
CONFIG_FILE = "config.json"
PARTS = "visual_prompt"
"""Key of config.json under which the replaced parts are described; absent where none is."""
WIDTHS = "conditioning_embedding_out_channels"
"""Key of config.json with the channels of ControlNet's own encoder: their number tells how often a grid is halved."""
CONV_WIDTHS = (16, 32, 96, 256)
"""Channels of ControlNet's own encoder, which halves a grid three times."""
_DAMAGE = (OSError, ValueError, TypeError, ArithmeticError, LookupError, AttributeError)
"""What diffusers and Python raise for a config whose values are of another type, zero or too few."""


class ControlParts(NamedTuple):
    """What a control network is made of. `width` and `depth` are those of a hint encoder that is not `conv`."""

    hint_encoder: HintEncoderKind = "vmamba"
    zero_layers: ZeroLayerKind = "vmamba"
    width: int = 96
    depth: int = 2

    @property
    def are_diffusers(self) -> bool:
        """True where the network is diffusers' own, which diffusers can load."""
        return self.hint_encoder == "conv" and self.zero_layers == "conv"

    def compared(self) -> ControlParts:
        """The same for any width and depth where the encoder is `conv`, which has none."""
        return self if self.hint_encoder != "conv" else self._replace(width=0, depth=0)


class Residuals(NamedTuple):
    """What a control network adds to the UNet: to each skip connection, and to the middle."""

    down: tuple[Tensor, ...]
    mid: Tensor

    def as_conditions(self) -> dict[str, Any]:
        """The arguments of a UNet of diffusers."""
        return {"down_block_additional_residuals": self.down, "mid_block_additional_residual": self.mid}


def make_control_net(unet: Any, factor: int, parts: ControlParts) -> Any:
    """A control network with the weights of the UNet's first half. Its outputs are zero until it is trained.

    `factor` is the number of pixels of a grid along each side for one cell of its latent: a power of two, at most 8.
    """
    from diffusers import ControlNetModel

    net = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=_conv_widths(factor))
    _replace_parts(net, factor, parts)
    return net


def control(net: Any, noisy_BChw: Tensor, timestep: Tensor, tokens_BLD: Tensor, grid_BCHW: Tensor) -> Residuals:
    """What the network adds to the UNet, for grids from -1 to 1."""
    from models.diffusion.visual_prompt.grid import GREY

    # diffusers trains ControlNets on images from 0 to 1
    hint_BCHW = (grid_BCHW - GREY + 1) / 2
    down, mid = net(noisy_BChw, timestep, tokens_BLD, hint_BCHW.to(net.dtype), return_dict=False)
    return Residuals(tuple(down), mid)


def save_control_net(net: Any, folder: Path, dtype: str) -> None:
    """Write config.json and the weights in `dtype`. The network itself is left as it is."""
    import torch

    copied = torch.nn.Module.to(deepcopy(net), dtype=getattr(torch, dtype))  # the class's own `to` warns
    copied.save_pretrained(folder, safe_serialization=True)


def load_control_net(folder: Path, dtype: Any) -> Any:
    """The network in a folder, in `dtype` on the CPU. Raises ModelError for files that are absent or damaged."""
    import torch
    from diffusers import ControlNetModel
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    parts, factor, config = read_parts(folder)
    try:
        net = ControlNetModel.from_config(config)
        _replace_parts(net, factor, parts)
        net.load_state_dict(load_file(folder / WEIGHTS_FILE))
    except (*_DAMAGE, RuntimeError, SafetensorError) as error:
        raise ModelError(f"the control network in {folder} cannot be loaded ({one_line(error)})") from error
    return torch.nn.Module.to(net, dtype=dtype).eval()


def read_parts(folder: Path) -> tuple[ControlParts, int, dict[str, Any]]:
    """(parts, factor, config of diffusers) of a saved network. Raises ModelError for a file that is no such config."""
    path = folder / CONFIG_FILE
    try:
        config: Any = json.loads(path.read_bytes())
        described = config.pop(PARTS, {"hint_encoder": "conv", "zero_layers": "conv"})
        parts = ControlParts(**described)
        num_widths = len(config[WIDTHS])
        is_known = parts.hint_encoder in get_args(HintEncoderKind) and parts.zero_layers in get_args(ZeroLayerKind)
        if not is_known or not all(isinstance(one, int) and 0 < one < 1 << 16 for one in (parts.width, parts.depth)):
            raise ValueError(f"{PARTS} is {described}")
        if not 1 <= num_widths <= len(CONV_WIDTHS):
            raise ValueError(f"{WIDTHS} states {num_widths} widths; expected 1 to {len(CONV_WIDTHS)}")
    except (*_DAMAGE, RecursionError) as error:
        raise ModelError(f"{path} is no config of a control network ({one_line(error)})") from error
    return parts, 2 ** (num_widths - 1), config


def _conv_widths(factor: int) -> tuple[int, ...]:
    """Channels of ControlNet's own encoder for a factor: its first ones, each but the first halves the grid."""
    return CONV_WIDTHS[: factor.bit_length()]


def _replace_parts(net: Any, factor: int, parts: ControlParts) -> None:
    if parts.are_diffusers:
        return
    from torch.nn import ModuleList

    from models.diffusion.visual_prompt.hint_encoders import make_hint_encoder, zero_layer

    if parts.hint_encoder != "conv":
        net.controlnet_cond_embedding = make_hint_encoder(
            parts.hint_encoder, out_channels=net.config.block_out_channels[0], factor=factor, width=parts.width,
            depth=parts.depth,
        )  # fmt: skip
    if parts.zero_layers != "conv":
        channels = [layer.in_channels for layer in net.controlnet_down_blocks]
        net.controlnet_down_blocks = ModuleList(zero_layer(parts.zero_layers, one) for one in channels)
        net.controlnet_mid_block = zero_layer(parts.zero_layers, net.controlnet_mid_block.in_channels)
    net.register_to_config(**{PARTS: parts._asdict()})
