"""Stages that find regions, on real photographs, with the production classes and random weights: shape and contract.

`python benchmarks/regions_photos/run.py SHARDS` builds tag_objects, edit_caption_wordnet, choose_object (rule),
ground_object, segment_box and build_region over a folder of WebDataset shards, verifies the build, checks every row and
prints what came out. The networks are CLIP ViT-B/32, Grounding DINO Swin-T and SAM ViT-B. Their weights are random, so
where a box lies says nothing: only that each stage gives what it promises, for images of any shape. The last two read
images at half their published resolution, so that a CPU takes minutes (`--full-size` for the published one).
"""

from __future__ import annotations

import argparse
import io
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402  run from a checkout
from PIL import Image  # noqa: E402

from benchmarks.left_rows import rejected_rows, stage_folder, stage_rows  # noqa: E402
from benchmarks.regions_photos.checkpoints import save_clip, save_grounding_dino, save_sam  # noqa: E402
from samples.stored_images import mask_array  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

Row = dict[str, Any]
IMAGE_SUFFIXES = (".jpg", ".png", ".webp")
MANIFEST = """\
name = "regions-photos"
summary = "Regions of photographs by networks with random weights."
license = "other"
language = "en"
shards = "{photos}"

[[stage]]
use = "read_webdataset"

[[stage]]
use = "normalise_image"
shorter_side_px = 512

[[stage]]
use = "dedup"

[[stage]]
use = "tag_objects"
model = "path:{models}/clip"
threshold = -1.0 # random weights: a cosine says nothing

[[stage]]
use = "edit_caption_wordnet"

[[stage]]
use = "choose_object"

[[stage]]
use = "ground_object"
model = "path:{models}/grounding-dino"
max_boxes = 3 # random weights: with many boxes every region is the whole image
run_on = {{ rows_per_batch = 4, rows_per_forward = 1 }}

[[stage]]
use = "segment_box"
model = "path:{models}/sam"
run_on = {{ rows_per_batch = 4, rows_per_forward = 1 }}

[[stage]]
use = "build_region"
max_frac = 1.0

[[stage]]
use = "emit"
"""
STAGES = ("tag_objects", "choose_object", "ground_object", "segment_box", "build_region")


def main() -> None:
    """Make the models, build, check, print. Exit 1 where a row is not as promised."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shards", type=Path, help="folder of .tar files")
    parser.add_argument("--limit", type=int, default=32, help="photographs, in the order of the shards")
    parser.add_argument("--full-size", action="store_true", help="images at the published resolution of each network")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        for name, save in (("clip", save_clip), ("grounding-dino", save_grounding_dino), ("sam", save_sam)):
            num_weights = save(work / "models" / name, 1 if args.full_size else 2)
            print(f"{name}: {num_weights / 1e6:.0f} million weights")
        copy_samples(args.shards, work / "photos.tar", args.limit)
        manifest = work / "regions.toml"
        manifest.write_text(MANIFEST.format(models=work / "models", photos=work / "photos.tar"), encoding="utf-8")
        build(manifest, work)
        faults = report(manifest, work / "run")
    sys.exit(1 if faults else 0)


def copy_samples(folder: Path, path: Path, limit: int) -> None:
    """The first samples of all shards in one shard."""
    with tarfile.open(path, "w") as tar:
        for found in sorted(folder.glob("*.tar")):
            with tarfile.open(found) as shard:
                for member in shard:
                    limit -= member.name.endswith(IMAGE_SUFFIXES)
                    if limit < 0:
                        return
                    tar.addfile(member, shard.extractfile(member))


def build(manifest: Path, work: Path) -> None:
    """Build and verify through the command, as a user does."""
    editloom = str(Path(sys.executable).with_name("editloom"))
    out = ["--out", str(work / "run")]
    began = time.perf_counter()
    subprocess.run([editloom, "build", str(manifest), "--executor", "inprocess", *out], check=True, cwd=ROOT)
    seconds = time.perf_counter() - began
    subprocess.run([editloom, "verify", str(manifest), *out, "--deep"], check=True, cwd=ROOT)
    peak_gb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
    print(f"built and verified: {seconds:.0f} s, at most {peak_gb:.1f} GB")


def report(manifest: Path, out: Path) -> list[str]:
    """Print the figures and the faults of all rows, and return the faults."""
    rows = {name: stage_rows(out, manifest, name) for name in (*STAGES, "edit_caption_wordnet", "normalise_image")}
    rejects = {name: rejected_rows(stage_folder(out, manifest, name)) for name in STAGES}
    rejected = {name: Counter(row["reject_reason"] for row in found) for name, found in rejects.items()}
    for name in STAGES:
        print(f"{name}: {len(rows[name])} rows, rejects {dict(rejected[name])}")
    merged = {row["sample_id"]: row for row in rows["edit_caption_wordnet"]}
    for name in STAGES[1:]:
        for row in rows[name]:
            merged[row["sample_id"]] |= row
    sizes = {row["sample_id"]: (row["height_px"], row["width_px"]) for row in rows["normalise_image"]}
    faults = [f"{row['sample_id']}: {fault}" for row in rows["tag_objects"] for fault in tag_faults(row)]
    for own, row in merged.items():
        if "region_mask_png" in row:
            faults += [f"{own}: {fault}" for fault in region_faults(row, sizes[row["parent_id"]])]
    kinds = Counter("whole image" if row["is_whole_image"] else "region" for row in rows["build_region"])
    print(f"regions: {dict(kinds)}; members of the tars: {dict(members_of(out))}")
    print("\n".join(faults) or "every row is as promised")
    return faults


def members_of(out: Path) -> Counter[str]:
    """How many members of each suffix the dataset has."""
    found: Counter[str] = Counter()
    for path in (out / "dataset").glob("*.tar"):
        with tarfile.open(path) as tar:
            found.update(name.partition(".")[2] for name in tar.getnames())
    return found


def tag_faults(row: Row) -> Iterator[str]:
    """What is wrong with the tags of an image."""
    cosines = row["object_tag_cos"]
    if not 0 < len(row["object_tags"]) == len(cosines) <= 20:
        yield f"{len(row['object_tags'])} tags and {len(cosines)} cosines"
    if sorted(cosines, reverse=True) != cosines or not all(-1 <= cos <= 1 for cos in cosines):
        yield f"cosines are {cosines}"


def region_faults(row: Row, size_HW: tuple[int, int]) -> Iterator[str]:
    """What is wrong with the things, boxes, masks and region of an edit."""
    if row["edit_objects"] != [row["source_phrase"]]:
        yield f"objects {row['edit_objects']} of the phrase {row['source_phrase']!r}"
    boxes_N4 = np.array(row["object_boxes"], np.float32).reshape(-1, 4)
    limit = np.array([size_HW[1], size_HW[0]] * 2) + 0.01
    if not ((boxes_N4 >= 0) & (boxes_N4 <= limit)).all() or not (boxes_N4[:, 2:] > boxes_N4[:, :2]).all():
        yield f"boxes {boxes_N4.tolist()} on {size_HW}"
    scores = row["object_box_scores"]
    if sorted(scores, reverse=True) != scores or not all(score >= 0.3 for score in scores):
        yield f"scores are {scores}"
    if not set(row["object_box_phrases"]) <= set(row["edit_objects"]) or len(scores) != len(boxes_N4):
        yield f"phrases are {row['object_box_phrases']}"
    if len(row["object_masks_png"]) != len(boxes_N4):
        yield f"{len(row['object_masks_png'])} masks of {len(boxes_N4)} boxes"
    names = ("region_mask_png", "core_mask_png", "box_mask_png", "hull_mask_png", "fine_mask_png")
    for png in (*row["object_masks_png"], *(row[name] for name in names)):
        yield from png_faults(png, size_HW)
    region, core, _, hull, fine = (mask_array(row[name]) for name in names)
    if not region[core].all() or not hull[fine].all():
        yield "the region does not hold its core, or the hulls do not hold the masks"
    if abs(region.mean() - row["region_frac"]) > 1e-6 or not 0.01 <= row["region_frac"] <= 1:
        yield f"share of the region is {row['region_frac']}"


def png_faults(png: bytes, size_HW: tuple[int, int]) -> Iterator[str]:
    """What is wrong with the file of a mask."""
    image = Image.open(io.BytesIO(png))
    if image.mode != "L" or image.size != size_HW[::-1] or not set(np.unique(np.asarray(image))) <= {0, 255}:
        yield f"a mask is {image.mode}, {image.size}, on {size_HW}"


if __name__ == "__main__":
    main()
