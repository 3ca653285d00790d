"""Random checkpoints of the production classes in the sizes of the published ones, each saved to a folder.

Tokenizers are those of the miniature world: vocabularies of the published models are not part of this project. What a
tokenizer does not know becomes its unknown token, and the embedding tables keep the published number of rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from zoo.tokenizers import bert_tokenizer, clip_tokenizer

if TYPE_CHECKING:
    from pathlib import Path


def save_clip(folder: Path) -> int:
    """CLIP ViT-B/32. Returns the number of its weights."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor

    CLIPProcessor(CLIPImageProcessor(), clip_tokenizer()).save_pretrained(folder)
    return _saved(CLIPModel, CLIPConfig(), folder)  # the library's defaults are this model's


def save_grounding_dino(folder: Path) -> int:
    """Grounding DINO with a Swin-T, IDEA-Research/grounding-dino-tiny. Returns the number of its weights."""
    from transformers import (
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        GroundingDinoImageProcessor,
        GroundingDinoProcessor,
        SwinConfig,
    )

    backbone = SwinConfig(
        window_size=7, image_size=224, embed_dim=96, depths=[2, 2, 6, 2], num_heads=[3, 6, 12, 24],
        out_indices=[2, 3, 4],
    )  # fmt: skip
    GroundingDinoProcessor(GroundingDinoImageProcessor(), bert_tokenizer()).save_pretrained(folder)
    return _saved(GroundingDinoForObjectDetection, GroundingDinoConfig(backbone_config=backbone), folder)


def save_sam(folder: Path) -> int:
    """Segment Anything with a ViT-B, facebook/sam-vit-base. Returns the number of its weights."""
    from transformers import SamConfig, SamImageProcessor, SamModel, SamProcessor

    SamProcessor(SamImageProcessor()).save_pretrained(folder)
    return _saved(SamModel, SamConfig(), folder)  # the library's defaults are this model's


def _saved(kind: Any, config: Any, folder: Path) -> int:
    torch.manual_seed(0)
    model = kind(config)
    model.save_pretrained(folder)
    return sum(weights.numel() for weights in model.parameters())
