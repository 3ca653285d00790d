"""A chain of tiny stages over text files, so that the engine is tested without an image or a model.

An input shard is a text file; each line is a sample whose bytes are the line and whose caption is the line. What a
caption contains steers the fakes: "unusable" is rejected by the source, "drop" by `Upper`, "lonely" by `Twins`,
"worst" by `Best`; "boom" makes `Upper` raise.
"""

import hashlib
import io
import json
import tarfile
from enum import StrEnum
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.build.build import Build
from pipeline.build.run import run_build
from pipeline.build.summary import build_summary
from pipeline.plan.inputs import shards_of_files
from pipeline.plan.manifest import Manifest, RunOn, StageEntry
from pipeline.plan.plan import make_plan
from pipeline.run.inprocess import InProcessExecutor
from pipeline.run.rows import ShardRows
from pipeline.run.task import Outcome
from pipeline.run.worker import Worker
from pipeline.sink import SinkShard
from pipeline.stage import ExpandStage, GlobalStage, MapStage, SinkStage, SourceStage
from pipeline.store.storage import Storage
from pipeline.store.tables import BULK_SUFFIX
from samples.columns import PARENT_ID, REJECT_REASON, SAMPLE_ID, arrow_schema, column
from samples.shard_check import wrong_shards


def id_of(line):
    return hashlib.sha256(line.encode()).hexdigest()[:16]


class Bad(StrEnum):
    UNUSABLE = "unusable"
    DROPPED = "dropped"
    LONELY = "lonely"
    WORST = "worst"


def reasons(captions, word, reason):
    return pa.array([reason.value if word in c else None for c in captions], pa.string())


class ReadLines(SourceStage):
    version: ClassVar = 1
    writes: ClassVar = ("source_raw", "source_sha256", "source_size_bytes", "caption")
    rejects: ClassVar = Bad
    rows_per_table: int = 3

    def list_shards(self, inputs):
        return shards_of_files(inputs, (".lines",))

    def open(self, ctx):
        def read(shard):
            lines = Path(shard.uri).read_text(encoding="utf-8").splitlines()
            for start in range(0, len(lines), self.rows_per_table):
                yield source_table(lines[start : start + self.rows_per_table])

        return read


def source_table(lines):
    return pa.table(
        {
            SAMPLE_ID: pa.array([id_of(line) for line in lines], pa.string()),
            "source_raw": pa.array([line.encode() for line in lines], pa.binary()),
            "source_sha256": pa.array([hashlib.sha256(line.encode()).hexdigest() for line in lines], pa.string()),
            "source_size_bytes": pa.array([len(line.encode()) for line in lines], pa.int64()),
            "caption": pa.array(lines, pa.string()),
            REJECT_REASON: reasons(lines, "unusable", Bad.UNUSABLE),
        }
    )


class Upper(MapStage):
    version: ClassVar = 1
    reads: ClassVar = ("caption",)
    writes: ClassVar = ("source_caption",)
    rejects: ClassVar = Bad
    suffix: str = ""

    def open(self, ctx):
        def work(batch):
            captions = batch["caption"].to_pylist()
            if any("boom" in c for c in captions):
                raise ValueError("boom: cannot be put in capitals")
            upper = pa.array([c.upper() + self.suffix for c in captions], pa.string())
            batch = batch.append_column("source_caption", upper)
            return batch.append_column(REJECT_REASON, reasons(captions, "drop", Bad.DROPPED))

        return work


class Pixels(MapStage):
    """Reads the virtual column, writes a bulk one."""

    version: ClassVar = 1
    reads: ClassVar = ("source_raw",)
    writes: ClassVar = ("source_images",)

    def open(self, ctx):
        def work(batch):
            images = [[raw] for raw in batch["source_raw"].to_pylist()]
            return batch.append_column("source_images", pa.array(images, column("source_images").type))

        return work


class Dice(MapStage):
    version: ClassVar = 1
    reads: ClassVar = ("caption",)
    writes: ClassVar = ("turn",)
    uses_rng: ClassVar = True

    def open(self, ctx):
        def work(batch):
            drawn = [ctx.rng(i).randrange(1000) for i in batch[SAMPLE_ID].to_pylist()]
            return batch.append_column("turn", pa.array(drawn, pa.int32()))

        return work


class Twins(ExpandStage):
    """Two children of each caption, one where it says "single"."""

    version: ClassVar = 1
    reads: ClassVar = ("caption",)
    writes: ClassVar = ("instruction",)
    rejects: ClassVar = Bad

    def open(self, ctx):
        def work(batch):
            rows = []
            for own, caption in zip(batch[SAMPLE_ID].to_pylist(), batch["caption"].to_pylist(), strict=True):
                if "lonely" in caption:
                    rows.append({SAMPLE_ID: own, REJECT_REASON: Bad.LONELY.value})
                    continue
                rows += [
                    {SAMPLE_ID: f"{own}-e{n}", PARENT_ID: own, "instruction": f"{n} {caption}"}
                    for n in range(1, 2 if "single" in caption else 3)
                ]
            schema = arrow_schema((SAMPLE_ID, PARENT_ID, *self.writes)).append(pa.field(REJECT_REASON, pa.string()))
            return pa.Table.from_pylist(rows, schema=schema)

        return work


class Join(MapStage):
    """Takes columns from the source, a map before the expand, and the expand."""

    version: ClassVar = 1
    reads: ClassVar = ("source_raw", "source_caption", "instruction", PARENT_ID)
    writes: ClassVar = ("target_caption",)

    def open(self, ctx):
        def work(batch):
            rows = batch.to_pylist()
            joined = [
                f"{r['source_raw'].decode()}|{r['source_caption']}|{r['instruction']}|{r[PARENT_ID]}" for r in rows
            ]
            return batch.append_column("target_caption", pa.array(joined, pa.string()))

        return work


class Best(GlobalStage):
    version: ClassVar = 1
    reads: ClassVar = ("caption",)
    writes: ClassVar = ("duplicate_cluster_size",)
    rejects: ClassVar = Bad

    def open(self, ctx):
        def verdicts(tables):
            total = sum(table.num_rows for _, table in tables())
            for name, table in tables():
                rows = table.append_column("duplicate_cluster_size", pa.array([total] * table.num_rows, pa.int32()))
                captions = table["caption"].to_pylist() if table.num_rows else []
                yield name, rows.append_column(REJECT_REASON, reasons(captions, "worst", Bad.WORST))

        return verdicts


class Words(GlobalStage):
    version: ClassVar = 1
    reads: ClassVar = ("caption",)
    artifact: ClassVar = "words.json"
    least: int = 1

    def open(self, ctx):
        def count(tables):
            words = sorted({w for _, t in tables() if t.num_rows for c in t["caption"].to_pylist() for w in c.split()})
            (ctx.artifact_dir / self.artifact).write_text(json.dumps(words), encoding="utf-8")
            yield from ()

        return count


class NumWords(MapStage):
    version: ClassVar = 1
    reads: ClassVar = ("caption",)
    writes: ClassVar = ("caption_num_words",)

    def needs_artifacts(self):
        return ("words",)

    def open(self, ctx):
        words = json.loads(ctx.artifacts["words"].read_text(encoding="utf-8"))

        def work(batch):
            return batch.append_column("caption_num_words", pa.array([len(words)] * batch.num_rows, pa.int32()))

        return work


class Pack(SinkStage):
    version: ClassVar = 1
    reads: ClassVar = ("caption",)
    writes: ClassVar = ("dataset_shard",)
    suffix: ClassVar = ".tar"
    list_file: ClassVar = "shards.json"

    def open(self, ctx):
        def write(shard, tables):
            with tarfile.open(shard.file, "w") as tar:
                for table in tables:
                    for row in table.to_pylist():
                        info = tarfile.TarInfo(f"{row[SAMPLE_ID]}.txt")
                        info.size = len(row["caption"].encode())
                        tar.addfile(info, io.BytesIO(row["caption"].encode()))
                    yield table.append_column("dataset_shard", pa.array([f"{shard.name}.tar"] * table.num_rows))
            shard.summary["samples"] = "packed"

        return write

    def collate(self, folder, run):
        listed = [
            {"file": f"{n}.tar", "samples": e["rows"], "bytes": e["bytes"], "sha256": e["sha256"]}
            for n, e in sorted(run.shard_files.items())
        ]
        (folder / "shards.json").write_text(
            json.dumps({"dataset": run.manifest["name"], "shards": listed}), encoding="utf-8"
        )
        card = {k: run.manifest[k] for k in ("name", "summary", "license")}
        rows_in = {s["name"]: s["rows_in"] for s in run.stages}
        rejects = [r for t in run.rejects() for r in t.to_pylist()]
        parts = {p.shard: [dict(p.summary), [r for t in p.tables for r in t.to_pylist()]] for p in run.parts()}
        about = {
            "card": card, "rows_in": rows_in, "rejects": rejects, "stages": [s["name"] for s in run.stages],
            "parts": parts,
        }  # fmt: skip
        (folder / "about.json").write_text(json.dumps(about), encoding="utf-8")

    def check(self, published, *, deep):
        return wrong_shards(published.folder, published.sizes, published.open, deep=deep)


def sink_shard(path, name="shard", number=0, num_shards=1):
    """A shard for the function of a sink, its file at `path` and further ones beside it."""
    return SinkShard(
        name=name, number=number, num_shards=num_shards, file=path, summary={},
        further_file=lambda suffix: path.with_name(path.name + suffix),
    )  # fmt: skip


def entry(stage, **run_on):
    return StageEntry(name=type(stage).__name__.lower(), stage=stage, run_on=run_on)


def manifest_of(*stages, seed=0, run_on=None, **fields):
    entries = tuple(s if isinstance(s, StageEntry) else entry(s) for s in stages)
    return Manifest(name="fake", seed=seed, run_on=run_on or RunOn(), stages=entries, **fields)


def write_shards(folder, shards):
    """Write shards, a name -> its lines. Returns the folder as the input to name."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in shards.items():
        (folder / f"{name}.lines").write_text("\n".join(lines), encoding="utf-8")
    return str(folder)


def plan_of(tmp_path, stages, shards=None, *, only=None, limit=None, **fields):
    """A plan over freshly written shards, its run folder at tmp_path/run."""
    inputs = write_shards(tmp_path / "in", shards or {"a": ["one", "two", "three"]})
    return make_plan(manifest_of(*stages, **fields), str(tmp_path / "run"), [inputs], only=only, limit=limit)


class Log(list):
    """Events of a build, called for each: (event, stage, shard) of all but ticks."""

    def __call__(self, event, fields):
        if event != "tick":
            self.append((event, fields.get("stage"), fields.get("shard")))

    def of(self, event):
        return [(stage, shard) for kind, stage, shard in self if kind == event]


def run(plan, executor=None, on_event=None):
    storage = Storage(plan.out)
    result = Build(plan, storage, executor or InProcessExecutor(storage), Log() if on_event is None else on_event).run()
    storage.close()
    return result


def rows_of(plan, stage, shard, suffix=".parquet"):
    """All rows that the stage named `stage` wrote for a shard: light columns, and bulk ones where it has any."""
    planned = next(s for s in plan.stages if s.name == stage)
    storage = Storage(plan.out)
    rows = table_at(storage, f"{planned.folder}/{shard}{suffix}")
    if suffix == ".parquet" and storage.exists(f"{planned.folder}/{shard}{BULK_SUFFIX}"):
        bulk = table_at(storage, f"{planned.folder}/{shard}{BULK_SUFFIX}")
        assert bulk[SAMPLE_ID].to_pylist() == rows[SAMPLE_ID].to_pylist()
        for name in bulk.column_names[1:]:
            rows = rows.append_column(name, bulk[name])
    return rows.to_pylist()


def table_at(storage, rel):
    with storage.open(rel) as handle:
        return pq.read_table(handle, use_threads=False)


def shard_rows(plan, stage, shard, rows_per_batch=100):
    """The rows that the stage named `stage` gets, as one list."""
    storage = Storage(plan.out)
    planned = next(s for s in plan.stages if s.name == stage)
    rows = ShardRows(plan, storage, planned, shard, Worker(plan, storage).read_source)
    return [row for batch in rows.batches(rows_per_batch) for row in batch.to_pylist()]


class Scripted:
    """An executor of `width` slots. `script[stage name, shard]` = [failure, ...] has the failures before it works."""

    def __init__(self, storage, script=None, width=1, on_submit=None):
        self.storage, self.script, self.width = storage, script or {}, width
        self.on_submit = on_submit or (lambda task: None)
        self.running, self.submitted, self.most, self.closed = [], [], {}, False

    def start(self, plan):
        self.plan, self.worker = plan, Worker(plan, self.storage)

    def slots(self, stage):
        return self.slots_anywhere()

    def slots_anywhere(self):
        return self.width - len(self.running)

    def submit(self, task):
        assert self.slots(task.stage) > 0
        self.running.append(task)
        self.submitted.append((self.plan.stages[task.stage].name, task.shard, task.attempt, task.halvings))
        at_once = sum(t.stage == task.stage for t in self.running)
        self.most[task.stage] = max(self.most.get(task.stage, 0), at_once)
        self.on_submit(task)

    def wait(self, timeout_s):
        task = self.running.pop(0)
        name = self.plan.stages[task.stage].name
        failures = self.script.get((name, task.shard))
        if failures:
            return [Outcome(task=task, failure=failures.pop(0), message=f"stage {name}, shard {task.shard}: scripted")]
        return [self.worker.run(task)]

    def waiting(self):
        return ""

    def close(self):
        self.closed = True


def build_in_process(plan, **how):
    """A guarded build as the command makes it: lock, events, signals."""
    return run_build(plan, Storage(plan.out), executor="inprocess", quiet=True, **how)


def summarised(plan):
    return build_summary(build_in_process(plan))
