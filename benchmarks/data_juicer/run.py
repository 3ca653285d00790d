"""Data-Juicer beside Editloom: the same 10,000 image-caption pairs, filtered, freed of duplicates, and written.

`make bench-data-juicer`. Data-Juicer 1.6.1 runs with its default executor and two processes, and with its Ray executor
on two cores; Editloom on Ray with two workers. Both read images that are files and captions that are JSON lines. Two
chains, of operators in this order:

| work                               | Data-Juicer                          | Editloom                      |
|------------------------------------|--------------------------------------|-------------------------------|
| captions of 3 to 60 words          | words_num_filter                     | filter_caption                |
| images of 64 px or more            | image_shape_filter                   | normalise_image               |
| chain `resize`: shorter side 256   | python_file_mapper with `resize.py`  | normalise_image               |
| one image of those of equal dHash  | image_deduplicator, on Ray           | dedup with max_distance 0     |
|                                    | ray_image_deduplicator               |                               |
| write                              | JSON lines, which name the images    | emit: tars with the images    |

Data-Juicer has no operator that scales images: in the chain `filter` the images keep their size on both sides, and in
the chain `resize` its operator for any function is given one of ten lines. In both chains Editloom does more: it checks
captions for markup and the like, encodes every image anew, hashes its bytes, writes images into tars, and a table,
rejects, a data card and a report. Operators are not fused, which is Data-Juicer's default: fusion leaves less work on
no chain here (one operator of each kind), and fails with ray_image_deduplicator.

Every run starts with empty caches, in a process of its own, whose start counts. Sides take turns; the figure is the
median of the rounds. Memory is the peak of all processes together, each page counted once. Prints tables, writes
runs/bench-data-juicer/result.json, and fails when a bar is missed or the sides keep different numbers of rows.
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
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT))

from benchmarks.data_juicer.memory import PeakMemory  # noqa: E402  the repository is not a package
from benchmarks.data_juicer.pairs import make_pairs  # noqa: E402
from benchmarks.data_juicer.resize import FOLDER_VARIABLE, SIDE_PX  # noqa: E402
from benchmarks.peers import peer_python  # noqa: E402

if TYPE_CHECKING:
    from benchmarks.data_juicer.pairs import Pairs

CORES = 2
CHAINS = ("filter", "resize")
OURS, DEFAULT, RAY = "editloom", "data-juicer default", "data-juicer ray"
BARS = {DEFAULT: 2.0, RAY: 2.5}
"""How many times the time of Editloom each executor of Data-Juicer takes at least."""
BAR_CHAIN = "filter"
NOTHING_INSTALLED = {"UV_OFFLINE": "1", "PIP_NO_INDEX": "1"}
"""Data-Juicer installs packages while it runs, where one is missing: none is."""


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--chain", choices=CHAINS, action="append", help="both, if not given")
    parser.add_argument("--side", choices=(OURS, *BARS), action="append", help="all, if not given")
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "bench-data-juicer")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    pairs = make_pairs(given.folder / "pairs", given.rows)
    python = peer_python(given.folder, HERE / "requirements.txt")
    size = sum(path.stat().st_size for path in pairs.images.iterdir())
    load = os.getloadavg()[0]
    print(
        f"{given.rows:,} pairs, {size / 1e6:.0f} MB, of which {pairs.faults}; {os.cpu_count()} cores, load {load:.1f}"
    )
    results = []
    for chain in given.chain or CHAINS:
        runs: dict[str, list[dict[str, Any]]] = {side: [] for side in given.side or (OURS, *BARS)}
        for number in range(given.rounds):
            for side in runs if number % 2 == 0 else reversed(runs):
                runs[side].append(one_run(side, chain, pairs, python, given.folder))
        results.append({"chain": chain, "runs": runs, "sides": {side: summary(found) for side, found in runs.items()}})
        print(table(results[-1]), flush=True)
    result = {"rows": given.rows, "faults": pairs.faults, "cores": os.cpu_count(), "load": load, "results": results}
    (given.folder / "result.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    failures = [line for found in results for line in missed(found)]
    sys.exit("\n".join(failures) if failures else 0)


def one_run(side: str, chain: str, pairs: Pairs, python: Path, folder: Path) -> dict[str, Any]:
    """Wall seconds, peak memory and rows kept of one side."""
    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    command = ours(chain, pairs, out) if side == OURS else theirs(side, chain, pairs, python, out)
    environment = os.environ | NOTHING_INSTALLED | {
        "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0", "HF_HOME": str(out / "hf"),
        "DATA_JUICER_CACHE_HOME": str(out / "cache"), FOLDER_VARIABLE: str(out / "resized"),
    }  # fmt: skip
    log = folder / f"{side.replace(' ', '-')}-{chain}.log"
    with log.open("wb") as lines:
        began = time.monotonic()
        process = subprocess.Popen(command, stdout=lines, stderr=subprocess.STDOUT, env=environment, cwd=out)
        memory = PeakMemory(process.pid)
        memory.start()
        code = process.wait()
        wall_s = time.monotonic() - began
    if code != 0:
        sys.exit(f"{side}, chain {chain}, ended with {code}; see {log}")
    found = {"wall_s": wall_s, "peak_bytes": memory.stop(), "kept": kept(side, out), "load": os.getloadavg()[0]}
    shutil.rmtree(out)
    return found


def ours(chain: str, pairs: Pairs, out: Path) -> list[str]:
    """The command of Editloom."""
    text = (HERE / "manifest.toml").read_text(encoding="utf-8")
    if chain == "resize":
        text = text.replace("shorter_side_px = 288", f"shorter_side_px = {SIDE_PX}")
    manifest = out / "manifest.toml"
    manifest.write_text(text, encoding="utf-8")
    editloom = str(Path(sys.executable).with_name("editloom"))
    shards = ["--shards", str(pairs.images), "--out", str(out / "ours")]
    return [editloom, "build", str(manifest), *shards, "--workers", str(CORES), "--json"]


def theirs(side: str, chain: str, pairs: Pairs, python: Path, out: Path) -> list[str]:
    """The command of Data-Juicer. Its configuration is YAML, which reads JSON."""
    is_on_ray = side == RAY
    (out / "resized").mkdir()
    process: list[dict[str, Any]] = [
        {"words_num_filter": {"min_num": 3, "max_num": 60}},
        {"image_shape_filter": {"min_width": 64, "min_height": 64}},
    ]
    if chain == "resize":
        process.append({"python_file_mapper": {"file_path": str(HERE / "resize.py")}})
    process.append({"ray_image_deduplicator" if is_on_ray else "image_deduplicator": {"method": "dhash"}})
    config = {
        "project_name": "bench", "dataset_path": str(pairs.listed), "np": CORES,
        "export_path": str(out / "theirs" / ("kept" if is_on_ray else "kept.jsonl")), "export_type": "jsonl",
        "executor_type": "ray" if is_on_ray else "default", "ray_address": "local", "process": process,
    }  # fmt: skip
    path = out / "config.yaml"
    path.write_text(json.dumps(config, indent=1), encoding="utf-8")
    return [str(python), str(HERE / "peer.py"), str(CORES if is_on_ray else 0), "--config", str(path)]


def kept(side: str, out: Path) -> int:
    """Rows of the result."""
    if side == OURS:
        shards = json.loads((out / "ours" / "dataset" / "shards.json").read_text(encoding="utf-8"))["shards"]
        return sum(shard["samples"] for shard in shards)
    found = out / "theirs" / ("kept" if side == RAY else "kept.jsonl")
    files = [path for path in found.iterdir() if path.is_file()] if found.is_dir() else [found]
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in files)


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians of the rounds, and the rows kept."""
    medians = {key: statistics.median(run[key] for run in runs) for key in ("wall_s", "peak_bytes")}
    return medians | {"kept": sorted({run["kept"] for run in runs})}


def table(found: dict[str, Any]) -> str:
    """One chain."""
    sides = found["sides"]
    base = sides.get(OURS)
    lines = [
        f"\n| chain {found['chain']} | s | s, of Editloom's | peak MB | of Editloom's | rows kept |",
        "|" + "---|" * 6,
    ]
    for side, of in sides.items():
        ratios = [f"{of[key] / base[key]:.2f}" if base else "" for key in ("wall_s", "peak_bytes")]
        rows = ", ".join(f"{count:,}" for count in of["kept"])
        lines.append(
            f"| {side} | {of['wall_s']:.1f} | {ratios[0]} | {of['peak_bytes'] / 1e6:.0f} | {ratios[1]} | {rows} |"
        )
    return "\n".join(lines)


def missed(found: dict[str, Any]) -> list[str]:
    """Bars that are not reached, and different numbers of rows."""
    sides, chain = found["sides"], found["chain"]
    counts = {side: of["kept"] for side, of in sides.items()}
    failures = [] if len({tuple(count) for count in counts.values()}) == 1 else [f"chain {chain}: rows kept {counts}"]
    for side, bar in BARS.items():
        if chain == BAR_CHAIN and {side, OURS} <= set(sides):
            ratio = sides[side]["wall_s"] / sides[OURS]["wall_s"]
            if ratio < bar:
                failures.append(f"chain {chain}: {side} takes {ratio:.2f} times the time of Editloom, the bar is {bar}")
    return failures


if __name__ == "__main__":
    main()
