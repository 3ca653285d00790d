"""Trains zoo:clipseg, a CLIPSegForImageSegmentation on zoo:clip, to mask what a phrase names (Lueddecke 2022)."""

from __future__ import annotations

import random
from dataclasses import replace
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
from zoo.export import export, fingerprint_of, folder_of
from zoo.training import Training, device, train
from zoo.world import COLOURS, NOUNS, Scene, thing_masks

if TYPE_CHECKING:
    import numpy.typing as npt
    from transformers import PreTrainedTokenizerBase

ABSENT_FRAC = 0.45
TRAINING = Training(
    "clipseg", num_steps=2400, batch_size=32, learning_rate=2e-3, muon_rate=0.006, ema=0.995, autocast=True
)


def build(clip: CLIPModel) -> CLIPSegForImageSegmentation:
    """CLIPSeg with the towers of `clip` and a decoder with random weights: reduce_dim 64, masks at 64 px."""
    config = CLIPSegConfig(
        text_config=clip.config.text_config.to_dict(), vision_config=clip.config.vision_config.to_dict(),
        projection_dim=clip.config.projection_dim, extract_layers=[1, 2, 3], reduce_dim=64,
        decoder_num_attention_heads=4, decoder_intermediate_size=256, conditional_layer=0,
    )  # fmt: skip
    model = CLIPSegForImageSegmentation(config)
    model.clip.load_state_dict(clip.state_dict())
    model.clip.requires_grad_(requires_grad=False)  # the library runs it without gradients, as the paper does
    return model


@torch.no_grad()
def start_decoder(model: CLIPSegForImageSegmentation, tokenizer: PreTrainedTokenizerBase) -> None:
    """Starts the decoder so that phrase and patches meet at the same scale and every block does nothing.

    What comes from CLIP is far from zero mean and unit spread: phrases share most of their embedding, patches most of
    theirs. The layers that read them take the mean out and divide by the spread, measured on phrases and scenes of
    the world. From xavier weights alone the decoder masks whatever is in the image and does not read the phrase.
    """
    decoder, rng = model.decoder, random.Random("clipseg")
    phrases = [f"{colour} {noun}" for colour in COLOURS for noun in NOUNS]
    words = tokenizer(phrases, padding=True, return_tensors="pt").to(device())
    read_ND = model.clip.get_text_features(**words).pooler_output
    _standardise(decoder.film_mul, read_ND, bias=1.0)
    _standardise(decoder.film_add, read_ND)
    seen = model.clip.vision_model(pixels(draw(rng, 64)).to(device()), output_hidden_states=True).hidden_states
    for reduce, layer in zip(decoder.reduces, reversed(model.extract_layers), strict=True):
        _standardise(reduce, seen[layer + 1].flatten(0, 1))
    for block in decoder.layers:
        for last in (block.self_attn.out_proj, block.mlp.fc2):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
    nn.init.xavier_uniform_(decoder.transposed_convolution.weight)  # the library starts it near a deviation of 1


def _standardise(linear: nn.Linear, inputs_ND: torch.Tensor, bias: float = 0.0) -> None:
    """Random weights whose outputs have mean `bias` and deviation 1 on `inputs_ND`."""
    mean_D = inputs_ND.mean(0)
    deviation = float((inputs_ND - mean_D).square().mean().sqrt())
    nn.init.normal_(linear.weight, std=1 / (deviation * linear.in_features**0.5))
    linear.bias.copy_(bias - linear.weight @ mean_D)


def phrase_of(scene: Scene, rng: random.Random) -> tuple[str, npt.NDArray[np.bool_]]:
    """A phrase and where it is: a thing of the scene, or by `ABSENT_FRAC` an absent one (mostly nearly there)."""
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
    training = replace(training, base=fingerprint_of("clip"))
    torch.manual_seed(training.seed)
    clip = CLIPModel.from_pretrained(folder_of("clip"), dtype=torch.float32, use_safetensors=True)
    tokenizer = AutoTokenizer.from_pretrained(folder_of("clip"))
    model = build(clip).to(device())
    start_decoder(model, tokenizer)
    train(training, model, lambda step: losses(model, tokenizer, training, step))
    processor = CLIPImageProcessor.from_pretrained(folder_of("clip"))
    export("clipseg", model, CLIPSegProcessor(processor, tokenizer))


if __name__ == "__main__":
    main()
