"""What the writers of published layouts share: sessions, encoded images, stored images, Parquet files."""

from __future__ import annotations

import io
import random
from itertools import count
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from zoo.world import Edit, render, sample_sequence, scene_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np

    from zoo.world import Scene
    from zoo.write_edits import EditOrder

MAX_TURNS = 3
ROWS_PER_GROUP = 20
STORED_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
"""An image in a table, as Hugging Face's `datasets` stores it."""


def turns(order: EditOrder) -> Iterator[tuple[int, int, Edit]]:
    """(number of the session, turn from 1 on, edit), without end."""
    for index in count():
        rng = random.Random(f"sessions {order.world_seed} {index}")
        edits = sample_sequence(scene_of(order.world_seed, index), rng, rng.randint(1, MAX_TURNS))
        for turn, edit in enumerate(edits, 1):
            yield index, turn, edit


def sessions(order: EditOrder, num_edits: int) -> Iterator[tuple[int, list[Edit]]]:
    """(number of the session, its edits in order) of the first sessions with `num_edits` edits together."""
    held: list[Edit] = []
    current = 0
    for number, (index, turn, edit) in enumerate(turns(order)):
        if held and (turn == 1 or number == num_edits):
            yield current, held
            held = []
        if number == num_edits:
            return
        held.append(edit)
        current = index


def jpeg(pixels: np.ndarray[Any, Any]) -> bytes:
    """Pixels as a JPEG file of the best quality."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=100, subsampling=0)
    return buffer.getvalue()


def jpeg_of(scene: Scene, size_px: int) -> bytes:
    """The scene as a JPEG file of the best quality."""
    return jpeg(render(scene, size_px))


def stored(image: bytes) -> dict[str, Any]:
    """An image's bytes as a value of STORED_IMAGE."""
    return {"bytes": image, "path": None}


def shorter_wording(instruction: str) -> str:
    """Another wording of an instruction: its words without articles."""
    return " ".join(word for word in instruction.split() if word not in ("the", "a", "an"))


def write_file(path: Path, data: bytes) -> None:
    """Write a file, with the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def write_table(path: Path, rows: list[dict[str, Any]], schema: pa.Schema) -> None:
    """Write one Parquet file. It has its name once it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    pq.write_table(pa.Table.from_pylist(rows, schema), temporary, row_group_size=ROWS_PER_GROUP)
    temporary.replace(path)
