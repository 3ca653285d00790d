"""Vectors and their ids on disk: `<name>.vectors.npy` (N, D) float16 and `<name>.ids.npy` (N,) bytes.

Owns writing them as a stream and reading rows of them. Plain npy files: `numpy.load` reads them anywhere. The same rows
in the same order give the same bytes, however they were batched.
"""

from __future__ import annotations

import io
import math
import os
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib import format as npy

from models.vector_index.rules import ROWS_PER_CHUNK, VectorIndexError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    from models.protocols import Floats

# N stored vectors, R rows asked for, D embedding

LENGTH_TOLERANCE = 0.01
"""Float16 leaves a unit vector within 0.001 of length 1."""


class _NpyWriter:
    """An npy file that grows by rows: numpy leaves room in the header for the final count."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("wb")
        self._rows = 0
        self._like: npt.NDArray[Any] | None = None

    def add(self, rows: npt.NDArray[Any]) -> None:
        if self._like is None:
            self._like = rows[:0]
            self._file.write(_header(0, self._like))
        self._file.write(rows.tobytes())
        self._rows += len(rows)

    def widen(self, dtype: npt.DTypeLike) -> None:
        """Write the rows so far again, as another type."""
        self.close()
        old = np.load(self._path, mmap_mode="r")
        self._file, self._rows, self._like = self._path.with_suffix(".wider").open("wb"), 0, None
        for start in range(0, len(old), 1 << 16):
            self.add(old[start : start + (1 << 16)].astype(dtype))
        self._path.with_suffix(".wider").replace(self._path)

    def close(self) -> None:
        if self._like is not None:
            self._file.seek(0)
            self._file.write(_header(self._rows, self._like))
        self._file.close()


def _header(rows: int, like: npt.NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    fields = {"descr": npy.dtype_to_descr(like.dtype), "fortran_order": False, "shape": (rows, *like.shape[1:])}
    npy.write_array_header_1_0(buffer, fields)
    return buffer.getvalue()


class VectorWriter:
    """Takes vectors and ids in any batches. The rows are complete once it is closed."""

    def __init__(self, folder: Path, name: str) -> None:
        self._vectors = _NpyWriter(vectors_path(folder, name))
        self._ids = _NpyWriter(ids_path(folder, name))
        self._dim = self._width = self.count = 0

    def add(self, ids: Sequence[str], vectors_ND: npt.NDArray[np.float16]) -> None:
        """Append rows. Raises `VectorIndexError` naming the first vector of another size or not of unit length."""
        if len(ids) > ROWS_PER_CHUNK:  # so that large tables leave no large traces in memory
            for start in range(0, len(ids), ROWS_PER_CHUNK):
                self.add(ids[start : start + ROWS_PER_CHUNK], vectors_ND[start : start + ROWS_PER_CHUNK])
            return
        if not len(ids):
            return
        self._check(ids, vectors_ND)
        coded = [i.encode() for i in ids]
        width = max(len(i) for i in coded)
        if self.count and width > self._width:
            self._ids.widen(f"S{width}")
        self._width = max(width, self._width)
        self._ids.add(np.array(coded, f"S{self._width}"))
        self._vectors.add(vectors_ND)
        self.count += len(ids)

    def _check(self, ids: Sequence[str], vectors_ND: npt.NDArray[np.float16]) -> None:
        if vectors_ND.ndim != 2 or len(vectors_ND) != len(ids) or vectors_ND.dtype != np.float16:
            raise VectorIndexError(f"{len(ids)} ids came with {vectors_ND.dtype} vectors of shape {vectors_ND.shape}")
        self._dim = self._dim or vectors_ND.shape[1]
        if vectors_ND.shape[1] != self._dim:
            raise VectorIndexError(
                f"the vector of {ids[0]} has {vectors_ND.shape[1]} dimensions, those before it {self._dim}; "
                "one index holds the vectors of one model"
            )
        lengths = np.linalg.norm(vectors_ND.astype(np.float32), axis=1)
        bad = np.flatnonzero(~(np.abs(lengths - 1) <= LENGTH_TOLERANCE))
        if len(bad):
            raise VectorIndexError(
                f"the vector of {ids[bad[0]]} has length {lengths[bad[0]]:.4g}; expected 1 (unit vectors), as the dot "
                "product is to be the cosine"
            )

    def close(self) -> None:
        """Finish both files."""
        if not self.count:
            self._vectors.add(np.empty((0, 0), np.float16))
            self._ids.add(np.empty(0, "S1"))
        self._vectors.close()
        self._ids.close()


class VectorStore:
    """Reads rows. Unless `is_mapped`, no page of the vectors stays in the process's memory after a call."""

    is_mapped = False

    def __init__(self, folder: Path, name: str) -> None:
        """Open both files. Raises `VectorIndexError` when one is missing, cut short, or they do not fit each other."""
        self._map = _load(vectors_path(folder, name))
        self.ids = _load(ids_path(folder, name))
        if self._map.ndim != 2 or self._map.dtype != np.float16 or self.ids.dtype.kind != "S":
            raise VectorIndexError(f"{vectors_path(folder, name)} and its ids do not hold float16 vectors and text")
        if len(self._map) != len(self.ids):
            raise VectorIndexError(
                f"{folder}: {len(self._map)} vectors of {name} and {len(self.ids)} ids; build the index again"
            )
        self.count, self.dim = self._map.shape
        self._file = vectors_path(folder, name).open("rb", buffering=0)

    @property
    def num_bytes(self) -> int:
        """Size of the vectors."""
        return int(self._map.nbytes)

    def ids_of(self, rows_R: npt.NDArray[np.int64]) -> list[str]:
        """The ids of rows."""
        return [i.decode() for i in self.ids[rows_R]]

    def rows(self, rows_R: npt.NDArray[np.int64]) -> Floats:
        """(R, D) float32, as stored: of unit length but for the rounding to float16."""
        if self.is_mapped:
            raw_RD: npt.NDArray[np.float16] = self._map[rows_R]
        else:
            raw_RD = self._matrix(b"".join([self._read(row) for row in rows_R.tolist()]))
        return raw_RD.astype(np.float32)

    def block(self, start: int, stop: int) -> Floats:
        """(stop - start, D) float32, of unit length."""
        raw_RD = self._matrix(self._read(start, stop - start))
        vectors_RD = raw_RD.astype(np.float32)
        vectors_RD /= row_lengths(vectors_RD)[:, None]
        return vectors_RD

    def _read(self, row: int, number: int = 1) -> bytes:
        size = number * self.dim * 2
        found = os.pread(self._file.fileno(), size, self._map.offset + row * self.dim * 2)
        if len(found) < size:
            raise VectorIndexError(f"{self._file.name} ends before row {row + number}; build the index again")
        return found

    def _matrix(self, raw: bytes) -> npt.NDArray[np.float16]:
        return np.frombuffer(raw, np.float16).reshape(-1, self.dim)


def row_lengths(vectors_RD: Floats) -> Floats:
    """(R,) Euclidean lengths. A row's length does not depend on the other rows."""
    lengths_R: Floats = np.sqrt(np.einsum("rd,rd->r", vectors_RD, vectors_RD))
    return lengths_R


def vectors_path(folder: Path, name: str) -> Path:
    """The path of the vectors of pool `name`."""
    return folder / f"{name}.vectors.npy"


def ids_path(folder: Path, name: str) -> Path:
    """The path of the ids of pool `name`."""
    return folder / f"{name}.ids.npy"


def _load(path: Path) -> Any:
    try:
        return np.load(path, mmap_mode="r") if _num_values(path) else np.load(path)
    except FileNotFoundError as error:
        raise VectorIndexError(f"{path} is missing; build the index again") from error
    except ValueError as error:
        raise VectorIndexError(f"{path} is no npy file of that size ({error}); build the index again") from error


def _num_values(path: Path) -> int:
    with path.open("rb") as file:
        npy.read_magic(file)
        number: int = math.prod(npy.read_array_header_1_0(file)[0])
    return number
