"""Fakes of stages that use rows of other shards: `Repeats` in rounds, `Pointer` by their ids. See `_fakes`."""

from collections import Counter
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from _fakes import Bad, id_of, reasons

from pipeline.partitions import hash_texts, part_of
from pipeline.rounds import Round, Rounds
from pipeline.stage import MapStage, PartitionedStage
from samples.columns import REJECT_REASON, SAMPLE_ID


class Repeats(PartitionedStage):
    """How often the first word of each caption is there in all shards, and how many such words; rejects "worst"."""

    version: ClassVar = 1
    reads: ClassVar = ("caption",)
    writes: ClassVar = ("duplicate_cluster_size", "turn")
    rejects: ClassVar = Bad
    least: int = 1

    def open(self, ctx):
        return Rounds(
            rounds=(
                Round(name="send", over="shards", receives=(), run=send_words),
                Round(name="count", over="parts", receives=("words",), run=count_part),
                Round(name="sum", over="once", receives=("distinct", "shards"), run=sum_parts),
            ),
            judge=judge, judge_receives=("counts", "total"),
        )  # fmt: skip


def send_words(given, send):
    for number, _, table in given.tables:
        words = pa.array([caption.partition(" ")[0] for caption in table["caption"].to_pylist()], pa.string())
        rows = pa.table({
            "word": words, "row": pa.array(np.arange(table.num_rows)),
            "shard": pa.array(np.full(table.num_rows, number)),
        })  # fmt: skip
        send("words", rows, part_of(hash_texts(words), given.num_parts))
        send("shards", pa.table({"shard": [number]}), np.zeros(1, np.int64))
        given.notes["shards sent"] += 1


def count_part(given, send):
    tables = list(given.received("words"))
    if not tables:
        return
    rows = pa.concat_tables(tables)
    counts = Counter(rows["word"].to_pylist())
    found = pa.array([counts[word] for word in rows["word"].to_pylist()], pa.int32())
    send("counts", rows.select(["row"]).append_column("count", found), rows["shard"].to_numpy())
    send("distinct", pa.table({"count": [len(counts)]}), np.zeros(1, np.int64))


def sum_parts(given, send):
    total = sum(pc.sum(table["count"]).as_py() for table in given.received("distinct"))
    shards = np.concatenate([table["shard"].to_numpy() for table in given.received("shards")])
    send("total", pa.table({"total": pa.array([total] * len(shards), pa.int32())}), shards)


def judge(shard, rows, received):
    counts = {r: c for t in received("counts") for r, c in zip(*t.to_pydict().values(), strict=True)}
    (total,) = [table["total"][0].as_py() for table in received("total")]
    sizes = pa.array([counts[row] for row in range(rows.num_rows)], pa.int32())
    rows = rows.append_column("duplicate_cluster_size", sizes)
    rows = rows.append_column("turn", pa.array([total] * rows.num_rows, pa.int32()))
    return rows.append_column(REJECT_REASON, reasons(rows["caption"].to_pylist(), "worst", Bad.WORST))


def verdicts_of(shards):
    """Shard -> [(caption, how often its word is there, number of words)] of the rows that `Repeats` keeps."""
    counts = Counter(line.partition(" ")[0] for lines in shards.values() for line in lines)
    return {
        shard: [(line, counts[line.partition(" ")[0]], len(counts)) for line in lines if "worst" not in line]
        for shard, lines in shards.items()
    }


class Pointer(MapStage):
    """Gives each row the row whose caption is 'one' or, for that one, 'five'."""

    version: ClassVar = 1
    reads: ClassVar = ("caption",)
    gathers: ClassVar = ("source_caption", "caption")
    writes: ClassVar = ("target_caption",)

    def open(self, ctx):
        def point(batch):
            ids = [id_of("five" if caption == "one" else "one") for caption in batch["caption"].to_pylist()]
            found = ctx.gather(ids)
            assert found[SAMPLE_ID].to_pylist() == ids
            both = pc.binary_join_element_wise(found["caption"], found["source_caption"], "/")
            return batch.append_column("target_caption", both)

        return point
