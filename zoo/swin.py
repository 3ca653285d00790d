"""The small Swin backbone that zoo:grounding-dino and zoo:mask2former share the shape of."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import SwinConfig

from zoo.batches import PatchHead, patch_truth
from zoo.world import SIZE_PX, Scene

EMBED = 32
AUXILIARY_STAGE = "stage3"
AUXILIARY_PATCH_PX = 8  # one token of stage 3
AUXILIARY_WIDTH = 4 * EMBED


def swin(*stages: str) -> SwinConfig:
    """2 px patches, 32 to 256 wide over four stages, 1 M parameters, 32 x 32 tokens at most."""
    return SwinConfig(
        image_size=SIZE_PX, patch_size=2, embed_dim=EMBED, depths=[1, 1, 2, 1], num_heads=[2, 4, 4, 8], window_size=4,
        mlp_ratio=2.0, drop_path_rate=0.0, out_features=list(stages),
    )  # fmt: skip


class BackboneHead(nn.Module):
    """The patch loss on stage 3 of a backbone, caught by a hook on its way through."""

    def __init__(self, backbone: nn.Module, stage_names: list[str]) -> None:
        super().__init__()
        self.head = PatchHead(AUXILIARY_WIDTH, AUXILIARY_PATCH_PX)
        self._index = stage_names.index(AUXILIARY_STAGE)
        self._maps: list[torch.Tensor] = []
        backbone.register_forward_hook(self._catch)

    def _catch(self, _module: nn.Module, _inputs: Any, output: Any) -> None:
        self._maps = list(output.feature_maps)

    def forward(self, scenes: list[Scene]) -> torch.Tensor:
        """The loss of the scenes that the backbone saw last."""
        tokens_BPD = self._maps[self._index].flatten(2).transpose(1, 2)
        return torch.as_tensor(self.head(tokens_BPD, patch_truth(scenes, AUXILIARY_PATCH_PX)))
