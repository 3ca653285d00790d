"""A stage and a sink that hang or kill their process on some rows, and builds of them on Ray or in processes.

Run as a program: `python _fragile.py ADDRESS`, on the Ray cluster at that address, or with `processes` in its place.
Each line of its input is a build, `{"folder": …, "run_on": {…}}` over the shards in folder/in. Builds run side by side;
each prints one line when it ends.
"""

import contextlib
import ctypes
import json
import os
import signal
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from _fakes import Pack, ReadLines, Upper, manifest_of, rows_of, run

from pipeline.plan.manifest import RunOn
from pipeline.plan.plan import make_plan
from pipeline.run.processes import ProcessExecutor
from pipeline.run.ray import RayExecutor
from pipeline.store.storage import Storage


def break_on(captions, where=""):
    for caption in captions:
        word = caption.partition(" ")[0]
        if word == f"{where}hang":
            time.sleep(10_000)
        if word == f"{where}stuck":
            ctypes.PyDLL(None).sleep(10_000)  # lets no other thread of the process run
        if word == f"{where}die":
            os.kill(os.getpid(), signal.SIGKILL)
        if word == f"{where}slow":
            time.sleep(1.5)


class Fragile(Upper):
    def open(self, ctx):
        work = super().open(ctx)

        def fragile(batch):
            break_on(batch["caption"].to_pylist())
            return work(batch)

        return fragile


class FragilePack(Pack):
    def open(self, ctx):
        write = super().open(ctx)

        def fragile(tables):
            for table in tables:
                break_on(table["caption"].to_pylist(), "pack-")
                yield table

        return lambda shard, tables: write(shard, fragile(tables))


def main():
    if sys.argv[1] != "processes":
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        import ray

        ray.init(sys.argv[1], log_to_driver=False, logging_level="ERROR")
    printed = sys.stdout
    with contextlib.redirect_stdout(sys.stderr), ThreadPoolExecutor(max_workers=8) as threads:
        for line in sys.stdin:
            threads.submit(answer, json.loads(line), printed)


def answer(asked, out):
    """Build and print what came of it: one line, in one piece."""
    try:
        result = build(Path(asked["folder"]), asked["run_on"])
    except Exception:  # noqa: BLE001  the test shows it
        result = {"error": traceback.format_exc()}
    out.write(json.dumps(result | {"folder": asked["folder"]}) + "\n")
    out.flush()


def build(folder, run_on):
    import _fragile  # workers import the stages under this name

    chain = [ReadLines(), _fragile.Fragile(), _fragile.FragilePack()]
    plan = make_plan(manifest_of(*chain, run_on=RunOn(**run_on)), str(folder / "run"), [str(folder / "in")])
    storage = Storage(plan.out)
    result = run(plan, ProcessExecutor(storage, 4) if sys.argv[1] == "processes" else RayExecutor(storage))
    failures = list(result.failures.values())
    return {"ok": result.ok, "failures": failures, "shards": {s.name: rows(plan, s.name) for s in plan.shards}}


def rows(plan, shard):
    """Ids that the last stage kept of a shard, and all rows that the chain rejected."""
    there = Storage(plan.out).exists
    files = {(p.name, end): f"{p.folder}/{shard}{end}" for p in plan.stages for end in (".parquet", ".rejects.parquet")}
    found = {at: rows_of(plan, at[0], shard, at[1]) for at, rel in files.items() if there(rel)}
    kept = [row["sample_id"] for row in found.get(("fragilepack", ".parquet"), ())]
    return {"kept": kept, "rejected": [row for (_, end), rows in found.items() if "rejects" in end for row in rows]}


if __name__ == "__main__":
    main()
