"""Samples side by side, as tensors on the CPU or a device."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from trainer.decode import Sample

# B rows, C channels, H W pixels, h w cells of a latent

SIDES = ("source", "target")


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Some samples of one step.

    `number_B` counts samples over the whole training and all processes: it seeds what is drawn for a sample. Images are
    float32, -1 to 1; masks float32, 1 inside, over pixels 0 or 1 and over latent cells the share of the cell that is
    inside. Latents are scaled by the autoencoder's factor. What the dataset does not have, or nobody needs, is None.
    """

    number_B: Tensor
    epochs: tuple[int, ...]
    keys: tuple[str, ...]
    source_BCHW: Tensor
    target_BCHW: Tensor
    source_mask_B1HW: Tensor | None
    target_mask_B1HW: Tensor | None
    source_mask_B1hw: Tensor | None
    target_mask_B1hw: Tensor | None
    source_latent_BChw: Tensor | None
    target_latent_BChw: Tensor | None
    source_captions: tuple[str, ...]
    target_captions: tuple[str, ...]
    source_phrases: tuple[str, ...]
    target_phrases: tuple[str, ...]
    instructions: tuple[str, ...]
    edit_types: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.keys)

    def to(self, device: torch.device) -> Batch:
        """The same batch with its tensors on `device`; the numbers stay, generators are seeded on the CPU."""
        moved: dict[str, Any] = {
            field.name: value.to(device, non_blocking=True)
            for field in fields(self)
            if field.name != "number_B" and isinstance(value := getattr(self, field.name), torch.Tensor)
        }
        return replace(self, **moved)


def collate(samples: Sequence[Sample], latent_side: int) -> Batch:
    """One batch of the samples; masks also at `latent_side`, by the mean over each cell.

    Latents are taken when all samples have them, else left to the autoencoder for the whole batch.
    """

    def texts(name: str) -> tuple[str, ...]:
        return tuple(sample.texts[name] for sample in samples)

    source_mask, target_mask = (_masks([getattr(s, f"{side}_mask_HW") for s in samples]) for side in SIDES)
    return Batch(
        number_B=torch.tensor([sample.number for sample in samples], dtype=torch.int64),
        epochs=tuple(sample.epoch for sample in samples),
        keys=tuple(sample.key for sample in samples),
        source_BCHW=_images([sample.source_HWC for sample in samples]),
        target_BCHW=_images([sample.target_HWC for sample in samples]),
        source_mask_B1HW=source_mask,
        target_mask_B1HW=target_mask,
        source_mask_B1hw=_cells(source_mask, latent_side),
        target_mask_B1hw=_cells(target_mask, latent_side),
        source_latent_BChw=_stacked([sample.source_latent_Chw for sample in samples]),
        target_latent_BChw=_stacked([sample.target_latent_Chw for sample in samples]),
        source_captions=texts("source_caption"),
        target_captions=texts("target_caption"),
        source_phrases=texts("source_phrase"),
        target_phrases=texts("target_phrase"),
        instructions=texts("instruction"),
        edit_types=texts("edit_type"),
    )


def _images(pixels: list[np.ndarray]) -> Tensor:
    pixels_BHWC = torch.from_numpy(np.stack(pixels))
    return pixels_BHWC.permute(0, 3, 1, 2).float() / 127.5 - 1


def _stacked(arrays: list[np.ndarray | None]) -> Tensor | None:
    present = [array for array in arrays if array is not None]
    return torch.from_numpy(np.stack(present)).float() if len(present) == len(arrays) else None


def _masks(masks: list[np.ndarray | None]) -> Tensor | None:
    stacked_BHW = _stacked(masks)
    return None if stacked_BHW is None else stacked_BHW[:, None]


def _cells(mask_B1HW: Tensor | None, side: int) -> Tensor | None:
    return None if mask_B1HW is None else functional.interpolate(mask_B1HW, (side, side), mode="area")
