"""The column `image_embedding` as a matrix, as stages need it that search among vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from core.errors import ContractError
from samples.columns import SAMPLE_ID

if TYPE_CHECKING:
    import numpy.typing as npt
    import pyarrow as pa

    from models.protocols import Floats


def unit(vectors_BD: npt.NDArray[Any]) -> Floats:
    """Rows brought to length 1, in single precision. One without length stays as it is."""
    vectors_BD = vectors_BD.astype(np.float32)
    lengths_B1 = np.linalg.norm(vectors_BD, axis=1, keepdims=True)
    unit_BD: Floats = (vectors_BD / np.maximum(lengths_B1, np.finfo(np.float32).tiny)).astype(np.float32)
    return unit_BD


def embeddings_of(table: pa.Table) -> npt.NDArray[np.float16]:
    """(B, D) float16, a row of the table each, or (0, 0) for no rows.

    Raises `ContractError`, with the sample's id, for a row without a vector or with one of another size than the first.
    """
    column = table["image_embedding"].combine_chunks()
    if not len(column):
        return np.empty((0, 0), np.float16)
    sizes = np.array([0 if size is None else size for size in column.value_lengths().to_pylist()])
    wrong = np.flatnonzero((sizes != sizes[0]) | (sizes == 0))
    if len(wrong):
        found, sample_id = sizes[wrong[0]], table[SAMPLE_ID][int(wrong[0])].as_py()
        raise ContractError(
            f"sample {sample_id}: image_embedding has {found} numbers, expected {sizes[0] or 'some'}; "
            "embed all images with one model"
        )
    flat: npt.NDArray[Any] = column.flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(len(column), -1)
