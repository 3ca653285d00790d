"""Datasets for exports: what `emit` writes, with all that formats have to treat apart."""

import hashlib
import io
import json

import pyarrow.parquet as pq
from _datasets import write_list, write_tar
from PIL import Image

from samples.columns import arrow_schema

CARD = """\
---
pretty_name: "tiny"
license: "cc-by-4.0"
language:
- "en"
tags:
- "image-editing"
---

# tiny

## Licence and provenance

Licence of this dataset: `cc-by-4.0`. Photographs of nobody.
"""
TABLE = ("session_id", "turn", "source_caption", "target_caption", "instruction", "reverse_instruction", "edit_type",
         "target_caption_cos", "example_ids")  # fmt: skip


def image_bytes(colour, kind="JPEG", size=(48, 32)):
    """A flat image, or a mask where `colour` is a number."""
    buffer = io.BytesIO()
    Image.new("L" if isinstance(colour, int) else "RGB", size, colour).save(buffer, kind)
    return buffer.getvalue()


def key_of(number):
    """The sample id of row `number`, as sources make them."""
    return f"{hashlib.sha256(str(number).encode()).hexdigest()[:16]}-e1"


def row_members(number, **light):
    """A plain row: JPEG source and target, a region mask, all texts. `light` overrides columns; None removes one."""
    texts = {
        "sample_id": key_of(number), "session_id": key_of(number), "turn": 1, "instruction": f"make it colour {number}",
        "source_caption": f"a thing {number}", "target_caption": f"a coloured thing {number}",
        "reverse_instruction": f"undo colour {number}", "edit_type": "change_colour", "target_caption_cos": 0.25,
        "example_ids": ["one", "two"],
    } | light  # fmt: skip
    return {
        "source.jpg": image_bytes((number, 0, 0)), "target.jpg": image_bytes((0, number, 0)),
        "region_mask.png": image_bytes(255, "PNG"),
        "json": json.dumps({name: value for name, value in texts.items() if value is not None}).encode(),
    }  # fmt: skip


def write_export_dataset(folder, shards, *, table=True, splits=None):
    """A dataset of `shards`: a list of {row number: members}. With its card, and samples.parquet with `table`."""
    folder.mkdir(parents=True, exist_ok=True)
    counts = {}
    for place, rows in enumerate(shards):
        write_tar(folder / f"{place:05d}.tar", {key_of(number): members for number, members in rows.items()})
        counts[f"{place:05d}.tar"] = len(rows)
    write_list(folder, counts)
    if splits:
        listed = json.loads((folder / "shards.json").read_text())
        for entry, split in zip(listed["shards"], splits, strict=True):
            entry["splits"] = split
        (folder / "shards.json").write_text(json.dumps(listed))
    if table:
        pq.write_table(arrow_schema(("sample_id", *TABLE)).empty_table(), folder / "samples.parquet")
    (folder / "README.md").write_text(CARD)
    return folder


def mixed_dataset(folder):
    """Two shards with rows of all kinds: 6 that every format takes, one with two sources, one without instruction."""
    several = row_members(3)
    several["source1.png"] = image_bytes((3, 3, 3), "PNG")
    png = row_members(4)
    png["target.png"] = image_bytes((0, 4, 0), "PNG")
    del png["target.jpg"]
    bare = row_members(5)
    del bare["region_mask.png"]
    first = {1: row_members(1), 2: row_members(2), 3: several, 4: png}
    second = {5: bare, 6: row_members(6, instruction=None), 7: row_members(7, session_id="s"),
              8: row_members(8, session_id="s", turn=2)}  # fmt: skip
    second[8]["source.jpg"] = second[7]["target.jpg"]
    return write_export_dataset(folder, [first, second])


def sha256_of_files(folder):
    """Relative path -> sha256 of every file of an export, its state aside."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*")) if path.is_file() and ".export" not in path.parts
    }  # fmt: skip
