"""The peer: the same work as manifests/instructions.toml as a script one would write in an afternoon.

A multiprocessing pool of two, one tar a task, two passes with the normalised images in a plain file in between, since
duplicates are known only when every image was seen. No resume, no records, no rejects, no checks, no report.
Image code is Pillow and ImageHash directly; caption edits are the project's own function, as any script would call it.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import multiprocessing
import pickle
import sys
import tarfile
from pathlib import Path
from typing import Any

import imagehash
import pyarrow as pa
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pipeline.context import Context
from pipeline.plan.plugins import load_model
from stages.duplicates.near_hashes import near_clusters
from stages.edit_caption_wordnet import EditCaptionWordnet
from stages.filter_caption import FilterCaption

EDITS: dict[str, Any] = {}


def normalise(raw: bytes, side: int) -> tuple[bytes, int, tuple[int, int]]:
    """Encoded image, difference hash and original size."""
    image = Image.open(io.BytesIO(raw)).convert("RGB")
    original = image.size
    scale = side / min(original)
    image = image.resize((round(original[0] * scale), round(original[1] * scale)), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=95)
    return buffer.getvalue(), int(str(imagehash.dhash(image)), 16), original


def first_pass(job: tuple[Path, Path, int]) -> list[tuple[str, bytes, int, int, int]]:
    """Read, normalise and filter a shard, keep its images in a file, and return what dedup needs."""
    shard, folder, side = job
    judge = FilterCaption()
    rows, samples = [], []
    members: dict[str, dict[str, bytes]] = {}
    with tarfile.open(shard) as tar:
        for member in tar:
            key, _, suffix = member.name.partition(".")
            handle = tar.extractfile(member)
            assert handle is not None
            members.setdefault(key, {})[suffix] = handle.read()
    for found in members.values():
        caption = found["txt"].decode()
        sha = hashlib.sha256(found["jpg"])
        encoded, dhash, original = normalise(found["jpg"], side)
        if judge.verdict(caption) is None:
            own = sha.hexdigest()[:16]
            samples.append((own, caption, encoded))
            rows.append((own, sha.digest(), dhash, original[0] * original[1], len(caption.split())))
    with (folder / f"{shard.stem}.pickle").open("wb") as out:
        pickle.dump(samples, out)
    return rows


def second_pass(job: tuple[Path, Path, set[str]]) -> int:
    """Edit the captions of the samples kept and write the shard's tar."""
    shard, folder, dropped = job
    if "edit" not in EDITS:
        EDITS["edit"] = EditCaptionWordnet(edits_per_caption=2).open(
            Context(stage_name="edit_caption_wordnet", loader=load_model)
        )
    path = folder / f"{shard.stem}.pickle"
    samples = [s for s in pickle.loads(path.read_bytes()) if s[0] not in dropped]  # noqa: S301  written by this script
    images = {own: encoded for own, _, encoded in samples}
    table = pa.table({"sample_id": [s[0] for s in samples], "caption": [s[1] for s in samples]})
    edits = EDITS["edit"](table).to_pylist()
    with tarfile.open(folder / f"{shard.stem}.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
        for edit in edits:
            if edit.get("reject_reason"):
                continue
            text = json.dumps({k: v for k, v in edit.items() if v is not None}, sort_keys=True).encode()
            for name, content in (("source.jpg", images[edit["parent_id"]]), ("json", text)):
                info = tarfile.TarInfo(f"{edit['sample_id']}.{name}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    path.unlink()
    return len(edits)


def duplicates(rows: list[tuple[str, bytes, int, int, int]]) -> set[str]:
    """Ids that are not the first of their cluster."""
    import numpy as np

    hashes, of_row = np.unique(np.array([r[2] for r in rows], dtype=np.uint64), return_inverse=True)
    cluster = near_clusters(hashes, 3)[of_row]
    best: dict[int, tuple[int, int, str]] = {}
    for row, group in zip(rows, cluster.tolist(), strict=True):
        best[group] = min(best.get(group, (0, 0, "~")), (-row[3], -row[4], row[0]))
    kept = {own for _, _, own in best.values()}
    return {r[0] for r in rows} - kept


def main() -> None:
    """Both passes over all shards."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shards", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--side", type=int, required=True)
    parser.add_argument("--first", type=int, help="tars to read, by name; all, if not given")
    options = parser.parse_args()
    options.out.mkdir(parents=True)
    shards = sorted(options.shards.glob("*.tar"))[: options.first]
    with multiprocessing.Pool(2) as pool:
        rows = [r for part in pool.imap(first_pass, [(s, options.out, options.side) for s in shards]) for r in part]
        dropped = duplicates(rows)
        total = sum(pool.imap(second_pass, [(s, options.out, dropped) for s in shards]))
    print(json.dumps({"samples": len(rows), "duplicates": len(dropped), "edits": total}))


if __name__ == "__main__":
    main()
