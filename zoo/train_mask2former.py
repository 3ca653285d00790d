"""Trains zoo:mask2former, a Mask2FormerForUniversalSegmentation, on the world's panoptic maps (Cheng et al. 2022).

Its Swin backbone starts from zoo:grounding-dino's, as published Mask2Formers start from a trained backbone: masks are
learnt in minutes, but a backbone that knows no nouns yet leaves the classes to chance (0.14 of things right after
1,200 steps, their masks at an IoU of 0.95).
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn
from transformers import (
    GroundingDinoForObjectDetection,
    Mask2FormerConfig,
    Mask2FormerForUniversalSegmentation,
    Mask2FormerImageProcessor,
)

from zoo.batches import IMAGE_MEAN, IMAGE_STD, draw, pixels
from zoo.export import export, fingerprint_of, folder_of
from zoo.swin import BackboneHead, swin
from zoo.training import Training, device, train
from zoo.world import NOUNS, SIZE_PX, STUFF, Scene, panoptic

STAGES = ["stage1", "stage2", "stage3", "stage4"]
WIDTH = 64
LABELS = (*NOUNS, *STUFF)
TRAINING = Training(
    "mask2former", num_steps=2400, batch_size=16, learning_rate=8e-4, muon_rate=0.005, ema=0.995, autocast=True
)


def build() -> Mask2FormerForUniversalSegmentation:
    """A Mask2Former with random weights: Swin backbone, 2 encoder and 3 decoder layers 64 wide, masks at 32 px."""
    config = Mask2FormerConfig(
        backbone_config=swin(*STAGES), feature_size=WIDTH, mask_feature_size=WIDTH, hidden_dim=WIDTH, encoder_layers=2,
        decoder_layers=3, encoder_feedforward_dim=2 * WIDTH, dim_feedforward=2 * WIDTH, num_attention_heads=4,
        num_queries=12, dropout=0.0, train_num_points=1024, id2label=dict(enumerate(LABELS)),
        label2id={label: index for index, label in enumerate(LABELS)},
    )  # fmt: skip
    return Mask2FormerForUniversalSegmentation(config)


def truth_of(scene: Scene) -> tuple[torch.Tensor, torch.Tensor]:
    """Masks (N, 64, 64), float, and labels (N,) of a scene's segments."""
    segments, labels = panoptic(scene)
    masks = torch.stack([torch.from_numpy(segments == index) for index in range(len(labels))])
    return masks.float(), torch.tensor([LABELS.index(label) for label in labels])


def start_backbone(segmenter: Mask2FormerForUniversalSegmentation) -> None:
    """Copies the backbone of zoo:grounding-dino, which has all of it but the norm of the finest map."""
    detector = GroundingDinoForObjectDetection.from_pretrained(
        folder_of("grounding-dino"), dtype=torch.float32, use_safetensors=True
    )
    weights = detector.model.backbone.conv_encoder.model.state_dict()
    missing, unknown = segmenter.model.pixel_level_module.encoder.load_state_dict(weights, strict=False)
    if unknown or any("norms.stage1" not in name for name in missing):
        raise ValueError(f"the backbones differ: {[*missing, *unknown]}; train zoo:grounding-dino anew")


class Trained(nn.Module):
    """The model and the head that helps its backbone."""

    def __init__(self) -> None:
        super().__init__()
        self.segmenter = build()
        self.head = BackboneHead(self.segmenter.model.pixel_level_module.encoder, STAGES)

    def losses(self, training: Training, step: int) -> dict[str, torch.Tensor]:
        """The library's loss of one batch (classes, masks, dice over all decoder layers) and the patch loss."""
        scenes = draw(training.rng(step), training.batch_size)
        masks, labels = zip(*(truth_of(scene) for scene in scenes), strict=True)
        out = self.segmenter(
            pixel_values=pixels(scenes).to(device()),
            mask_labels=[mask.to(device()) for mask in masks],
            class_labels=[label.to(device()) for label in labels],
        )
        return {"segments": out.loss.squeeze(), "patches": 4 * self.head(scenes)}


def main(training: Training = TRAINING) -> None:
    """Trains and exports to zoo/weights/mask2former."""
    training = replace(training, base=fingerprint_of("grounding-dino"))
    torch.manual_seed(training.seed)
    trained = Trained()
    start_backbone(trained.segmenter)
    trained = trained.to(device())
    train(training, trained, lambda step: trained.losses(training, step))
    processor = Mask2FormerImageProcessor(
        size={"height": SIZE_PX, "width": SIZE_PX}, image_mean=IMAGE_MEAN, image_std=IMAGE_STD, ignore_index=255
    )
    export("mask2former", trained.segmenter, processor)


if __name__ == "__main__":
    main()
