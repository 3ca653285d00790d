"""The downloader of `read_laion` in processes over shards, as the workers of a build run it. Prints JSON.

It calls what the stage calls and ends with tars and status tables in a run folder. Left out are Ray, which adds seconds
to any run and nothing to a long one, and the reading of the finished tars, which img2dataset does not do either.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from pipeline.store.folder_store import FolderStore  # noqa: E402  the repository is not a package
from pipeline.store.storage import Storage  # noqa: E402
from stages.download.settings import DownloadSpeed  # noqa: E402
from stages.download.status import SUCCESS  # noqa: E402
from stages.read_laion import ReadLaion  # noqa: E402

if TYPE_CHECKING:
    from pipeline.stage import Shard
    from stages.inputs.parquet_rows import TableReader

READERS: dict[str, TableReader] = {}


def download(job: tuple[ReadLaion, Shard, str]) -> tuple[float, float, int, int]:
    """(start, end, rows, successes) of one shard."""
    from stages.download.shard import provide

    stage, shard, out = job
    began = time.time()
    store = FolderStore(Storage(out, run_id=f"bench-{os.getpid()}"), "store")
    with provide(store, shard.name, partial(stage.statuses, shard, READERS, Counter()), stage) as (_, statuses):
        return began, time.time(), len(statuses), sum(s.status == SUCCESS for s in statuses)


def warm(_: int) -> None:
    """Import what a worker imports once, as img2dataset does before its first shard."""
    import pyarrow as pa
    import torch  # noqa: F401

    import stages.download.shard  # noqa: F401
    from samples.images import readable_formats

    readable_formats()
    pa.array([""])  # pyarrow looks for pandas at the first list
    time.sleep(0.5)  # so that each process of the pool gets one


def main() -> None:
    """Download a table into a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table")
    parser.add_argument("out")
    parser.add_argument("--rows-per-shard", type=int, default=500)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--timeout-s", type=float, default=5.0)
    given = parser.parse_args()
    stage = ReadLaion(
        rows_per_shard=given.rows_per_shard, allowed_hosts=("127.0.0.0/8",), stored_side_px=256,
        speed=DownloadSpeed(concurrency=given.concurrency, timeout_s=given.timeout_s),
    )  # fmt: skip
    shards = stage.list_shards([given.table])
    with multiprocessing.get_context("spawn").Pool(given.processes) as pool:
        pool.map(warm, range(given.processes), chunksize=1)
        done = pool.map(download, [(stage, shard, given.out) for shard in shards], chunksize=1)
        pool.close()
        pool.join()
    print(json.dumps({
        "work_s": max(d[1] for d in done) - min(d[0] for d in done),
        "rows": sum(d[2] for d in done), "images": sum(d[3] for d in done),
    }))  # fmt: skip


if __name__ == "__main__":
    main()
