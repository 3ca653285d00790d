"""Trains zoo:clipseg, a CLIPSegForImageSegmentation on zoo:clip, to mask what a phrase names (Lueddecke 2022)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from transformers import (
    AutoTokenizer,
    CLIPImageProcessor,
    CLIPModel,
    CLIPSegConfig,
    CLIPSegForImageSegmentation,
    CLIPSegProcessor,
)

from zoo.batches import draw, pixels
from zoo.export import export, folder_of
from zoo.training import Training, device, train
from zoo.world import COLOURS, NOUNS, Scene, thing_masks

if TYPE_CHECKING:
    import random

    import numpy.typing as npt

ABSENT_FRAC = 0.35
TRAINING = Training("clipseg", num_steps=1200, batch_size=32, learning_rate=2e-3, muon_rate=0.006, autocast=True)


def build(clip: CLIPModel) -> CLIPSegForImageSegmentation:
    """CLIPSeg with the towers of `clip` and a decoder with random weights: reduce_dim 64, masks at 64 px."""
    config = CLIPSegConfig(
        text_config=clip.config.text_config.to_dict(), vision_config=clip.config.vision_config.to_dict(),
        projection_dim=clip.config.projection_dim, extract_layers=[1, 2, 3], reduce_dim=64,
        decoder_num_attention_heads=4, decoder_intermediate_size=256, conditional_layer=0,
    )  # fmt: skip
    model = CLIPSegForImageSegmentation(config)
    for module in model.decoder.modules():
        if isinstance(module, nn.Linear | nn.ConvTranspose2d):
            nn.init.xavier_uniform_(module.weight)  # the library starts them at a standard deviation of about 1
    model.clip.load_state_dict(clip.state_dict())
    model.clip.requires_grad_(requires_grad=False)  # the library runs it without gradients, as the paper does
    return model


def phrase_of(scene: Scene, rng: random.Random) -> tuple[str, npt.NDArray[np.bool_]]:
    """A phrase and where it is: a thing of the scene, or by `ABSENT_FRAC` one that is not there (mostly nearly)."""
    masks = thing_masks(scene)
    index = rng.randrange(len(scene.things))
    thing = scene.things[index]
    if rng.random() >= ABSENT_FRAC:
        return (thing.phrase if rng.random() < 0.75 else thing.noun), masks[index]
    nowhere = np.zeros_like(masks[0])
    here = {one.noun for one in scene.things}
    other_noun = rng.choice([noun for noun in NOUNS if noun not in here])
    other_colour = rng.choice([colour for colour in COLOURS if colour != thing.colour])
    near = (f"{other_colour} {thing.noun}", f"{thing.colour} {other_noun}", f"{other_colour} {other_noun}", other_noun)
    return rng.choice(near), nowhere


def losses(
    model: CLIPSegForImageSegmentation, tokenizer: object, training: Training, step: int
) -> dict[str, torch.Tensor]:
    """Binary cross-entropy of every pixel, and dice where the phrase is there."""
    rng = training.rng(step)
    scenes = draw(rng, training.batch_size)
    phrases, masks = zip(*(phrase_of(scene, rng) for scene in scenes), strict=True)
    texts = tokenizer(list(phrases), padding=True, return_tensors="pt").to(device())  # type: ignore[operator]  # a tokenizer
    logit_BHW = model(**texts, pixel_values=pixels(scenes).to(device())).logits.float()
    mask_BHW = torch.from_numpy(np.stack(masks)).float().to(device())
    there_B = mask_BHW.any(2).any(1)
    cross = nn.functional.binary_cross_entropy_with_logits(logit_BHW, mask_BHW)
    chance, truth = logit_BHW.sigmoid()[there_B], mask_BHW[there_B]
    dice = 1 - (2 * (chance * truth).sum((1, 2)) + 1) / (chance.sum((1, 2)) + truth.sum((1, 2)) + 1)
    return {"pixels": 5 * cross, "dice": dice.mean()}


def main(training: Training = TRAINING) -> None:
    """Trains on zoo/weights/clip and exports to zoo/weights/clipseg."""
    torch.manual_seed(training.seed)
    clip = CLIPModel.from_pretrained(folder_of("clip"), dtype=torch.float32, use_safetensors=True)
    tokenizer = AutoTokenizer.from_pretrained(folder_of("clip"))
    model = build(clip).to(device())
    train(training, model, lambda step: losses(model, tokenizer, training, step))
    processor = CLIPImageProcessor.from_pretrained(folder_of("clip"))
    export("clipseg", model, CLIPSegProcessor(processor, tokenizer))


if __name__ == "__main__":
    main()
