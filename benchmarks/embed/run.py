"""Vectors of images by a build beside a loop that one would write (benchmarks/embed/loop.py).

`make bench-embed`: shards of JPEGs of 512 px made by code, one checkpoint of CLIP on both sides, float32, all cores.
The build reads tars, normalises and embeds with two workers, its speed settings left alone (16 rows a forward pass).
The loop embeds alone, 64 rows at a time, and in a second form it also makes the normalised images, as the build does. A
loop runs twice, with as many threads of torch as cores and with one less, for the reader, and the faster one counts.
Checkpoints: the miniature CLIP, whose forward pass costs about as much as decoding, and one with the shape of ViT-B/32
and random weights, whose forward pass is nearly all of the work on a CPU. Sides alternate over rounds; figures are
medians. "embed/s" counts the time that workers spend in steps of `embed`, without the start and without loading the
model, and of the loop the same; "in all/s" the whole command. Prints a table, writes runs/bench-embed/result.json.
Fails where embedding by the build is less than 1.2 times as fast as the loop.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.shards import make_shards  # noqa: E402  the repository is not a package

EDITLOOM = str(Path(sys.executable).with_name("editloom"))
HERE = Path(__file__).resolve().parent
SIZE_PX = (512, 512)
WORKERS = 2
BAR = 1.2
VECTOR = "image_embedding"
LEAST_COS = 0.95
"""Of a vector of the build and that of the loop, of the same image before it was normalised: both embed the same."""


def save_vit_b_32(folder: Path) -> None:
    """A CLIP of the shape of openai/clip-vit-base-patch32 with random weights. One that is there already is kept."""
    import torch
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor

    from models.pretrained import no_progress_bars
    from zoo.tokenizers import clip_tokenizer

    if (folder / "config.json").exists():
        return
    tokenizer = clip_tokenizer()
    tokenizer.model_max_length = 77
    torch.manual_seed(0)
    with no_progress_bars():
        CLIPModel(CLIPConfig()).save_pretrained(folder)  # its defaults are those of ViT-B/32
        CLIPProcessor(CLIPImageProcessor(), tokenizer).save_pretrained(folder)


def checkpoint(name: str, folder: Path) -> Path:
    """The folder of a checkpoint."""
    if name == "zoo":
        from models.model_ids import find

        return Path(find("zoo:clip").location)
    save_vit_b_32(folder / name)
    return folder / name


def run(command: list[str], log: Path) -> tuple[float, dict[str, Any]]:
    """(wall seconds, the JSON that the command printed last)."""
    with log.open("wb") as errors:
        began = time.perf_counter()
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=errors, cwd=ROOT, check=False)
        wall_s = time.perf_counter() - began
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}; see {log}")
    return wall_s, json.loads(done.stdout.splitlines()[-1])


def loop(shards: Path, model: Path, out: Path, *, normalised: bool) -> dict[str, float]:
    """Seconds of the faster loop: of all, and of its embedding part."""
    found: list[dict[str, float]] = []
    cores = os.cpu_count() or 1
    for threads in dict.fromkeys((cores, max(1, cores - 1))):
        shutil.rmtree(out, ignore_errors=True)
        command = [sys.executable, str(HERE / "loop.py"), str(shards), str(model), str(out), "--threads", str(threads)]
        wall_s, said = run(command + ["--normalised"] * normalised, out.with_suffix(".log"))
        found.append({"wall_s": wall_s, "part_s": said["loop_s"], "images": said["images"], "threads": threads})
    return min(found, key=lambda one: one["part_s"])


def build(shards: Path, model: Path, out: Path) -> dict[str, float]:
    """Seconds of the build: of all, and of its embedding part with all workers at it."""
    shutil.rmtree(out, ignore_errors=True)
    manifest = out.with_suffix(".toml")
    manifest.write_text((HERE / "manifest.toml").read_text().replace("MODEL", f"path:{model}"))
    command = [EDITLOOM, "build", str(manifest), "--shards", str(shards), "--out", str(out)]
    wall_s, said = run([*command, "--workers", str(WORKERS), "--json"], out.with_suffix(".log"))
    worker_s = {stage["stage"]: stage["worker_s"] for stage in said["stages"]}
    rows = said["stages"][-1]["rows_out"]
    return {
        "wall_s": wall_s, "part_s": worker_s["embed"] / WORKERS, "images": rows,
        **{f"{name}_worker_s": seconds for name, seconds in worker_s.items()},
    }  # fmt: skip


def least_cos(looped: Path, built: Path) -> float:
    """The least cosine of an image's vectors in both: they are of the image before and after it was normalised."""
    files = sorted(next((built / "stages").glob("embed-*")).glob("*.parquet"))
    found = [pq.read_table(file)[VECTOR].to_pylist() for file in files if VECTOR in pq.read_schema(file).names]
    rows = np.concatenate([np.array(vectors, np.float32) for vectors in found])
    return float((rows * np.load(looped / "vectors.npy").astype(np.float32)).sum(1).min())


SIDES = {"loop": "the loop", "loop-normalised": "the loop, with normalised images", "build": "the build, two workers"}


def measure(name: str, shards: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Medians of the sides, and of the build's ratios to the loops round by round."""
    folder, model = given.folder, checkpoint(name, given.folder)
    found: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    for _ in range(given.rounds):
        found["loop"].append(loop(shards, model, folder / "loop", normalised=False))
        found["build"].append(build(shards, model, folder / "build"))
        cos = least_cos(folder / "loop", folder / "build")
        if not cos > LEAST_COS:
            sys.exit(f"a vector of the build has a cosine of {cos:.3f} with that of the loop")
        if given.with_normalised:
            found["loop-normalised"].append(loop(shards, model, folder / "loop-normalised", normalised=True))
        for side in SIDES:
            shutil.rmtree(folder / side, ignore_errors=True)
    result: dict[str, Any] = {"least_cos": cos}
    for side, rounds in found.items():
        if rounds:
            result[side] = {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
    for side in ("loop", "loop-normalised"):
        for key in ("part_s", "wall_s") if found[side] else ():
            ratios = [theirs[key] / ours[key] for theirs, ours in zip(found[side], found["build"], strict=True)]
            result[side][f"ratio_{key}"] = statistics.median(ratios)
    return result


def show(name: str, result: dict[str, Any]) -> None:
    """Print the rows of one checkpoint."""
    for side, label in SIDES.items():
        if side not in result:
            continue
        row = result[side]
        text = f"{name:9} {label:34} {row['images'] / row['part_s']:10.1f} {row['images'] / row['wall_s']:10.1f}"
        if "ratio_part_s" in row:
            text += f"   build is {row['ratio_part_s']:.2f} and {row['ratio_wall_s']:.2f} times as fast"
        print(text)


def main() -> None:
    """Measure each checkpoint and print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--samples", type=int, default=1000, help="images of a shard")
    parser.add_argument("--large-shards", type=int, default=2, help="shards for ViT-B/32")
    parser.add_argument("--large-samples", type=int, default=200)
    parser.add_argument("--models", nargs="+", default=["zoo", "vit-b-32"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--with-normalised", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "bench-embed")
    given = parser.parse_args()
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0"}
    os.environ.pop("OMP_NUM_THREADS", None)
    sizes = {"zoo": (given.shards, given.samples), "vit-b-32": (given.large_shards, given.large_samples)}
    result: dict[str, Any] = {"bar": BAR, "cores": os.cpu_count()}
    for name in given.models:
        num_shards, num_samples = sizes[name]
        shards = given.folder / f"shards-{num_shards}x{num_samples}"
        make_shards(shards, num_shards, num_samples, size_px=SIZE_PX)
        count = num_shards * num_samples
        print(f"{name}: {count} JPEGs of {SIZE_PX[0]} px in {num_shards} shards; {os.cpu_count()} cores")
        print(f"{'model':9} {'side':34} {'embed/s':>10} {'in all/s':>10}")
        result[name] = measure(name, shards, given)
        show(name, result[name])
    (given.folder / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    missed = [name for name in given.models if result[name]["loop"]["ratio_part_s"] < BAR]
    sys.exit(f"embedding with {', '.join(missed)} is less than {BAR} times as fast as the loop" if missed else 0)


if __name__ == "__main__":
    main()
