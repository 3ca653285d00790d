"""`python -m zoo.write_published FOLDER --layout L --count N --seed S`: edits of the miniature world as others publish.

Owns three layouts of exact edits, for the manifests that convert published datasets:

| layout           | files                                                                                           |
|------------------|-------------------------------------------------------------------------------------------------|
| instruct-pix2pix | `0000000/prompt.json`, `metadata.jsonl`, `<seed>_0.jpg`, `<seed>_1.jpg` …, and `seeds.json`     |
| ultraedit        | `part-00000.parquet`: every other edit has a mask, white where it may change the image          |
| magicbrush       | `train-00000.parquet`: sessions of up to three turns; a mask is the source, its region clear    |

Scores of published datasets are absent, since nothing measured these. Same arguments, same bytes.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import sys
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from zoo.batches import HELD_OUT_SEED
from zoo.world import KINDS, SIZE_PX, Edit, Scene, edit_mask, render, sample_sequence, scene_of
from zoo.write_edits import EditOrder
from zoo.write_world import MIN_SIZE_PX, png_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from zoo.world.edits import Mask

FIRST_SEED = 7_000_000
"""Of the pairs' own seeds, which name their files."""
MAX_TURNS = 3
ROWS_PER_GROUP = 20
STORED_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
"""An image in a table, as Hugging Face's `datasets` stores it."""
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


def write_pair_folders(folder: Path, order: EditOrder) -> None:
    """A folder an edit; `seeds.json`, which lists them, last."""
    listed = []
    for number, (_, edit) in enumerate(order.edits()):
        name, seed = f"{number:07d}", FIRST_SEED + number
        (folder / name).mkdir(parents=True, exist_ok=True)
        prompt = {"input": edit.source_caption, "edit": edit.instruction, "output": edit.target_caption}
        (folder / name / "prompt.json").write_text(json.dumps(prompt), encoding="utf-8")
        (folder / name / "metadata.jsonl").write_text(json.dumps({"seed": seed}) + "\n", encoding="utf-8")
        for side, scene in enumerate((edit.source, edit.target)):
            (folder / name / f"{seed}_{side}.jpg").write_bytes(_jpeg(render(scene, order.size_px)))
        listed.append([name, [seed]])
    (folder / "seeds.json").write_text(json.dumps(listed), encoding="utf-8")


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
            "source_image": _stored(_jpeg(render(edit.source, order.size_px))),
            "edited_image": _stored(_jpeg(render(edit.target, order.size_px))),
            "mask_image": _stored(_jpeg(mask)) if has_mask else None,
        })  # fmt: skip
    _write_table(folder / "part-00000.parquet", rows, ULTRAEDIT)


def write_magicbrush(folder: Path, order: EditOrder) -> None:
    """One table, a row a turn: the source image of a later turn is the target image of the one before."""
    rows = [
        {
            "img_id": f"{index:06d}", "turn_index": turn, "instruction": edit.instruction,
            "source_img": _stored(png_of(edit.source, order.size_px)),
            "mask_img": _stored(_with_hole(edit.source, edit_mask(edit, order.size_px))),
            "target_img": _stored(png_of(edit.target, order.size_px)),
        }
        for index, turn, edit in islice(_turns(order), order.count)
    ]  # fmt: skip
    _write_table(folder / "train-00000.parquet", rows, MAGICBRUSH)


LAYOUTS = {"instruct-pix2pix": write_pair_folders, "ultraedit": write_ultraedit, "magicbrush": write_magicbrush}


def _turns(order: EditOrder) -> Iterator[tuple[int, int, Edit]]:
    """(number of the session, turn from 1 on, edit), without end."""
    for index in count():
        rng = random.Random(f"sessions {order.world_seed} {index}")
        edits = sample_sequence(scene_of(order.world_seed, index), rng, rng.randint(1, MAX_TURNS))
        for turn, edit in enumerate(edits, 1):
            yield index, turn, edit


def _with_hole(scene: Scene, mask_HW: Mask) -> bytes:
    """The scene as a PNG file, transparent inside of the mask."""
    alpha_HW = np.where(mask_HW, 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(np.dstack([render(scene, len(mask_HW)), alpha_HW])).save(buffer, "PNG")
    return buffer.getvalue()


def _jpeg(pixels: np.ndarray[Any, Any]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=100, subsampling=0)
    return buffer.getvalue()


def _stored(image: bytes) -> dict[str, Any]:
    return {"bytes": image, "path": None}


def _write_table(path: Path, rows: list[dict[str, Any]], schema: pa.Schema) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    pq.write_table(pa.Table.from_pylist(rows, schema), temporary, row_group_size=ROWS_PER_GROUP)
    temporary.replace(path)


def main(argv: Sequence[str] | None = None) -> int:
    """Write what the command line orders. Return 0."""
    parser = argparse.ArgumentParser(prog="python -m zoo.write_published", description=str(__doc__).split(":", 1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layout", choices=sorted(LAYOUTS), required=True)
    parser.add_argument("--count", type=int, default=100, help="how many edits (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="which world (%(default)s)")
    parser.add_argument("--size-px", type=int, default=SIZE_PX, help="side of the images (%(default)s)")
    given = parser.parse_args(argv)
    if given.count < 1 or given.size_px < MIN_SIZE_PX:
        parser.error(f"needs at least one edit and {MIN_SIZE_PX} px")
    if given.seed < 0 or given.seed == HELD_OUT_SEED:
        parser.error(f"seed {given.seed} is none to train on: expected 0 or more, and not the held-out {HELD_OUT_SEED}")
    order = EditOrder(given.count, 0, KINDS, given.size_px, world_seed=given.seed)
    LAYOUTS[given.layout](given.folder, order)
    print(f"{given.count} edits in {given.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
