"""Random checkpoints of transformers' classes with the sizes of published ones, or the same classes in small.

Speed does not depend on what a model has learnt. Tokenizers are those of the miniature world; embedding tables keep the
published number of rows. Each `save_…` writes model and processor into a folder, in the precision asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from zoo.tokenizers import bert_tokenizer, clip_tokenizer, grounding_tokenizer

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.gpu.measure import Work

NUM_TOKENS = 77


def save_blip(folder: Path, work: Work) -> None:
    """Salesforce/blip-image-captioning-large: ViT-L at 384 px, a text decoder of 12 layers."""
    from transformers import BlipConfig, BlipForConditionalGeneration, BlipImageProcessor, BlipProcessor

    side_px = work.pick(384, 32)
    vision = {**_layers(work.pick((1024, 24, 16), (32, 2, 2))), "image_size": side_px, "initializer_range": 0.02}
    config = BlipConfig(text_config=_layers(work.pick((768, 12, 12), (32, 2, 2))), vision_config=vision)
    images = BlipImageProcessor(size={"height": side_px, "width": side_px})
    _save(BlipForConditionalGeneration, config, folder, work, BlipProcessor(images, bert_tokenizer()))


def save_clip(folder: Path, work: Work) -> None:
    """openai/clip-vit-large-patch14, at 224 px."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor

    side_px = work.pick(224, 28)
    width = work.pick(768, 32)
    config = CLIPConfig(
        text_config={**_text(work.pick((768, 12, 12), (32, 2, 2))), "projection_dim": width},
        vision_config={
            **_layers(work.pick((1024, 24, 16), (32, 2, 2))), "image_size": side_px, "patch_size": 14,
            "projection_dim": width,
        },
        projection_dim=width,
    )  # fmt: skip
    images = CLIPImageProcessor(size={"shortest_edge": side_px}, crop_size={"height": side_px, "width": side_px})
    _save(CLIPModel, config, folder, work, CLIPProcessor(images, _clip_tokenizer()))


def save_clipseg(folder: Path, work: Work) -> None:
    """CIDAS/clipseg-rd64-refined: ViT-B/16 made for 224 px and run at 352."""
    from transformers import CLIPSegConfig, CLIPSegForImageSegmentation, CLIPSegProcessor, ViTImageProcessor

    side_px = work.pick(352, 48)
    config = CLIPSegConfig(
        text_config=_text(work.pick((512, 12, 8), (32, 2, 2))),
        vision_config={
            **_layers(work.pick((768, 12, 12), (32, 2, 2))), "image_size": work.pick(224, 32), "patch_size": 16,
        },
        projection_dim=work.pick(512, 32), extract_layers=work.pick([3, 6, 9], [0, 1]),
        use_complex_transposed_convolution=True,
    )  # fmt: skip
    images = ViTImageProcessor(size={"height": side_px, "width": side_px})
    _save(CLIPSegForImageSegmentation, config, folder, work, CLIPSegProcessor(images, _clip_tokenizer()))


def save_grounding_dino(folder: Path, work: Work) -> None:
    """IDEA-Research/grounding-dino-base: Swin-B, the shorter side at 800 px, 900 queries."""
    from transformers import (
        BertConfig,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        GroundingDinoImageProcessor,
        GroundingDinoProcessor,
        SwinConfig,
    )

    backbone = SwinConfig(
        embed_dim=work.pick(128, 8), depths=work.pick([2, 2, 18, 2], [1, 1, 1, 1]),
        num_heads=work.pick([4, 8, 16, 32], [1, 2, 2, 4]), window_size=work.pick(12, 4),
        image_size=work.pick(384, 32), out_indices=[2, 3, 4],
    )  # fmt: skip
    reduced = {
        "d_model": 32, "num_queries": 12, "encoder_layers": 1, "decoder_layers": 2, "encoder_attention_heads": 4,
        "decoder_attention_heads": 4, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32,
    }  # fmt: skip
    config = GroundingDinoConfig(
        backbone_config=backbone, text_config=BertConfig(**_layers(work.pick((768, 12, 12), (32, 2, 2)))),
        **work.pick({}, reduced),
    )  # fmt: skip
    size = work.pick({"shortest_edge": 800, "longest_edge": 1333}, {"shortest_edge": 64, "longest_edge": 96})
    processor = GroundingDinoProcessor(GroundingDinoImageProcessor(size=size), grounding_tokenizer())
    _save(GroundingDinoForObjectDetection, config, folder, work, processor)


def save_sam(folder: Path, work: Work) -> None:
    """facebook/sam-vit-huge, at 1024 px."""
    from transformers import SamConfig, SamImageProcessor, SamModel, SamProcessor

    side_px = work.pick(1024, 64)
    width, num_layers, heads = work.pick((1280, 32, 16), (16, 2, 2))
    vision = {
        "hidden_size": width, "num_hidden_layers": num_layers, "num_attention_heads": heads, "image_size": side_px,
        "global_attn_indexes": work.pick([7, 15, 23, 31], [1]), "initializer_range": 0.02,
        **work.pick({}, {"output_channels": 16, "num_pos_feats": 8, "window_size": 3}),
    }  # fmt: skip
    decoder = work.pick({}, {"hidden_size": 16, "mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 16})
    prompt = {"image_size": side_px, **work.pick({}, {"hidden_size": 16})}
    config = SamConfig(vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=decoder)
    square = {"height": side_px, "width": side_px}
    images = SamImageProcessor(size={"longest_edge": side_px}, pad_size=square)
    _save(SamModel, config, folder, work, SamProcessor(images))


def _layers(sizes: tuple[int, int, int]) -> dict[str, Any]:
    """Width, layers and heads of a transformer."""
    width, num_layers, heads = sizes
    return {
        "hidden_size": width, "intermediate_size": 4 * width, "num_hidden_layers": num_layers,
        "num_attention_heads": heads,
    }  # fmt: skip


def _text(sizes: tuple[int, int, int]) -> dict[str, Any]:
    tokenizer = _clip_tokenizer()
    return {
        **_layers(sizes), "max_position_embeddings": NUM_TOKENS, "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id,
    }  # fmt: skip


def _clip_tokenizer() -> Any:
    tokenizer = clip_tokenizer()
    tokenizer.model_max_length = NUM_TOKENS
    return tokenizer


def _save(kind: Any, config: Any, folder: Path, work: Work, processor: Any) -> None:
    """Make the model on the device, where random numbers are fast, and write it."""
    torch.manual_seed(0)
    with torch.device(work.device):
        model = kind(config)
    model.to(getattr(torch, work.dtype)).save_pretrained(folder)
    processor.save_pretrained(folder)
