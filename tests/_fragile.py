"""A stage and a sink that never end on some rows or kill their own process, and a build of them on Ray.

Run as a program: `python _fragile.py FOLDER '{"deadline_s": 4}' map|sink [ADDRESS]`, over the shards in FOLDER/in.
"""

import ctypes
import json
import os
import signal
import sys
import time
from pathlib import Path

from _fakes import Log, Pack, ReadLines, Upper, manifest_of, rows_of, run

from pipeline.executors.ray import RayExecutor
from pipeline.manifest import RunOn
from pipeline.plan import make_plan
from pipeline.storage import Storage


def break_on(captions):
    for caption in captions:
        if "hang" in caption:
            time.sleep(10_000)
        if "stuck" in caption:
            ctypes.PyDLL(None).sleep(10_000)  # lets no other thread of the process run
        if "die" in caption:
            os.kill(os.getpid(), signal.SIGKILL)
        if "slow" in caption:
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
                break_on(table["caption"].to_pylist())
                yield table

        return lambda shard, tables, path: write(shard, fragile(tables), path)


def main():
    folder, run_on, kind = Path(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3]
    chain = [ReadLines(), Fragile(), Pack()] if kind == "map" else [ReadLines(), FragilePack()]
    plan = make_plan(manifest_of(*chain, run_on=RunOn(**run_on)), str(folder / "run"), [str(folder / "in")])
    log = Messages()
    where = {"address": sys.argv[4]} if len(sys.argv) > 4 else {"workers": 1}
    result = run(plan, RayExecutor(Storage(plan.out), **where), log)
    stage = chain[1].__class__.__name__.lower()
    kept, rejected = ([], [])
    if result.ok and "a" in plan.shard_index:
        kept = [row["sample_id"] for row in rows_of(plan, stage, "a")]
        rejected = rows_of(plan, stage, "a", ".rejects.parquet") if result.tallies[1].rejects else []
    told = {"ok": result.ok, "kept": kept, "rejected": rejected, "failures": list(result.failures.values())}
    print(json.dumps({**told, "lost": log.lost}))


class Messages(Log):
    def __init__(self):
        self.lost = []

    def __call__(self, event, fields):
        super().__call__(event, fields)
        if event == "failed":
            self.lost.append(fields["message"])


if __name__ == "__main__":
    main()
