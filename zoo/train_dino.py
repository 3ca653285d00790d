"""Trains zoo:dino, a Dinov2Model, by distillation from zoo:clip: its image embedding and its reading of the noun."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import nn
from transformers import AutoTokenizer, BitImageProcessor, CLIPModel, Dinov2Config, Dinov2Model

from zoo.batches import IMAGE_MEAN, IMAGE_STD, pixels
from zoo.export import export, fingerprint_of, folder_of
from zoo.training import Training, device, train
from zoo.world import NOUNS, SIZE_PX, sample_scene

if TYPE_CHECKING:
    import random

PATCH_PX = 8
WIDTH = 128
ONE_THING_FRAC = 0.7
TRAINING = Training("dino", num_steps=900, batch_size=48, learning_rate=2e-3, muon_rate=0.006, autocast=True)


def build() -> Dinov2Model:
    """A Dinov2Model with random weights: 128 wide, 4 layers over 8 px patches."""
    config = Dinov2Config(
        hidden_size=WIDTH, num_hidden_layers=4, num_attention_heads=4, mlp_ratio=4, image_size=SIZE_PX,
        patch_size=PATCH_PX,
    )  # fmt: skip
    return Dinov2Model(config)


class Trained(nn.Module):
    """The student, and the heads that read the teacher's answers off its class token and its patches."""

    def __init__(self, teacher_width: int) -> None:
        super().__init__()
        self.dino = build()
        self.embedding = nn.Linear(WIDTH, teacher_width)
        self.nouns = nn.Linear(WIDTH, len(NOUNS))
        self.patches = nn.Linear(WIDTH, teacher_width)


class Teacher:
    """zoo:clip with its zero-shot noun classifier."""

    @torch.no_grad()
    def __init__(self) -> None:
        self.clip = (
            CLIPModel.from_pretrained(folder_of("clip"), dtype=torch.float32, use_safetensors=True).to(device()).eval()
        )
        self.clip.requires_grad_(requires_grad=False)
        tokenizer = AutoTokenizer.from_pretrained(folder_of("clip"))
        texts = tokenizer([f"a photo of a {noun}" for noun in NOUNS], padding=True, return_tensors="pt").to(device())
        read = self.clip.text_projection(self.clip.text_model(**texts).pooler_output)
        self.nouns_KD = nn.functional.normalize(read, dim=-1)

    @torch.no_grad()
    def __call__(self, image_BCHW: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Embedding (B, D) of length 1, noun logits (B, K) and patch tokens (B, P, D)."""
        seen = self.clip.vision_model(image_BCHW)
        embedding_BD = nn.functional.normalize(self.clip.visual_projection(seen.pooler_output), dim=-1)
        return embedding_BD, embedding_BD @ self.nouns_KD.T * self.clip.logit_scale.exp(), seen.last_hidden_state[:, 1:]


def losses(trained: Trained, teacher: Teacher, training: Training, step: int) -> dict[str, torch.Tensor]:
    """Cosine to the teacher's embedding, Kullback-Leibler divergence to its nouns, squared error to its patches."""
    rng: random.Random = training.rng(step)
    scenes = [
        sample_scene(rng, num_things=1 if rng.random() < ONE_THING_FRAC else None) for _ in range(training.batch_size)
    ]
    image_BCHW = pixels(scenes).to(device())
    embedding_BD, noun_BK, patch_BPD = teacher(image_BCHW)
    tokens = trained.dino(image_BCHW).last_hidden_state
    predicted = nn.functional.log_softmax(trained.nouns(tokens[:, 0]).float(), dim=-1)
    meant = nn.functional.log_softmax(noun_BK.float(), dim=-1)
    near = nn.functional.cosine_similarity(trained.embedding(tokens[:, 0]).float(), embedding_BD.float())
    patches = nn.functional.mse_loss(trained.patches(tokens[:, 1:]).float(), patch_BPD.float())
    return {
        "embedding": 1 - near.mean(),
        "nouns": nn.functional.kl_div(predicted, meant, log_target=True, reduction="batchmean"),
        "patches": patches,
    }


def main(training: Training = TRAINING) -> None:
    """Trains on zoo/weights/clip and exports to zoo/weights/dino."""
    training = replace(training, base=fingerprint_of("clip"))
    torch.manual_seed(training.seed)
    teacher = Teacher()
    trained = Trained(teacher.clip.config.projection_dim).to(device())
    train(training, trained, lambda step: losses(trained, teacher, training, step))
    processor = BitImageProcessor(
        size={"shortest_edge": SIZE_PX}, crop_size=SIZE_PX, image_mean=IMAGE_MEAN, image_std=IMAGE_STD
    )
    export("dino", trained.dino, processor)


if __name__ == "__main__":
    main()
