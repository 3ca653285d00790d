"""Encoders of the image that conditions a ControlNet, and the layers that keep a ControlNet silent at first.

Three encoders, all of them zero at first: ControlNet's own convolutions, attention blocks, and VMamba blocks. Widths
and depths are chosen, since no public source gives the paper's.

Source  Zhang et al. 2023, ControlNet, section 3.2; Meng et al. 2024, InstructGIE, section 3.1: VMamba blocks in the
place of the encoder's and the zero layers' convolutions.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from models.vision_mamba.vss_block import VSSBlock

if TYPE_CHECKING:
    from torch import Tensor

    from models.diffusion.visual_prompt.kinds import HintEncoderKind, ZeroLayerKind

# B rows, C D channels, H W pixels, h w cells, L tokens, N heads

CONV_WIDTHS = (16, 32, 96, 256)
"""Channels of ControlNet's own encoder, each but the first after one halving of the image."""
HEAD_CHANNELS = 64
MLP_RATIO = 4
POSITION_PERIOD = 10_000.0


def make_hint_encoder(
    kind: HintEncoderKind, *, out_channels: int, factor: int, width: int = 96, depth: int = 2
) -> nn.Module:
    """An encoder of (B, 3, H, W) to (B, out_channels, H / factor, W / factor), whose output is 0 until it is trained.

    `factor` is a power of two that divides both sides. `vmamba` has `width` channels in its first half and twice as
    many in its second, of `depth` blocks each; `vit` has as many blocks, all of the second half's width; `conv` has
    widths and a depth of its own. Raises ValueError for a factor that is no power of two; of `conv`, for one above 8;
    of `vit`, for an odd width.
    """
    if factor < 1 or factor.bit_count() != 1:
        raise ValueError(f"a hint encoder scales by {factor}; expected a power of two")
    if kind == "vmamba":
        return VMambaHintEncoder(out_channels, factor, width, depth)
    if kind == "vit":
        return VitHintEncoder(out_channels, factor, 2 * width, 2 * depth)
    return _conv_hint_encoder(out_channels, factor)


def zero_layer(kind: ZeroLayerKind, channels: int) -> nn.Module:
    """A layer of (B, channels, h, w) to the same shape, whose output is 0 until it is trained.

    `conv` is ControlNet's zero convolution; `vmamba` has a VSS block before it.
    """
    convolution = _zero_conv(channels, channels)
    return convolution if kind == "conv" else nn.Sequential(VSSBlock(channels), convolution)


class VMambaHintEncoder(nn.Module):
    """VMamba blocks at twice the output's resolution, then at the output's, where the factor allows it."""

    def __init__(self, out_channels: int, factor: int, width: int, depth: int) -> None:
        super().__init__()
        patch = max(1, factor // 2)
        self.stages = nn.Sequential(
            _patches(3, width, patch), *(VSSBlock(width) for _ in range(depth)),
            _patches(width, 2 * width, factor // patch), *(VSSBlock(2 * width) for _ in range(depth)),
        )  # fmt: skip
        self.norm = nn.LayerNorm(2 * width)
        self.conv_out = _zero_conv(2 * width, out_channels)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """Encode."""
        cells_BhwC = self.norm(self.stages(image_BCHW).permute(0, 2, 3, 1))
        out_BChw: Tensor = self.conv_out(cells_BhwC.permute(0, 3, 1, 2))
        return out_BChw


class VitHintEncoder(nn.Module):
    """Attention blocks over patches of the factor's size, with sine and cosine positions, for grids of any size."""

    def __init__(self, out_channels: int, factor: int, width: int, depth: int) -> None:
        """Make one. Raises ValueError unless 4 divides `width`: each axis has sines and cosines."""
        super().__init__()
        if width % 4:
            raise ValueError(f"a ViT hint encoder has {width} channels; expected a multiple of 4")
        self.patches = _patches(3, width, factor)
        self.blocks = nn.Sequential(*(AttentionBlock(width) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.conv_out = _zero_conv(width, out_channels)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """Encode."""
        cells_BDhw = self.patches(image_BCHW)
        height, width = cells_BDhw.shape[-2:]
        tokens_BLD = cells_BDhw.flatten(2).transpose(1, 2)
        positions_LD = positions(height, width, tokens_BLD.shape[-1], tokens_BLD.device)
        tokens_BLD = tokens_BLD + positions_LD.type_as(tokens_BLD)
        tokens_BLD = self.norm(self.blocks(tokens_BLD))
        out_BChw: Tensor = self.conv_out(tokens_BLD.transpose(1, 2).unflatten(2, (height, width)))
        return out_BChw


class AttentionBlock(nn.Module):
    """Attention of all tokens to each other and a two-layer network, each after a layer norm and added to its input.

    Queries, keys and values have no bias, because a bias of the keys changes nothing.

    Source  Dosovitskiy et al. 2021, ViT, equations 2 and 3.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self._heads = math.gcd(channels, max(1, channels // HEAD_CHANNELS))
        self.attention_norm = nn.LayerNorm(channels)
        self.query_key_value = nn.Linear(channels, 3 * channels, bias=False)
        self.attention_out = nn.Linear(channels, channels)
        self.mlp_norm = nn.LayerNorm(channels)
        self.mlp = nn.Sequential(
            nn.Linear(channels, MLP_RATIO * channels), nn.GELU(), nn.Linear(MLP_RATIO * channels, channels)
        )

    def forward(self, tokens_BLD: Tensor) -> Tensor:
        """Apply it to tokens (B, L, D)."""
        heads = self.query_key_value(self.attention_norm(tokens_BLD)).unflatten(-1, (3, self._heads, -1))
        query_BNLD, key_BNLD, value_BNLD = heads.transpose(1, 3).unbind(2)
        attended_BNLD = functional.scaled_dot_product_attention(query_BNLD, key_BNLD, value_BNLD)
        tokens_BLD = tokens_BLD + self.attention_out(attended_BNLD.transpose(1, 2).flatten(2))
        out_BLD: Tensor = tokens_BLD + self.mlp(self.mlp_norm(tokens_BLD))
        return out_BLD


def positions(height: int, width: int, channels: int, device: torch.device | None = None) -> Tensor:
    """Sine and cosine positions (L, channels) of a grid by rows: a half for the row, a half for the column.

    Source  Vaswani et al. 2017, Attention Is All You Need, section 3.5, for each axis.
    """
    quarter = channels // 4
    frequencies = POSITION_PERIOD ** (-torch.arange(quarter, dtype=torch.float32, device=device) / quarter)
    axes = torch.meshgrid(*(torch.arange(side, device=device) for side in (height, width)), indexing="ij")
    angles = [axis.reshape(-1, 1) * frequencies for axis in axes]
    return torch.cat([wave(angle) for angle in angles for wave in (torch.sin, torch.cos)], 1)


def _conv_hint_encoder(out_channels: int, factor: int) -> nn.Module:
    from diffusers.models.controlnets.controlnet import ControlNetConditioningEmbedding

    num_widths = factor.bit_length()
    if num_widths > len(CONV_WIDTHS):
        raise ValueError(f"ControlNet's own hint encoder scales by at most {2 ** (len(CONV_WIDTHS) - 1)}, not {factor}")
    encoder: nn.Module = ControlNetConditioningEmbedding(out_channels, block_out_channels=CONV_WIDTHS[:num_widths])
    return encoder


def _patches(in_channels: int, out_channels: int, size: int) -> nn.Module:
    """A convolution over patches that do not overlap."""
    return nn.Conv2d(in_channels, out_channels, size, stride=size)


def _zero_conv(in_channels: int, out_channels: int) -> nn.Conv2d:
    convolution = nn.Conv2d(in_channels, out_channels, 1)
    for parameter in convolution.parameters():
        nn.init.zeros_(parameter)
    return convolution
