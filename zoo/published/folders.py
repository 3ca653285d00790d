"""Write InstructPix2Pix's folders of pairs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from zoo.published.parts import jpeg_of, write_file

if TYPE_CHECKING:
    from pathlib import Path

    from zoo.write_edits import EditOrder

FIRST_SEED = 7_000_000
"""Of the pairs' own seeds, which name their files."""


def write_pair_folders(folder: Path, order: EditOrder) -> None:
    """A folder an edit; `seeds.json`, which lists them, last."""
    listed = []
    for number, (_, edit) in enumerate(order.edits()):
        name, seed = f"{number:07d}", FIRST_SEED + number
        for side, scene in enumerate((edit.source, edit.target)):
            write_file(folder / name / f"{seed}_{side}.jpg", jpeg_of(scene, order.size_px))
        prompt = {"input": edit.source_caption, "edit": edit.instruction, "output": edit.target_caption}
        (folder / name / "prompt.json").write_text(json.dumps(prompt), encoding="utf-8")
        (folder / name / "metadata.jsonl").write_text(json.dumps({"seed": seed}) + "\n", encoding="utf-8")
        listed.append([name, [seed]])
    (folder / "seeds.json").write_text(json.dumps(listed), encoding="utf-8")
