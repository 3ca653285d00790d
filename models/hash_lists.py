"""Lists of hashes of images, such as those of a benchmark: `path:NAME.hashes.parquet`.

A list holds no image and no text, only two hashes of each image (`samples.perceptual_hashes` makes them), a name and
counts. `editloom hash-images` writes it, and `check_leakage` compares the images of a build with it. Rows are sorted
and each is there once, so the same images give the same list in whatever order they were read.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import ModelError, one_line

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from models.placement import Placement
    from models.schemes.weights import Weights

    Hashes = NDArray[np.uint64]

IMAGE_HASHES = "image_hashes"
"""The kind of model."""
HASHES_SUFFIX = ".hashes.parquet"
COLUMNS = ("dhash", "phash")
MAX_ROWS = 10_000_000
MAX_NAME_CHARS = 80
VERSION = b"1"
"""Raise it when the same image would have other hashes: a list of another version is refused."""
KEY, NAME_KEY, COUNT_KEY = b"editloom.hashes", b"editloom.name", b"editloom.num_images"

# N hashes


@dataclass(frozen=True, eq=False)
class HashList:
    """Two hashes of each image, or of a view of it: all of the image, its centre square, and their mirror images."""

    name: str
    num_images: int
    """Images that the hashes are of."""
    dhash_N: Hashes
    phash_N: Hashes


def is_hash_list(path: Path) -> bool:
    """True for a file with the name of a list."""
    return path.name.endswith(HASHES_SUFFIX)


def write_hash_list(path: Path, name: str, hashes: Iterable[tuple[int, int]], *, num_images: int) -> int:
    """Write the list of these pairs of hashes. Return how many different ones there are."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = sorted(set(hashes))
    arrays = [pa.array([row[place] for row in rows], pa.uint64()) for place in range(len(COLUMNS))]
    facts = {KEY: VERSION, NAME_KEY: _shown(name).encode(), COUNT_KEY: str(num_images).encode()}
    table = pa.table(arrays, names=list(COLUMNS)).replace_schema_metadata(facts)
    temporary = path.with_name(f"{path.name}.tmp")
    pq.write_table(table, temporary, use_dictionary=False)
    temporary.replace(path)
    return len(rows)


def load_hash_list(weights: Weights, placement: Placement) -> HashList:  # noqa: ARG001  data has no device
    """The list that a model id names. Raises ModelError (`read_hash_list`)."""
    return read_hash_list(Path(weights.location))


def read_hash_list(path: Path) -> HashList:
    """The list in a file. Raises ModelError for a file that is no list, and for one of another version."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    advice = "make it with `editloom hash-images`"
    try:
        with pq.ParquetFile(path) as file:
            facts = file.schema_arrow.metadata or {}
            if facts.get(KEY) != VERSION:
                raise ModelError(f"{path} is no list of hashes of this version; {advice}")
            if not 0 < file.metadata.num_rows <= MAX_ROWS:
                raise ModelError(f"{path} has {file.metadata.num_rows} hashes; expected 1 to {MAX_ROWS}; {advice}")
            table = file.read(columns=list(COLUMNS))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read as a list of hashes ({one_line(error, 200)}); {advice}") from error
    count = facts.get(COUNT_KEY, b"")
    if [field.type for field in table.schema] != [pa.uint64()] * 2 or _has_nulls(table) or not count.isdigit():
        raise ModelError(f"{path} lacks hashes of 64 bits in each row, or the number of its images; {advice}")
    name = _shown(facts.get(NAME_KEY, b"").decode("utf-8", errors="replace"))
    dhash_N, phash_N = (table[column].combine_chunks().to_numpy() for column in COLUMNS)
    return HashList(name=name, num_images=int(count), dhash_N=dhash_N, phash_N=phash_N)


def _shown(name: str) -> str:
    """A name on one line, without characters that control a terminal or that UTF-8 cannot hold."""
    line = " ".join(name.split())[:MAX_NAME_CHARS]
    return "".join(character if character.isprintable() else "?" for character in line)


def _has_nulls(table: pa.Table) -> bool:
    return any(column.null_count for column in table.columns)
