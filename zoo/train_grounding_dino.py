"""Trains zoo:grounding-dino, a GroundingDinoForObjectDetection, to box what phrases name (Liu et al. 2023)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers import (
    BertConfig,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessor,
    GroundingDinoProcessor,
)
from transformers.loss.loss_grounding_dino import GroundingDinoHungarianMatcher, GroundingDinoImageLoss
from transformers.models.grounding_dino.modeling_grounding_dino import build_label_maps, build_text_mask

from zoo.batches import IMAGE_MEAN, IMAGE_STD, draw, pixels
from zoo.export import export
from zoo.swin import BackboneHead, swin
from zoo.tokenizers import grounding_tokenizer
from zoo.training import Training, device, train
from zoo.world import COLOURS, NOUNS, SIZE_PX, Scene, Thing, boxes, thing_masks

if TYPE_CHECKING:
    import random

STAGES = ["stage2", "stage3", "stage4"]
WIDTH = 64
NUM_PHRASES = (3, 4, 5)
TRAINING = Training("grounding-dino", num_steps=1600, batch_size=16, learning_rate=8e-4, muon_rate=0.005, ema=0.995)


def build(vocabulary: int) -> GroundingDinoForObjectDetection:
    """A GroundingDINO with random weights: Swin backbone, 2-layer BERT, 2 + 2 layers 64 wide, 12 queries."""
    text = BertConfig(
        vocab_size=vocabulary, hidden_size=WIDTH, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=2 * WIDTH, max_position_embeddings=64, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    config = GroundingDinoConfig(
        backbone_config=swin(*STAGES), text_config=text, d_model=WIDTH, encoder_layers=2, decoder_layers=2,
        encoder_ffn_dim=2 * WIDTH, decoder_ffn_dim=2 * WIDTH, encoder_attention_heads=4, decoder_attention_heads=4,
        num_feature_levels=len(STAGES), num_queries=12, max_text_len=48, auxiliary_loss=True, dropout=0.0,
        fusion_dropout=0.0, text_enhancer_dropout=0.0, fusion_droppath=0.0,
    )  # fmt: skip
    return GroundingDinoForObjectDetection(config)


def prompt_of(scene: Scene, rng: random.Random, num_phrases: int, *, with_colour: bool) -> tuple[list[str], list[int]]:
    """`num_phrases` phrases in random order, all of the scene's things among them, and the phrase of each thing."""
    here = {thing.noun for thing in scene.things}
    phrases = [_say(thing, with_colour=with_colour) for thing in scene.things]
    while len(phrases) < num_phrases:
        noun = rng.choice([noun for noun in NOUNS if noun not in here])
        colour = rng.choice(tuple(COLOURS))
        if with_colour and rng.random() < 0.5:  # the right noun in a wrong colour
            thing = rng.choice(scene.things)
            noun, colour = thing.noun, rng.choice([one for one in COLOURS if one != thing.colour])
        phrase = f"{colour} {noun}" if with_colour else noun
        if phrase not in phrases:
            phrases.append(phrase)
    shuffled = rng.sample(phrases, len(phrases))
    return shuffled, [shuffled.index(phrase) for phrase in phrases[: len(scene.things)]]


def _say(thing: Thing, *, with_colour: bool) -> str:
    return thing.phrase if with_colour else thing.noun


class Trained(nn.Module):
    """The model and the head that helps its backbone."""

    def __init__(self) -> None:
        super().__init__()
        self.tokenizer = grounding_tokenizer()
        self.detector = build(len(self.tokenizer))
        self.head = BackboneHead(self.detector.model.backbone.conv_encoder.model, STAGES)

    def losses(self, training: Training, step: int) -> dict[str, torch.Tensor]:
        """The library's loss of one batch.

        All prompts of a batch have the same layout, because the library (transformers 5.23) takes the tokens of
        rows after the second from the second row's prompt.
        """
        rng = training.rng(step)
        scenes = draw(rng, training.batch_size)
        count, with_colour = rng.choice(NUM_PHRASES), rng.random() < 0.75
        prompts, labels = [], []
        for scene in scenes:
            phrases, answers = prompt_of(scene, rng, count, with_colour=with_colour)
            corner_N4 = torch.from_numpy(boxes(thing_masks(scene))) / SIZE_PX
            centre_N4 = torch.cat(
                [(corner_N4[:, :2] + corner_N4[:, 2:]) / 2, corner_N4[:, 2:] - corner_N4[:, :2]], dim=1
            )
            prompts.append(". ".join(phrases) + ".")
            labels.append({"class_labels": torch.tensor(answers).to(device()), "boxes": centre_N4.to(device())})
        texts = self.tokenizer(prompts, return_tensors="pt").to(device())
        out = self.detector(pixel_values=pixels(scenes).to(device()), **texts, labels=labels)
        return {
            "detection": out.loss,
            "proposals": self._proposals(out, texts, labels),
            "patches": 4 * self.head(scenes),
        }

    def _proposals(self, out: Any, texts: Any, labels: list[dict[str, torch.Tensor]]) -> torch.Tensor:
        """The same loss on the proposals of every place of the encoder's maps.

        The library's loss looks at proposals that were cut off from the graph, so its proposal head would stay random.
        """
        config = self.detector.config
        matcher = GroundingDinoHungarianMatcher(config.class_cost, config.bbox_cost, config.giou_cost)
        criterion = GroundingDinoImageLoss(matcher, config.focal_alpha, ["labels", "boxes"])
        proposed = {
            "logits": out.enc_outputs_class,
            "pred_boxes": out.enc_outputs_coord_logits.sigmoid(),
            "label_maps": build_label_maps(out.enc_outputs_class, texts.input_ids),
            "text_mask": build_text_mask(out.enc_outputs_class, texts.attention_mask),
        }
        parts = criterion(proposed, labels)
        weights = (2.0, config.bbox_loss_coefficient, config.giou_loss_coefficient)
        names = ("loss_ce", "loss_bbox", "loss_giou")
        return torch.stack([weight * parts[name] for weight, name in zip(weights, names, strict=True)]).sum()


def main(training: Training = TRAINING) -> None:
    """Trains and exports to zoo/weights/grounding-dino."""
    torch.manual_seed(training.seed)
    trained = Trained().to(device())
    train(training, trained, lambda step: trained.losses(training, step))
    processor = GroundingDinoImageProcessor(
        size={"height": SIZE_PX, "width": SIZE_PX}, image_mean=IMAGE_MEAN, image_std=IMAGE_STD, do_pad=False
    )
    export("grounding-dino", trained.detector, GroundingDinoProcessor(processor, trained.tokenizer))


if __name__ == "__main__":
    main()
