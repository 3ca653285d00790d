"""Trains zoo:blip, a BlipForConditionalGeneration, to say the canonical caption of a scene (Li et al. 2022)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from transformers import BlipConfig, BlipForConditionalGeneration, BlipImageProcessor, BlipProcessor

from zoo.batches import IMAGE_MEAN, IMAGE_STD, PatchHead, draw, patch_truth, pixels
from zoo.export import export
from zoo.tokenizers import bert_tokenizer
from zoo.training import Training, device, train
from zoo.world import SIZE_PX, caption

if TYPE_CHECKING:
    from transformers import BertTokenizer

PATCH_PX = 8
WIDTH = 128
MAX_TOKENS = 40
TRAINING = Training("blip", num_steps=3200, batch_size=32, learning_rate=1e-3, muon_rate=0.006, autocast=True)


def build(tokenizer: BertTokenizer) -> BlipForConditionalGeneration:
    """A BLIP captioner with random weights: 128 wide, 4 vision layers over 8 px patches, 3 text layers."""
    layers = {"hidden_size": WIDTH, "intermediate_size": 4 * WIDTH, "num_attention_heads": 4}
    text: dict[str, float] = {
        **layers,
        "vocab_size": len(tokenizer),
        "encoder_hidden_size": WIDTH,
        "num_hidden_layers": 3,
    }
    text |= {"max_position_embeddings": MAX_TOKENS, "projection_dim": WIDTH, "label_smoothing": 0.0}
    text |= {"bos_token_id": tokenizer.cls_token_id, "pad_token_id": tokenizer.pad_token_id}
    text |= {"eos_token_id": tokenizer.sep_token_id, "sep_token_id": tokenizer.sep_token_id}
    vision = {**layers, "num_hidden_layers": 4, "image_size": SIZE_PX, "patch_size": PATCH_PX}
    config = BlipConfig(text_config=text, vision_config=vision, projection_dim=WIDTH, image_text_hidden_size=WIDTH)
    model = BlipForConditionalGeneration(config)
    model.generation_config.max_length = MAX_TOKENS
    return model


class Trained(nn.Module):
    """The model and the head that helps its vision tower."""

    def __init__(self) -> None:
        super().__init__()
        self.tokenizer = bert_tokenizer()
        self.blip = build(self.tokenizer)
        self.head = PatchHead(WIDTH, PATCH_PX)

    def losses(self, training: Training, step: int) -> dict[str, torch.Tensor]:
        """Next-word prediction given the image, and the patch loss."""
        scenes = draw(training.rng(step), training.batch_size)
        texts = self.tokenizer([caption(scene) for scene in scenes], padding=True, return_tensors="pt").to(device())
        seen = self.blip.vision_model(pixels(scenes).to(device())).last_hidden_state
        labels = texts.input_ids.masked_fill(texts.attention_mask == 0, -100)
        predicted = self.blip.text_decoder(
            input_ids=texts.input_ids, attention_mask=texts.attention_mask, encoder_hidden_states=seen,
            labels=labels, reduction="mean",
        )  # fmt: skip
        return {"words": predicted.loss, "patches": self.head(seen[:, 1:], patch_truth(scenes, PATCH_PX))}


def main(training: Training = TRAINING) -> None:
    """Trains and exports to zoo/weights/blip."""
    torch.manual_seed(training.seed)
    trained = Trained().to(device())
    train(training, trained, lambda step: trained.losses(training, step))
    processor = BlipImageProcessor(
        size={"height": SIZE_PX, "width": SIZE_PX}, image_mean=IMAGE_MEAN, image_std=IMAGE_STD
    )
    export("blip", trained.blip, BlipProcessor(processor, trained.tokenizer))


if __name__ == "__main__":
    main()
