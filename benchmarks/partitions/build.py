"""One build of the benchmark as a process of its own: `python build.py WHAT OUT ROWS WORKERS`. Prints times as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.partitions.stages import FollowTarget, MadeImages, MadePairs  # noqa: E402  not a package
from pipeline.build.run import run_build  # noqa: E402
from pipeline.plan.manifest import Manifest, StageEntry, StageRunOn  # noqa: E402
from pipeline.plan.plan import make_plan  # noqa: E402
from pipeline.store.storage import Storage  # noqa: E402
from stages.dedup import Dedup  # noqa: E402
from stages.pair_scores.best_rows import Best  # noqa: E402
from stages.select import Select  # noqa: E402

if TYPE_CHECKING:
    from pipeline.stage import Stage

ROWS_PER_SHARD = 10_000
BEST = (
    Best(per="target_id", keep=4, by="target_caption_cos"), Best(per="source_key", keep=1, by="pair_direction_cos"),
)  # fmt: skip


def chain(what: str, rows: int) -> list[Stage]:
    """The stages of one of the builds."""
    images = MadeImages(num_rows=rows, rows_per_shard=ROWS_PER_SHARD)
    if what == "select":
        return [MadePairs(num_rows=rows, rows_per_shard=ROWS_PER_SHARD), Select(best=BEST)]
    return [images, Dedup()] if what == "dedup" else [images, Dedup(max_distance=None), FollowTarget()]


def main() -> None:
    """Build, and print the seconds of the last stage by kind of step."""
    what, out, rows, workers = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    entries = tuple(
        StageEntry(name=type(stage).__name__.lower(), stage=stage, run_on=StageRunOn(rows_per_batch=2000))
        for stage in chain(what, rows)
    )
    plan = make_plan(Manifest(name="bench-partitions", stages=entries), out, ["made"])
    result = run_build(plan, Storage(out), executor="processes", workers=workers, quiet=True)
    if not result.ok:
        sys.exit(f"the build failed: {result.stopped or result.failures}")
    (log,) = Path(out).glob("run/events-*.jsonl")
    events = [json.loads(line) for line in log.read_text().splitlines()]
    of_stage = [e for e in events if e.get("stage") == entries[-1].name]
    first = min(e["time"] for e in of_stage if e["event"] == "started")
    last = max(e["time"] for e in of_stage if e["event"] == "done")
    by_round: dict[str, float] = {}
    for event in of_stage:
        if event["event"] == "done":
            name = event["shard"].partition("-")[0] if event["shard"].startswith("_") else "shards"
            by_round[name] = round(by_round.get(name, 0.0) + event["duration_s"], 2)
    kept = result.tallies[-1].rows_out
    print(json.dumps({"seconds": last - first, "worker_s": by_round, "rows_out": kept}))


if __name__ == "__main__":
    main()
