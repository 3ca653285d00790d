"""Helpers shared by the wrappers of image models: groups of rows, RGB images, rows of unit length."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

    from PIL.Image import Image

    from models.protocols import Floats


def alike(keys: Iterable[Hashable]) -> list[list[int]]:
    """Row numbers in groups that share a key, each row once.

    With the image's size as the key no image is padded to its neighbours, so the batch does not change the result.
    """
    rows_of: dict[Hashable, list[int]] = {}
    for row, key in enumerate(keys):
        rows_of.setdefault(key, []).append(row)
    return list(rows_of.values())


def as_rgb(images: Iterable[Image]) -> list[Image]:
    """The images in mode RGB. Images in that mode are returned unchanged."""
    return [image if image.mode == "RGB" else image.convert("RGB") for image in images]


def prepared(model: Any, images: Sequence[Image]) -> Any:
    """The images made ready for `model` by its `prepare_images`, or the images where it has no such method.

    The result takes the place of the images in a call of the model, see `models.protocols`.
    """
    return model.prepare_images(images) if images and hasattr(model, "prepare_images") else images


def unit_rows(emb_BD: Any) -> list[Floats]:
    """The rows of a torch tensor (B, D) as float32 in numpy on the CPU, each divided by its length."""
    emb: Any = emb_BD.float()
    return list((emb / emb.norm(dim=-1, keepdim=True)).cpu().numpy())


def stacked(rows: Sequence[Floats], dim: int) -> Floats:
    """An array (B, dim) of B rows, or (0, dim) when there are none."""
    import numpy as np

    return np.stack(rows) if rows else np.zeros((0, dim), np.float32)


def same_length(**rows: Sequence[Any]) -> None:
    """Raise ValueError when the named lists, one entry a row, differ in length."""
    lengths = {name: len(values) for name, values in rows.items()}
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{length} {name}" for name, length in lengths.items())
        raise ValueError(f"lists of one call differ in length ({found}); pass one entry a row in each")
