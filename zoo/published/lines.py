"""Write Pico-Banana-400K's JSON lines and, in the places that they name, the images.

Fields are those of the published files (apple/pico-banana-400k, README at 0df2071); `local_input_image` is what the
set's own script map_openimage_url_to_local.py adds. A third of the edits is in each of the three files. The folder of
rejected images is of our choice: the set's README does not name one.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from zoo.published.parts import jpeg_of, sessions, shorter_wording, write_file
from zoo.write_world import png_of

if TYPE_CHECKING:
    from pathlib import Path

    from zoo.world import Edit
    from zoo.write_edits import EditOrder

SOURCES = "openimage_source_images/train_0"
SOURCE_URL = "https://images.example/{}_o.jpg"


def write_pico_banana(folder: Path, order: EditOrder) -> None:
    """Edits with a good result, edits with a good and a bad one, and sessions."""
    third = -(-order.count // 3)
    edits = [edit for _, edit in order.edits()]
    single, preference = edits[:third], edits[third : 2 * third]
    _write_lines(folder / "sft.jsonl", [_line(folder, n, edit, order) for n, edit in enumerate(single)])
    lines = []
    for number, edit in enumerate(preference, len(single)):
        rejected = f"images/negative-edit/{number}.png"
        write_file(folder / rejected, png_of(edit.source, order.size_px))  # nothing was edited
        lines.append({**_line(folder, number, edit, order), "rejected_images": [rejected]})
    _write_lines(folder / "preference.jsonl", lines)
    rest = order.count - len(single) - len(preference)
    found = sessions(order, rest) if rest else iter(())
    _write_lines(folder / "multi-turn.jsonl", [_session(folder, index, turns, order) for index, turns in found])


def _line(folder: Path, number: int, edit: Edit, order: EditOrder) -> dict[str, Any]:
    source, target = f"{SOURCES}/single{number:06d}.jpg", f"images/positive-edit/{number}.png"
    write_file(folder / source, jpeg_of(edit.source, order.size_px))
    write_file(folder / target, png_of(edit.target, order.size_px))
    return {
        "open_image_input_url": SOURCE_URL.format(f"single{number:06d}"), "text": edit.instruction,
        "output_image": target, "edit_type": edit.kind, "summarized_text": shorter_wording(edit.instruction),
        "local_input_image": source,
    }  # fmt: skip


def _session(folder: Path, index: int, edits: list[Edit], order: EditOrder) -> dict[str, Any]:
    source = f"{SOURCES}/session{index:06d}.jpg"
    write_file(folder / source, jpeg_of(edits[0].source, order.size_px))
    files = []
    for turn, edit in enumerate(edits, 1):
        name = f"images/multi-turn/{index}_turn{turn}.png"
        write_file(folder / name, png_of(edit.target, order.size_px))
        files.append({"id": "final_image" if turn == len(edits) else f"edit_turn{turn}", "url": name})
    files.append({"id": "original_input_image", "url": SOURCE_URL.format(f"session{index:06d}")})
    return {
        "files": files,
        "metadata_edit_turn_prompts": [edit.instruction for edit in edits],
        "local_input_image": source,
    }


def _write_lines(path: Path, lines: list[dict[str, Any]]) -> None:
    write_file(path, "".join(f"{json.dumps(line)}\n" for line in lines).encode())
