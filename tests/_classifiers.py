"""Random checkpoints of classifiers, detectors of fixed things and aesthetic heads, as those of `_checkpoints`."""

import json
from itertools import pairwise

import numpy as np
from _checkpoints import _vit, seeded, stirred

NSFW_LABELS = ("normal", "nsfw")


def _numbered(labels):
    return dict(enumerate(labels))


def save_vit_classifier(folder, labels=NSFW_LABELS, **settings):
    """Falconsai/nsfw_image_detection."""
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    seeded()
    config = ViTConfig(**_vit(image_size=16, patch_size=8), id2label=_numbered(labels), **settings)
    stirred(ViTForImageClassification(config), spread=0.3).save_pretrained(folder)
    ViTImageProcessor(size={"height": 16, "width": 16}).save_pretrained(folder)
    return folder


def save_beit_classifier(folder, labels=("not_aesthetic", "aesthetic")):
    """cafeai/cafe_aesthetic."""
    from transformers import BeitConfig, BeitForImageClassification, BeitImageProcessor

    seeded()
    config = BeitConfig(**_vit(image_size=32, patch_size=16), id2label=_numbered(labels))
    stirred(BeitForImageClassification(config), spread=0.3).save_pretrained(folder)
    square = {"height": 32, "width": 32}
    BeitImageProcessor(size=square, crop_size=square).save_pretrained(folder)
    return folder


def save_siglip_classifier(folder, labels=("No Watermark", "Watermark")):
    """prithivMLmods/Watermark-Detection-SigLIP2."""
    from transformers import SiglipConfig, SiglipForImageClassification, SiglipImageProcessor

    seeded()
    text = _vit(vocab_size=100, max_position_embeddings=16, projection_size=32)
    vision = _vit(image_size=28, patch_size=14)
    config = SiglipConfig(text_config=text, vision_config=vision, id2label=_numbered(labels))
    stirred(SiglipForImageClassification(config), spread=0.3).save_pretrained(folder)
    SiglipImageProcessor(size={"height": 28, "width": 28}).save_pretrained(folder)
    return folder


def save_yolos(folder, labels=("face", "plate", "text")):
    """hustvl/yolos-tiny, with labels of its own."""
    from transformers import YolosConfig, YolosForObjectDetection, YolosImageProcessor

    seeded()
    vision = _vit(image_size=[32, 48], patch_size=16, num_detection_tokens=8)
    config = YolosConfig(**vision, id2label=_numbered(labels))
    stirred(YolosForObjectDetection(config), spread=0.3).save_pretrained(folder)
    YolosImageProcessor(size={"shortest_edge": 32, "longest_edge": 48}).save_pretrained(folder)
    return folder


def save_rt_detr(folder, labels=("face", "plate", "text")):
    """PekingU/rtdetr_r18vd, with labels of its own."""
    from transformers import RTDetrConfig, RTDetrForObjectDetection, RTDetrImageProcessor, RTDetrResNetConfig

    seeded()
    backbone = RTDetrResNetConfig(
        embedding_size=8, hidden_sizes=[8, 8, 16, 16], depths=[1] * 4, layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = RTDetrConfig(
        backbone_config=backbone, encoder_hidden_dim=16, encoder_in_channels=[8, 16, 16], encoder_ffn_dim=16,
        encoder_layers=1, encoder_attention_heads=2, d_model=16, decoder_in_channels=[16] * 3, decoder_ffn_dim=16,
        decoder_layers=2, decoder_attention_heads=2, num_queries=12, num_denoising=0, id2label=_numbered(labels),
    )  # fmt: skip
    stirred(RTDetrForObjectDetection(config), spread=0.2).save_pretrained(folder)
    RTDetrImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


def save_head(folder, sizes, encoder="zoo:clip", **config):
    """LAION's predictor: linear layers of these sizes, numbered as the release has them, with dropout between them."""
    from safetensors.numpy import save_file

    rng = np.random.default_rng(0)
    tensors = {}
    for number, (before, after) in enumerate(pairwise(sizes)):
        tensors[f"layers.{2 * number}.weight"] = rng.normal(size=(after, before)).astype(np.float32)
        tensors[f"layers.{2 * number}.bias"] = rng.normal(size=after).astype(np.float32)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "model.safetensors")
    found = {"model_type": "aesthetic_head", "encoder": encoder, **config}
    (folder / "config.json").write_text(json.dumps(found))
    return folder
