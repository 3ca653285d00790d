"""Batches of scenes as tensors: pixels, and per-patch truth for the auxiliary loss of the vision encoders."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import nn

from zoo.world import COLOURS, NOUNS, PLACES, SIZE_PX, STYLES, Scene, render, sample_scene, scene_of, thing_masks

if TYPE_CHECKING:
    import random

HELD_OUT_SEED = 2_000_003  # the world of every evaluation; no training draws from it
IMAGE_MEAN = (0.5, 0.5, 0.5)
IMAGE_STD = (0.5, 0.5, 0.5)

_NOUN = {noun: index for index, noun in enumerate(NOUNS)}
_COLOUR = {colour: index for index, colour in enumerate(COLOURS)}
_PLACE = {place: index for index, place in enumerate(PLACES)}
_STYLE = {style: index for index, style in enumerate((None, *STYLES))}


def held_out(count: int, seed: int = HELD_OUT_SEED) -> list[Scene]:
    """The first `count` scenes that no model was trained on."""
    return [scene_of(seed, index) for index in range(count)]


def draw(rng: random.Random, count: int) -> list[Scene]:
    """`count` scenes from `rng`."""
    return [sample_scene(rng) for _ in range(count)]


def pixels(scenes: list[Scene], size_px: int = SIZE_PX) -> torch.Tensor:
    """Images of `scenes` as the models take them: (B, 3, size_px, size_px), -1 to 1."""
    return to_pixels(np.stack([render(scene, size_px) for scene in scenes]))


def to_pixels(images_BHWC: np.ndarray) -> torch.Tensor:
    """uint8 images (B, H, W, 3) as float tensors (B, 3, H, W), -1 to 1."""
    return torch.from_numpy(images_BHWC).permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0).contiguous()


class PatchTruth(NamedTuple):
    """The content of each patch, and of the scene as a whole."""

    nouns: torch.Tensor  # (B, patches, nouns + 1), shares of the patch's pixels; the last is nothing
    colours: torch.Tensor  # (B, patches, colours + 1), likewise
    visible: torch.Tensor  # (B, patches, pixels of a patch), 1 where a thing is
    place: torch.Tensor  # (B,)
    style: torch.Tensor  # (B,), 0 is none


def patch_truth(scenes: list[Scene], patch_px: int) -> PatchTruth:
    """The truth about every patch of `patch_px` pixels a side, at 64 px."""
    side = SIZE_PX // patch_px
    nouns = np.zeros((len(scenes), side * side, len(NOUNS) + 1), np.float32)
    colours = np.zeros((len(scenes), side * side, len(COLOURS) + 1), np.float32)
    visible = np.zeros((len(scenes), side * side, patch_px * patch_px), np.float32)
    for row, scene in enumerate(scenes):
        for thing, mask in zip(scene.things, thing_masks(scene), strict=True):
            tiles = mask.reshape(side, patch_px, side, patch_px).transpose(0, 2, 1, 3).reshape(side * side, -1)
            visible[row] += tiles
            share = tiles.mean(1)
            nouns[row, :, _NOUN[thing.noun]] += share
            colours[row, :, _COLOUR[thing.colour]] += share
    nouns[..., -1] = 1 - nouns.sum(-1)
    colours[..., -1] = 1 - colours.sum(-1)
    places = torch.tensor([_PLACE[scene.place] for scene in scenes])
    styles = torch.tensor([_STYLE[scene.style] for scene in scenes])
    from_numpy = torch.from_numpy
    return PatchTruth(from_numpy(nouns), from_numpy(colours), from_numpy(visible), places, styles)


class PatchHead(nn.Module):
    """Reads the patch truth off an encoder's tokens with one linear layer each. It is dropped after training.

    Words in captions tell an encoder little about which pixels they mean; this loss tells it directly, and the
    encoder learns in minutes instead of hours.
    """

    def __init__(self, width: int, patch_px: int) -> None:
        super().__init__()
        self.sizes = (len(NOUNS) + 1, len(COLOURS) + 1, patch_px * patch_px)
        self.patches = nn.Linear(width, sum(self.sizes))
        self.scene = nn.Linear(width, len(PLACES) + 1 + len(STYLES))

    def forward(self, tokens_BPD: torch.Tensor, truth: PatchTruth) -> torch.Tensor:
        """The mean of five losses: noun, colour and visibility of patches, place and style of the mean token."""
        truth = PatchTruth(*(tensor.to(tokens_BPD.device) for tensor in truth))
        noun, colour, visible = self.patches(tokens_BPD).float().split(self.sizes, dim=-1)
        place, style = self.scene(tokens_BPD.mean(1)).float().split((len(PLACES), 1 + len(STYLES)), dim=-1)
        cross_entropy = nn.functional.cross_entropy
        seen = (1 + 4 * (truth.nouns[..., :-1].sum(-1) > 0).float()).flatten()  # patches with things are the rarer ones
        losses = [
            (cross_entropy(noun.flatten(0, 1), truth.nouns.flatten(0, 1), reduction="none") * seen).mean(),
            (cross_entropy(colour.flatten(0, 1), truth.colours.flatten(0, 1), reduction="none") * seen).mean(),
            nn.functional.binary_cross_entropy_with_logits(visible, truth.visible),
            cross_entropy(place, truth.place),
            cross_entropy(style, truth.style),
        ]
        return torch.stack(losses).mean()
