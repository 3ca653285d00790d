"""Kill a build at random moments, resume it, and compare the dataset with that of a build nobody disturbed.

`make bench-faults` runs 20 trials: SIGKILL of the driver, of a Ray worker or of the raylet, a random time after the
first shard was recorded. For each trial: did the resumed build end with exit 0, are the tars the same bytes, how many
steps were in flight at the kill and how many recorded steps were done again (must be 0).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.shards import make_shards  # noqa: E402  the repository is not a package

EDITLOOM = Path(sys.executable).with_name("editloom")
MANIFEST = ROOT / "manifests" / "instructions.toml"
VICTIMS = ("driver", "worker", "raylet")
START_S, BUSY_FRAC = 8.0, 0.6
"""Kills fall into the first part of a build's work, its start-up left out, so that there is something to interrupt."""


def start_build(shards: Path, out: Path) -> subprocess.Popen[bytes]:
    """The build as a user runs it, in a process group of its own."""
    paths = (str(EDITLOOM), "build", str(MANIFEST), "--shards", str(shards), "--out", str(out))
    command = [*paths, "--workers", "2", "--json"]
    log = (out.parent / f"{out.name}.log").open("ab")
    return subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT, start_new_session=True)


def records(out: Path) -> set[str]:
    """Records there are, by path below the run folder."""
    return {str(p.relative_to(out)) for p in (out / "stages").glob("*/*.json")} if (out / "stages").exists() else set()


def tars(out: Path) -> dict[str, str]:
    """sha256 of each tar of the dataset."""
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted((out / "dataset").glob("*.tar"))}


def last_events(out: Path) -> list[dict[str, object]]:
    """Events of the newest build of a run folder."""
    newest = max((out / "run").glob("events-*.jsonl"), key=lambda p: p.stat().st_mtime)
    return [json.loads(line) for line in newest.read_text().splitlines()]


def victims(driver: subprocess.Popen[bytes], kind: str) -> list[psutil.Process]:
    """Processes of that kind below the driver."""
    if kind == "driver":
        return [psutil.Process(driver.pid)]
    below = psutil.Process(driver.pid).children(recursive=True)
    mark = "raylet/raylet" if kind == "raylet" else "RayWorker"
    return [p for p in below if any(mark in part for part in p.cmdline()[:2])]


def trial(kind: str, delay_s: float, shards: Path, out: Path, reference: dict[str, str]) -> dict[str, object]:
    """One kill and one resume."""
    driver = start_build(shards, out)
    while not records(out) and driver.poll() is None:
        time.sleep(0.02)
    time.sleep(delay_s)
    found = victims(driver, kind) if driver.poll() is None else []
    before = records(out)
    for process in found[:1]:
        process.send_signal(signal.SIGKILL)
    first_rc = driver.wait(timeout=300)
    time.sleep(1.0)
    before |= records(out)
    events = last_events(out)
    started = [(e["stage"], e["shard"]) for e in events if e["event"] == "started"]
    ended = [(e["stage"], e["shard"]) for e in events if e["event"] == "done"]
    in_flight = len(set(started) - set(ended))
    second_rc, redone, not_recorded = first_rc, 0, 0
    if first_rc != 0:
        second_rc = start_build(shards, out).wait(timeout=600)
        events = last_events(out)
        again = {(e["stage"], e["shard"]) for e in events if e["event"] == "started"}
        redone = sum(f"{stage}" in path and path.endswith(f"/{shard}.json") for path in before for stage, shard in again
                     if path.split("/")[1].rsplit("-", 1)[0] == stage)  # fmt: skip
        not_recorded = len(again & set(started))
    return {
        "victim": kind, "hit": len(found[:1]), "after_s": round(delay_s, 2), "first_exit": first_rc,
        "recorded_at_kill": len(before), "in_flight": in_flight, "resume_exit": second_rc,
        "started_twice": not_recorded, "recorded_done_again": redone, "same_bytes": tars(out) == reference,
    }  # fmt: skip


def main() -> None:
    """Run the trials and print a table. Exit with 1 when one of them failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--shards", type=int, default=24)
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "bench-faults")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    shards = options.folder / "shards"
    make_shards(shards, options.shards, options.samples, size_px=(800, 600))
    reference_out = options.folder / "reference"
    shutil.rmtree(reference_out, ignore_errors=True)
    began = time.monotonic()
    if start_build(shards, reference_out).wait() != 0:
        sys.exit(f"the undisturbed build failed; see {reference_out}.log")
    whole_s = time.monotonic() - began
    reference = tars(reference_out)
    rng = random.Random(options.seed)
    failed = 0
    print(f"undisturbed: {whole_s:.1f} s, {len(reference)} tars")
    for number in range(options.trials):
        out = options.folder / f"trial-{number:02d}"
        shutil.rmtree(out, ignore_errors=True)
        result = trial(
            VICTIMS[number % 3], rng.uniform(0, max(1.0, BUSY_FRAC * (whole_s - START_S))), shards, out, reference
        )
        good = (
            result["same_bytes"]
            and result["resume_exit"] == 0
            and result["recorded_done_again"] == 0
            and result["hit"] == 1
        )
        failed += not good
        print(f"{number:2d} {'ok  ' if good else 'FAIL'} {json.dumps(result)}", flush=True)
        if good:
            shutil.rmtree(out)
    print(f"{options.trials - failed} of {options.trials} trials ended with the same bytes")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
