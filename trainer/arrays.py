"""Says which arrays of a dataset a training can use: those that the same model made, at the same size.

An array that cannot be used is left out of the batch, and the recipe makes it anew from the image or the text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class ArraySpec:
    """Array columns that one model makes. They are used where a sample's light columns equal `made_by`.

    `made_by` is {"latent_model": …, "latent_revision": …, "latent_size_px": …}, or {"text_model": …, "text_revision":
    …}. `shapes` has the shape of each column: (C, h, w) of an image's latent, (L, D) or (D,) of a text's embedding.
    """

    made_by: Mapping[str, str | int]
    shapes: Mapping[str, tuple[int, ...]]

    def is_usable(self, light: Mapping[str, Any]) -> bool:
        """True for a sample whose arrays this model made."""
        return all(light.get(name) == value for name, value in self.made_by.items())

    def shows_image(self, column: str) -> bool:
        """True for an array of an image, which has three axes: the image mirrored or cut has another one."""
        return len(self.shapes[column]) == 3
