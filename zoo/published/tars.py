"""Write ImgEdit's tables of names, and the tars with the images, cut into pieces as published.

Names, folders and the pieces' suffix are those of PKU-YuanGroup/ImgEdit's README (commit 1287657). Single edits are in
one table a kind of edit, sessions in one more; the first entry of a session there has an instruction for all of its
turns and no image, as the published content_memory tables have it.
"""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from zoo.published.parts import sessions, write_file, write_table
from zoo.write_world import png_of

if TYPE_CHECKING:
    from pathlib import Path

    from zoo.world import Edit
    from zoo.write_edits import EditOrder

NAMES = pa.list_(pa.string())
TURN = [("input_images", NAMES), ("output_images", NAMES), ("prompt", pa.string())]
SINGLE, SESSIONS = pa.schema(TURN), pa.schema([("data", pa.list_(pa.struct(TURN)))])
SESSION_TABLE = "content_memory_part0"
SESSION_PROMPT = "All edits leave the rest of the image as it is."
PIECE_BYTES = 20_001
"""Odd, so that members lie across pieces."""


def write_imgedit(folder: Path, order: EditOrder) -> None:
    """Every other edit alone, the rest as turns of sessions."""
    num_single = (order.count + 1) // 2
    by_kind: dict[str, list[Edit]] = {}
    for _, edit in [*order.edits()][:num_single]:
        by_kind.setdefault(edit.kind, []).append(edit)
    for kind, edits in by_kind.items():
        table, tar = f"{kind}_part0", f"results_{kind}_laion_part0"
        rows: list[dict[str, Any]] = []
        members: dict[str, bytes] = {}
        for number, edit in enumerate(edits):
            row, images = _entry(f"{tar}/00000_00000_{number:09d}", "original.png", "result.png", edit, order)
            rows.append(row)
            members |= images
        write_table(folder / "Parquet" / f"{table}.parquet", rows, SINGLE)
        _write_tar(folder / "Singleturn", tar, members)
    if order.count > num_single:
        _write_sessions(folder, order, order.count - num_single)


def _write_sessions(folder: Path, order: EditOrder, num_edits: int) -> None:
    tar, rows = f"results_{SESSION_TABLE}", list[dict[str, Any]]()
    members: dict[str, bytes] = {}
    for index, edits in sessions(order, num_edits):
        entries: list[dict[str, Any]] = [{"input_images": [], "output_images": [], "prompt": SESSION_PROMPT}]
        for turn, edit in enumerate(edits):
            place = f"{tar}/00000_00000_{index:09d}"
            entry, images = _entry(place, f"origin_{turn}.png", f"result_{turn}.png", edit, order)
            entries.append(entry)
            members |= images
        rows.append({"data": entries})
    write_table(folder / "Parquet" / f"{SESSION_TABLE}.parquet", rows, SESSIONS)
    _write_tar(folder / "Multiturn", tar, members)


def _entry(
    place: str, source: str, target: str, edit: Edit, order: EditOrder
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """(what the table has of an edit, its images by their names in the tar)."""
    names = f"{place}/{source}", f"{place}/{target}"
    entry = {"input_images": [names[0]], "output_images": [names[1]], "prompt": edit.instruction}
    images = (png_of(edit.source, order.size_px), png_of(edit.target, order.size_px))
    return entry, dict(zip(names, images, strict=True))


def _write_tar(folder: Path, name: str, members: dict[str, bytes]) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for member, data in members.items():
            info = tarfile.TarInfo(member)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    whole = buffer.getvalue()
    for piece, start in enumerate(range(0, len(whole), PIECE_BYTES)):
        write_file(folder / f"{name}.tar.split.{piece:03d}", whole[start : start + PIECE_BYTES])
