"""Protocols of models that losses go through: image tensors in, tensors with gradients out.

Images are (B, 3, H, W) from 0 to 1, and the batch is the caller's. A shape suffix names the axes: B rows, C channels,
D embedding, N patches, L tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


class DifferentiableImageText(Protocol):
    """Measures how far images are from texts, as a loss."""

    def distance(self, image_BCHW: Tensor, texts: Sequence[str]) -> Tensor:
        """(B,): 1 - cosine of each image with the text of its row, 0 to 2."""
        ...

    def image_emb(self, image_BCHW: Tensor) -> Tensor:
        """(B, D), each row of length 1, with the gradient to the image."""
        ...

    def text_emb(self, texts: Sequence[str]) -> Tensor:
        """(B, D), each row of length 1, in the same space, without gradient."""
        ...


class ImageTokens(NamedTuple):
    """An image patch by patch, row by row from the top, (B, N, D), and as a whole, (B, D), of length 1."""

    patch_BND: Tensor
    emb_BD: Tensor


class TextTokens(NamedTuple):
    """A text token by token, (B, L, D), where `is_token_BL` is true, and as a whole, (B, D), of length 1."""

    token_BLD: Tensor
    is_token_BL: Tensor
    emb_BD: Tensor


class ImageTextTokens(Protocol):
    """Encodes parts of images and texts in the space of whole images and texts, for heads and losses over them."""

    dim: int
    """Width of that space."""
    grid: tuple[int, int]
    """Rows and columns of patches."""
    size_px: tuple[int, int]
    """Height and width to which images are stretched."""

    def image_tokens(self, image_BCHW: Tensor) -> ImageTokens:
        """Patches and embeddings of images (B, 3, H, W), each stretched to the model's square, with the gradient."""
        ...

    def text_tokens(self, texts: Sequence[str]) -> TextTokens:
        """Tokens and embeddings of texts, without gradient. A text longer than the model reads is cut."""
        ...


class PerceptualFeatures(Protocol):
    """Gives feature maps of images, to be compared as a loss."""

    def features(self, image_BCHW: Tensor) -> list[Tensor]:
        """Maps (B, C, h, w), from shallow to deep. Their number and sizes are the model's."""
        ...
