"""Kill a build at random moments, resume it, and compare the dataset with that of a build nobody disturbed.

`make bench-faults` runs 20 trials on Ray: SIGKILL of the driver, of a worker or of the raylet, a random time after the
first shard was recorded; and 8 on processes: of the driver or of a worker. For each trial: did the resumed build end
with exit 0, are the tars the same bytes, how many steps were in flight at the kill, and how many steps that had ended
have no record (`lost`), or were recorded and done again (both must be 0).

Then 8 trials with SIGKILL of the driver in the moment in which it joins the records of a stage: at the end of a build,
or at the start of one that resumes a killed one. `in_between` counts kills after the joined file was there and before
the files that it was joined from were removed.
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
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.shards import make_shards  # noqa: E402  the repository is not a package
from pipeline.store.record_log import RECORDS, read_lines  # noqa: E402
from pipeline.store.storage import Storage  # noqa: E402

EDITLOOM = Path(sys.executable).with_name("editloom")
MANIFEST = ROOT / "manifests" / "instructions.toml"
VICTIMS = {"ray": ("driver", "worker", "raylet"), "processes": ("driver", "worker")}
MARKS = {"raylet": "raylet/raylet", "ray worker": "RayWorker", "processes worker": "pipeline.run.process_worker"}
"""A part of the command of a process of that kind."""
START_S, BUSY_FRAC = {"ray": 8.0, "processes": 3.0}, 0.6
"""Kills fall into the first part of a build's work, its start-up left out, so that there is something to interrupt."""


def start_build(shards: Path, out: Path, executor: str) -> subprocess.Popen[bytes]:
    """The build as a user runs it, in a process group of its own."""
    paths = (str(EDITLOOM), "build", str(MANIFEST), "--shards", str(shards), "--out", str(out))
    command = [*paths, "--executor", executor, "--workers", "2", "--json"]
    log = (out.parent / f"{out.name}.log").open("ab")
    return subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT, start_new_session=True)


def records(out: Path) -> set[tuple[str, str]]:
    """Stage and shard of the records there are."""
    storage = Storage(str(out))
    folders = storage.folders("stages")
    return {(name.rpartition("-")[0], shard) for name in folders for shard in read_lines(storage, f"stages/{name}")}


def added_records(out: Path) -> list[str]:
    """Files of records that are not joined."""
    return sorted(str(path.relative_to(out)) for path in (out / "stages").glob("*/records-*.jsonl"))


def tars(out: Path) -> dict[str, str]:
    """sha256 of each tar of the dataset."""
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted((out / "dataset").glob("*.tar"))}


def last_events(out: Path) -> list[dict[str, object]]:
    """Events of the newest build of a run folder."""
    newest = max((out / "run").glob("events-*.jsonl"), key=lambda p: p.stat().st_mtime)
    return [json.loads(line) for line in newest.read_text().splitlines()]


def all_events(out: Path) -> list[dict[str, object]]:
    """Events of all builds of a run folder."""
    files = (out / "run").glob("events-*.jsonl")
    return [json.loads(line) for path in files for line in path.read_text().splitlines()]


def victims(driver: subprocess.Popen[bytes], kind: str, executor: str) -> list[psutil.Process]:
    """Processes of that kind below the driver."""
    if kind == "driver":
        return [psutil.Process(driver.pid)]
    below = psutil.Process(driver.pid).children(recursive=True)
    mark = MARKS[kind if kind == "raylet" else f"{executor} {kind}"]
    return [p for p in below if any(mark in part for part in p.cmdline()[:4])]


def wait_for_record(driver: subprocess.Popen[bytes], out: Path) -> None:
    """Return when the first step is recorded, or the driver has ended."""
    while not records(out) and driver.poll() is None:
        time.sleep(0.02)


def steps_of(events: list[dict[str, object]], kind: str) -> set[tuple[object, object]]:
    """Stage and shard of the events of that kind."""
    return {(event["stage"], event["shard"]) for event in events if event["event"] == kind}


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One kill and one resume."""

    executor: str
    kind: str
    """What is killed, or where records are joined: "join at the end", or "join at the start" of a resume."""
    delay_s: float
    number: int
    shards: Path
    out: Path
    reference: dict[str, str]

    def start(self) -> subprocess.Popen[bytes]:
        """The build, or its resume."""
        return start_build(self.shards, self.out, self.executor)

    def run(self) -> dict[str, object]:
        """Kill, resume, and compare with the reference."""
        is_join = self.kind.startswith("join")
        hit = self.kill_while_joining() if is_join else self.kill_one()
        first_rc = int(str(hit.pop("first_exit")))
        before = records(self.out)
        events = last_events(self.out)
        started = steps_of(events, "started")
        lost = steps_of(all_events(self.out), "done") - before
        second_rc, again = first_rc, set()
        if first_rc != 0:
            second_rc = self.start().wait(timeout=600)
            again = steps_of(last_events(self.out), "started")
        return {
            "victim": f"{self.executor}: {self.kind}", **hit, "first_exit": first_rc, "recorded_at_kill": len(before),
            "in_flight": len(started - steps_of(events, "done")), "resume_exit": second_rc,
            "started_twice": len(again & started), "recorded_done_again": len(again & before), "lost": len(lost),
            "not_joined": added_records(self.out), "same_bytes": tars(self.out) == self.reference,
        }  # fmt: skip

    def kill_one(self) -> dict[str, object]:
        """Kill a process a while after the first record."""
        driver = self.start()
        wait_for_record(driver, self.out)
        time.sleep(self.delay_s)
        found = victims(driver, self.kind, self.executor) if driver.poll() is None else []
        for process in found[:1]:
            process.send_signal(signal.SIGKILL)
        return {"hit": len(found[:1]), "after_s": round(self.delay_s, 2), "first_exit": ended(driver)}

    def kill_while_joining(self) -> dict[str, object]:
        """Kill the driver while it joins the records of a stage: its own, or those that a killed build left."""
        is_start = self.kind.endswith("start")
        if is_start:
            driver = self.start()
            wait_for_record(driver, self.out)
            time.sleep(self.delay_s)
            driver.kill()
            ended(driver)
        driver = self.start()
        joined = kill_at_join(driver, self.out, 0 if is_start else self.number)
        exit_code = ended(driver)
        in_between = joined is not None and any(joined.parent.glob("records-*.jsonl"))
        return {"hit": int(joined is not None), "in_between": int(in_between), "first_exit": exit_code}


def ended(driver: subprocess.Popen[bytes]) -> int:
    """The exit code of the driver, some time after its end, so that its workers have ended too."""
    code = driver.wait(timeout=300)
    time.sleep(1.0)
    return code


def kill_at_join(driver: subprocess.Popen[bytes], out: Path, number: int) -> Path | None:
    """Kill the driver when file `number`, counted from 0, of joined records appears. Returns the file.

    It looks without a pause: the files that were joined are removed some microseconds later.
    """
    joined: set[str] = set()
    while driver.poll() is None:
        expected = [str(folder / RECORDS) for folder in (out / "stages").glob("*")]
        for _ in range(200):
            for path in expected:
                if path not in joined and os.path.exists(path):  # noqa: PTH110  the fastest way to look
                    joined.add(path)
                    if len(joined) > number:
                        driver.kill()
                        return Path(path)
    return None


def is_good(result: dict[str, object]) -> bool:
    """True when the kill hit something and changed nothing."""
    return bool(
        result["same_bytes"]
        and result["resume_exit"] == 0
        and result["recorded_done_again"] == 0
        and result["lost"] == 0
        and result["not_joined"] == []
        and result["hit"] == 1
    )


def kinds(options: argparse.Namespace) -> list[tuple[str, str]]:
    """Executor and kind of each trial."""
    joins = ("join at the end", "join at the start")
    return [
        *(("ray", VICTIMS["ray"][number % 3]) for number in range(options.trials)),
        *(("processes", VICTIMS["processes"][number % 2]) for number in range(options.processes)),
        *(("processes", joins[number % 2]) for number in range(options.joins)),
    ]


def arguments() -> argparse.Namespace:
    """The options of the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=20, help="Trials on Ray")
    parser.add_argument("--processes", type=int, default=8, help="Trials on processes")
    parser.add_argument("--joins", type=int, default=8, help="Trials with a kill while records are joined")
    parser.add_argument("--shards", type=int, default=24)
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "bench-faults")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def undisturbed(shards: Path, out: Path, executor: str) -> float:
    """Seconds of a build that nobody disturbs. Ends the process where it fails."""
    shutil.rmtree(out, ignore_errors=True)
    began = time.monotonic()
    if start_build(shards, out, executor).wait() != 0:
        sys.exit(f"the undisturbed build failed; see {out}.log")
    return time.monotonic() - began


def main() -> None:
    """Run the trials and print a table. Exit with 1 when one of them failed."""
    options = arguments()
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    shards = options.folder / "shards"
    make_shards(shards, options.shards, options.samples, size_px=(800, 600))
    wanted = kinds(options)
    whole_s = {e: undisturbed(shards, options.folder / e, e) for e in dict.fromkeys(executor for executor, _ in wanted)}
    reference = tars(options.folder / wanted[0][0])
    print(f"undisturbed: {', '.join(f'{e} {s:.1f} s' for e, s in whole_s.items())}, {len(reference)} tars")
    rng = random.Random(options.seed)
    failed = in_between = 0
    for number, (executor, kind) in enumerate(wanted):
        out = options.folder / f"trial-{number:02d}"
        shutil.rmtree(out, ignore_errors=True)
        delay_s = rng.uniform(0, max(1.0, BUSY_FRAC * (whole_s[executor] - START_S[executor])))
        trial = Trial(
            executor=executor, kind=kind, delay_s=delay_s, number=number % 4, shards=shards, out=out,
            reference=reference,
        )  # fmt: skip
        result = trial.run()
        failed += not is_good(result)
        in_between += int(str(result.get("in_between", 0)))
        print(f"{number:2d} {'ok  ' if is_good(result) else 'FAIL'} {json.dumps(result)}", flush=True)
        if is_good(result):
            shutil.rmtree(out)
    print(f"{len(wanted) - failed} of {len(wanted)} trials ended with the same bytes")
    print(f"{in_between} of {options.joins} kills while records were joined fell between the new file and the old ones")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
