"""Trains zoo:clip, a CLIPModel, on pictures and captions of the world (Radford et al. 2021: symmetric InfoNCE)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import nn
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

from zoo.batches import IMAGE_MEAN, IMAGE_STD, PatchHead, patch_truth, pixels
from zoo.export import export
from zoo.tokenizers import CLIP_LENGTH, clip_tokenizer
from zoo.training import Training, device, train
from zoo.world import COLOURS, NOUNS, SIZE_PX, Scene, caption, sample_scene, varied_caption

if TYPE_CHECKING:
    import random

    from transformers import CLIPTokenizer

PATCH_PX = 8
WIDTH = 128
GROUP = 8
TRAINING = Training(
    "clip", num_steps=3200, batch_size=64, learning_rate=1e-3, muon_rate=0.006, ema=0.998, autocast=True
)


def build(tokenizer: CLIPTokenizer) -> CLIPModel:
    """A CLIPModel with random weights: 128 wide, 4 vision layers over 8 px patches, 3 text layers."""
    special = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    layers = {"hidden_size": WIDTH, "intermediate_size": 4 * WIDTH, "num_attention_heads": 4, "projection_dim": WIDTH}
    text = {**layers, **special, "vocab_size": len(tokenizer), "max_position_embeddings": CLIP_LENGTH}
    text |= {"num_hidden_layers": 3, "pad_token_id": tokenizer.pad_token_id}
    vision = {**layers, "num_hidden_layers": 4, "image_size": SIZE_PX, "patch_size": PATCH_PX}
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=WIDTH))


def draw_alike(rng: random.Random, count: int) -> list[Scene]:
    """Draw `count` scenes in groups of equal place, style and layout.

    The scenes of a group differ in their nouns and in about half of their colours. Scenes drawn without groups nearly
    always differ in place or colour, so a model could match captions to images without learning nouns.
    """
    scenes: list[Scene] = []
    while len(scenes) < count:
        base = sample_scene(rng)
        for _ in range(min(GROUP, count - len(scenes))):
            nouns = rng.sample(NOUNS, len(base.things))
            things = []
            for thing, noun in zip(base.things, nouns, strict=True):
                colour = thing.colour if rng.random() < 0.5 else rng.choice(tuple(COLOURS))
                things.append(replace(thing, noun=noun, colour=colour, is_flipped=rng.random() < 0.5))
            scenes.append(replace(base, things=tuple(things)))
    return scenes


def text_of(scene: Scene, rng: random.Random) -> str:
    """A training text: mostly whole captions, some that name one noun or one colour only."""
    kind = rng.random()
    thing = rng.choice(scene.things)
    if kind < 0.5:
        return caption(scene)
    if kind < 0.76:
        return varied_caption(scene, rng)
    if kind < 0.94:
        return f"a photo of a {thing.noun}"
    return f"something {thing.colour}"


class Trained(nn.Module):
    """The model and the head that helps its vision tower."""

    def __init__(self) -> None:
        super().__init__()
        self.tokenizer = clip_tokenizer()
        self.clip = build(self.tokenizer)
        self.head = PatchHead(WIDTH, PATCH_PX)

    def losses(self, training: Training, step: int) -> dict[str, torch.Tensor]:
        """The contrastive loss and the patch loss of one batch."""
        rng = training.rng(step)
        scenes = draw_alike(rng, training.batch_size)
        texts = self.tokenizer([text_of(scene, rng) for scene in scenes], padding=True, return_tensors="pt")
        seen = self.clip.vision_model(pixels(scenes).to(device()))
        read = self.clip.text_model(**texts.to(device()))
        image_BD = nn.functional.normalize(self.clip.visual_projection(seen.pooler_output).float(), dim=-1)
        text_BD = nn.functional.normalize(self.clip.text_projection(read.pooler_output).float(), dim=-1)
        logits_BB = image_BD @ text_BD.T * self.clip.logit_scale.exp().clamp(max=100)
        same = torch.arange(len(scenes), device=logits_BB.device)
        contrast = (nn.functional.cross_entropy(logits_BB, same) + nn.functional.cross_entropy(logits_BB.T, same)) / 2
        patches = self.head(seen.last_hidden_state[:, 1:], patch_truth(scenes, PATCH_PX))
        return {"contrast": contrast, "patches": patches}


def main(training: Training = TRAINING) -> None:
    """Trains and exports to zoo/weights/clip."""
    torch.manual_seed(training.seed)
    trained = Trained().to(device())
    train(training, trained, lambda step: trained.losses(training, step))
    processor = CLIPImageProcessor(
        size={"shortest_edge": SIZE_PX}, crop_size=SIZE_PX, image_mean=IMAGE_MEAN, image_std=IMAGE_STD
    )
    export("clip", trained.clip, trained.tokenizer, processor)


if __name__ == "__main__":
    main()
