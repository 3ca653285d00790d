"""Write the Parquet tables of UltraEdit, MagicBrush and OmniEdit, which hold the images themselves.

Columns are those of the datasets' cards: BleachNick/UltraEdit, osunlp/MagicBrush and TIGER-Lab/OmniEdit-Filtered-1.2M
on huggingface.co.
"""

from __future__ import annotations

import io
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from PIL import Image

from zoo.published.parts import STORED_IMAGE, jpeg, jpeg_of, shorter_wording, stored, turns, write_table
from zoo.world import Scene, edit_mask, render
from zoo.write_world import png_of

if TYPE_CHECKING:
    from pathlib import Path

    from zoo.world.edits import Mask
    from zoo.write_edits import EditOrder

SCORES = ("clip_sim_source", "clip_sim_target", "clip_sim_dir", "clip_sim_image", "dinov2_sim", "ssim")
ULTRAEDIT = pa.schema([
    *((name, pa.float64()) for name in SCORES), ("source_caption", pa.string()), ("target_caption", pa.string()),
    ("idx", pa.int64()), ("edit_prompt", pa.string()), ("edit_object", pa.string()), ("source_image", STORED_IMAGE),
    ("edited_image", STORED_IMAGE), ("mask_image", STORED_IMAGE),
])  # fmt: skip
MAGICBRUSH = pa.schema([
    ("img_id", pa.string()), ("turn_index", pa.int32()), ("source_img", STORED_IMAGE), ("mask_img", STORED_IMAGE),
    ("instruction", pa.string()), ("target_img", STORED_IMAGE),
])  # fmt: skip
OMNIEDIT = pa.schema([
    ("omni_edit_id", pa.string()), ("task", pa.string()), ("src_img", STORED_IMAGE), ("edited_img", STORED_IMAGE),
    ("edited_prompt_list", pa.list_(pa.string())), ("width", pa.int64()), ("height", pa.int64()),
    ("sc_score_1", pa.int64()), ("sc_score_2", pa.int64()), ("sc_reasoning", pa.string()), ("pq_score", pa.int64()),
    ("pq_reasoning", pa.string()), ("o_score", pa.float64()),
])  # fmt: skip


def write_ultraedit(folder: Path, order: EditOrder) -> None:
    """One table. An edit of the whole image has no mask either."""
    rows = []
    for number, (_, edit) in enumerate(order.edits()):
        has_mask = number % 2 == 1 and edit.kind != "change_style"
        mask = edit_mask(edit, order.size_px).astype(np.uint8) * 255
        thing = edit.source_phrase or edit.target_phrase
        rows.append({
            "source_caption": edit.source_caption, "target_caption": edit.target_caption, "idx": number,
            "edit_prompt": edit.instruction, "edit_object": thing if has_mask else "NONE",
            "source_image": stored(jpeg_of(edit.source, order.size_px)),
            "edited_image": stored(jpeg_of(edit.target, order.size_px)),
            "mask_image": stored(jpeg(mask)) if has_mask else None,
        })  # fmt: skip
    write_table(folder / "part-00000.parquet", rows, ULTRAEDIT)


def write_magicbrush(folder: Path, order: EditOrder) -> None:
    """One table, a row a turn: the source image of a later turn is the target image of the one before."""
    rows = [
        {
            "img_id": f"{index:06d}", "turn_index": turn, "instruction": edit.instruction,
            "source_img": stored(png_of(edit.source, order.size_px)),
            "mask_img": stored(_with_hole(edit.source, edit_mask(edit, order.size_px))),
            "target_img": stored(png_of(edit.target, order.size_px)),
        }
        for index, turn, edit in islice(turns(order), order.count)
    ]  # fmt: skip
    write_table(folder / "train-00000.parquet", rows, MAGICBRUSH)


def write_omniedit(folder: Path, order: EditOrder) -> None:
    """One table, two wordings a row. The best scores of its judge, since every edit is exact."""
    rows = [
        {
            "omni_edit_id": f"task_{edit.kind}_{number}", "task": edit.kind,
            "src_img": stored(png_of(edit.source, order.size_px)),
            "edited_img": stored(png_of(edit.target, order.size_px)),
            "edited_prompt_list": [edit.instruction, shorter_wording(edit.instruction)],
            "width": order.size_px, "height": order.size_px, "sc_score_1": 10, "sc_score_2": 10, "sc_reasoning": "",
            "pq_score": 10, "pq_reasoning": "", "o_score": 10.0,
        }
        for number, (_, edit) in enumerate(order.edits())
    ]  # fmt: skip
    write_table(folder / "train-00000-of-00001.parquet", rows, OMNIEDIT)


def _with_hole(scene: Scene, mask_HW: Mask) -> bytes:
    """The scene as a PNG file, transparent inside of the mask."""
    alpha_HW = np.where(mask_HW, 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(np.dstack([render(scene, len(mask_HW)), alpha_HW])).save(buffer, "PNG")
    return buffer.getvalue()
