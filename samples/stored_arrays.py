"""Arrays as a dataset stores them: files in NumPy's format, float16. Nothing is pickled."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from samples.columns import column

if TYPE_CHECKING:
    from numpy.typing import NDArray


def npy(values: NDArray[Any]) -> bytes:
    """The array as a file in NumPy's format, rounded to float16."""
    import numpy as np

    buffer = io.BytesIO()
    np.save(buffer, values.astype(np.float16), allow_pickle=False)
    return buffer.getvalue()


def num_axes(name: str) -> int:
    """The number of axes of the arrays in a column, as its unit names them: 2 for `npy, float16, (L, D)`."""
    axes = column(name).unit.rpartition("(")[2].rstrip(")").split(",")
    return sum(bool(axis.strip()) for axis in axes)
