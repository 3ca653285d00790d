"""Generated images of a training, kept on disk: an image is generated once for each box and seed, not at each step.

A file is named by a hash of all that decides it: pixels, box, description, seed, generator and its settings. So
trainings may share a folder, a resumed one finds its files, and a changed setting finds none.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

import numpy as np
import torch
from PIL import Image

from models.placement import in_batches
from samples.image_limits import ImageProblem
from samples.stored_images import MAX_MADE_PIXELS, rgb_image

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor

    from models.protocols import EditSynthesizer
    from trainer.recipes.regions.composite import Box

# B rows, H W pixels


class Generator(NamedTuple):
    """A frozen generator, and what decides its images besides their inputs."""

    model: EditSynthesizer
    identity: str
    """Its model id, revision and precision."""
    num_steps: int
    guidance_scale: float
    batch_size: int
    """Images that are made at once, and then written."""


class GeneratedImages:
    """Images of one generator in one folder. `num_generated` and `num_read` count them."""

    def __init__(self, generator: Generator, folder: Path) -> None:
        self._generator, self._folder = generator, folder
        self.num_generated = self.num_read = 0

    def images(
        self, source_BCHW: Tensor, boxes: Sequence[Box], descriptions: Sequence[str], seeds: Sequence[int]
    ) -> Tensor:
        """(B, 3, H, W) from 0 to 1: each source, from 0 to 1, repainted in its box from its description."""
        sources = [_as_image(source_CHW) for source_CHW in source_BCHW]
        keys = [self._key(*row) for row in zip(sources, boxes, descriptions, seeds, strict=True)]
        found = {key: pixels for key in dict.fromkeys(keys) if (pixels := self._read(key)) is not None}
        self.num_read += len(found)
        todo = {key: row for row, key in enumerate(keys) if key not in found}

        def make(keys: Sequence[str]) -> list[Image.Image]:
            rows = [todo[key] for key in keys]
            made = self._generator.model.inpaint(
                [sources[row] for row in rows], [_mask_of(boxes[row], sources[row]) for row in rows],
                [descriptions[row] for row in rows], seeds=[_noise_of(key) for key in keys],
                num_steps=self._generator.num_steps, guidance_scale=self._generator.guidance_scale,
            )  # fmt: skip
            for key, image in zip(keys, made, strict=True):
                self._write(key, image)
            self.num_generated += len(keys)
            return made

        made = in_batches(make, list(todo), self._generator.batch_size)
        found |= {key: np.asarray(image) for key, image in zip(todo, made, strict=True)}
        pixels_BHWC = torch.from_numpy(np.stack([found[key] for key in keys]))
        return (pixels_BHWC.permute(0, 3, 1, 2).float() / 255).to(source_BCHW.device)

    def _key(self, source: Image.Image, box: Box, description: str, seed: int) -> str:
        known = [
            self._generator.identity, self._generator.num_steps, self._generator.guidance_scale, source.size,
            list(box), description, seed,
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(known).encode() + source.tobytes()).hexdigest()

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / f"{key}.png"

    def _read(self, key: str) -> Any:
        """The pixels (H, W, 3), or None where the file is absent or was cut off."""
        try:
            return np.asarray(rgb_image(self._path(key).read_bytes(), MAX_MADE_PIXELS))
        except (OSError, ImageProblem):
            return None

    def _write(self, key: str, image: Image.Image) -> None:
        """Write the file, complete or not at all: another training may read the folder."""
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{uuid4().hex}")
        image.save(temporary, "PNG", compress_level=1)
        temporary.replace(path)


def _as_image(source_CHW: Tensor) -> Image.Image:
    pixels_HWC = (source_CHW.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    return Image.fromarray(pixels_HWC)


def _mask_of(box: Box, image: Image.Image) -> Any:
    mask_HW = np.zeros((image.height, image.width), np.bool_)
    mask_HW[box.top : box.lower, box.left : box.right] = True
    return mask_HW


def _noise_of(key: str) -> int:
    """The generator's seed for the file."""
    return int(key[:14], 16)
