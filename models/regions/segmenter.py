"""Finds where an instruction changes an image, with a trained region head.

Source  Beyond Editing Pairs (arXiv 2505.19352), figure 1: at inference the semantic and the CLIP losses are left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from models.batches import as_rgb, same_length
from models.placement import in_batches
from models.regions.frozen_clip import load_tokens
from models.regions.head_file import load_head
from models.regions.region_maps import enlarged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

    from models.loss_protocols import ImageTextTokens
    from models.placement import Placement
    from models.protocols import Floats
    from models.regions.head import RegionHead
    from models.schemes.weights import Weights

# B rows, N patches, H W pixels


class RegionSegmenter:
    """An InstructionSegmenter over a region head and the CLIP that it was trained over.

    An image of any shape is stretched to CLIP's square, and the map back to the image. `threshold` is the probability
    above which the training took a pixel for the region.
    """

    def __init__(self, weights: Weights, placement: Placement) -> None:
        """Load both. Raises ModelError for a head that is damaged, and for a CLIP that is absent or another."""
        head, config = load_head(weights, placement)
        self._take(head, load_tokens(config, placement), config.threshold, placement.batch_size)

    @classmethod
    def over(cls, head: RegionHead, tokens: ImageTextTokens, *, threshold: float, batch_size: int) -> Self:
        """The segmenter over modules in memory, which stay where and as they are."""
        segmenter = cls.__new__(cls)
        segmenter._take(head, tokens, threshold, batch_size)  # noqa: SLF001  its own class
        return segmenter

    def _take(self, head: RegionHead, tokens: ImageTextTokens, threshold: float, batch_size: int) -> None:
        self._head, self._tokens = head, tokens
        self.threshold, self._batch_size = threshold, batch_size

    def segment_instructions(self, images: Sequence[Image], instructions: Sequence[str]) -> list[Floats]:
        """One instruction an image: a (H, W) map of probabilities at the image's own size.

        Bilinear between patches. Raises ValueError when the two lists differ in length.
        """
        same_length(images=images, instructions=instructions)
        return in_batches(self._segment, list(zip(images, instructions, strict=True)), self._batch_size)

    def _segment(self, rows: Sequence[tuple[Image, str]]) -> list[Floats]:
        import torch

        grid, device = self._tokens.grid, next(self._head.parameters()).device
        image_BCHW = torch.cat([self._pixels(image) for image in as_rgb(image for image, _ in rows)]).to(device)
        with torch.inference_mode():
            instruction = self._tokens.text_tokens([text for _, text in rows])
            prob_BN = (
                self._head(self._tokens.image_tokens(image_BCHW).patch_BND, instruction).logit_BN.float().sigmoid()
            )
            return [
                enlarged(prob_N[None], grid, image.height, image.width)[0, 0].cpu().numpy()
                for prob_N, (image, _) in zip(prob_BN, rows, strict=True)
            ]

    def _pixels(self, image: Image) -> Any:
        """The image at CLIP's size as (1, 3, H, W), from 0 to 1."""
        import numpy as np
        import torch
        from PIL import Image

        height, width = self._tokens.size_px
        small = image.resize((width, height), Image.Resampling.BICUBIC)
        return torch.from_numpy(np.asarray(small, np.float32).copy()).permute(2, 0, 1)[None] / 255
