"""Steps of a function in two parts: the same files with threads as without, and what runs when."""

import threading
from types import SimpleNamespace
from typing import ClassVar

import pyarrow as pa
import pytest
from _fakes import Bad, Pixels, ReadLines, entry, plan_of, reasons, rows_of, run

from pipeline.plan.manifest import RunOn
from pipeline.plan.plugins import on_gpu
from pipeline.run import prepare
from pipeline.run.rows import ShardRows
from pipeline.run.suspects import Suspects
from pipeline.run.task import Task
from pipeline.run.worker import Worker
from pipeline.stage import MapStage, TwoPart
from pipeline.store.storage import Storage
from samples.columns import REJECT_REASON, column

LINES = [f"line {n}" for n in range(100)]
SMALL = {"rows_per_batch": 16, "rows_per_forward": 2}
"""Batches of 16 rows in pieces of 4, with `small_pieces`."""


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(prepare, "PIECE_ROWS", 4)


@pytest.fixture
def threads(monkeypatch):
    """Sets the number of threads of every step."""
    return lambda number: monkeypatch.setattr(prepare, "threads_ahead", lambda step: number)


class Halves(MapStage):
    """Capitals in `prepare`, an exclamation mark in `finish`; each fails on captions that ask for it."""

    version: ClassVar = 1
    reads: ClassVar = ("caption",)
    writes: ClassVar = ("source_caption",)
    rejects: ClassVar = Bad
    prepared: ClassVar = staticmethod(lambda captions: None)
    finished: ClassVar = staticmethod(lambda captions: None)

    def open(self, ctx):
        def get_ready(batch):
            captions = batch["caption"].to_pylist()
            self.prepared(captions)
            if any("bad early" in c for c in captions):
                raise ValueError("cannot be prepared")
            return [c.upper() for c in captions]

        def finish(batch, upper):
            captions = batch["caption"].to_pylist()
            self.finished(captions)
            if any("bad late" in c for c in captions):
                raise ValueError("cannot be finished")
            assert upper == [c.upper() for c in captions]
            batch = batch.append_column("source_caption", pa.array([text + "!" for text in upper]))
            return batch.append_column(REJECT_REASON, reasons(captions, "drop", Bad.DROPPED))

        return TwoPart(prepare=get_ready, finish=finish)


class Whole(Halves):
    """The same in one part."""

    def open(self, ctx):
        return super().open(ctx).__call__


def built(tmp_path, stage, lines, **fields):
    plan = plan_of(tmp_path, [ReadLines(), entry(stage, **SMALL)], {"a": lines}, **fields)
    assert run(plan).ok
    name = type(stage).__name__.lower()
    rejects = rows_of(plan, name, "a", ".rejects.parquet") if any("b" in x or "drop" in x for x in lines) else []
    return rows_of(plan, name, "a"), [(r["sample_id"], r["reject_reason"], r["reject_detail"]) for r in rejects]


@pytest.mark.parametrize("number", [0, 1, 3])
def test_rows_and_rejects_are_those_of_a_function_in_one_part(tmp_path, threads, number):
    lines = [*LINES]
    lines[5], lines[50], lines[51], lines[99] = "bad early 1", "bad late", "bad early 2", "drop it"
    threads(number)
    assert built(tmp_path / "two", Halves(), lines) == built(tmp_path / "one", Whole(), lines)


@pytest.mark.parametrize("number", [0, 1, 3])
def test_a_shard_that_fails_too_often_fails_with_the_same_words(tmp_path, threads, number):
    threads(number)
    plan = plan_of(tmp_path, [ReadLines(), entry(Halves(), **SMALL)], {"a": [f"bad early {n}" for n in range(30)]})
    assert run(plan).failures == {
        (1, "a"): "stage halves, shard a: failed on 4 rows, more than the 3 allowed (max_quarantined_frac); "
        "last: ValueError: cannot be prepared"
    }
    assert not [t for t in threading.enumerate() if t.name.startswith("prepare")]


def test_next_rows_are_prepared_while_the_model_runs(tmp_path, threads):
    threads(1)
    ready, late = threading.Event(), []

    class Waits(Halves):
        prepared = staticmethod(lambda captions: ready.set() if "line 4" in captions else None)
        finished = staticmethod(
            lambda captions: late.append(captions) if "line 0" in captions and not ready.wait(20) else None
        )

    assert len(built(tmp_path, Waits(), LINES)[0]) == 100
    assert late == []


def test_as_many_pieces_are_prepared_at_once_as_there_are_threads(tmp_path, threads):
    threads(3)
    together = threading.Barrier(3)

    class Together(Halves):
        prepared = staticmethod(lambda captions: together.wait(20) if captions[0] in LINES[:12] else None)

    assert len(built(tmp_path, Together(), LINES)[0]) == 100


def test_few_rows_are_prepared_ahead(tmp_path, threads):
    threads(2)
    state = SimpleNamespace(prepared=0, finished=0, most=0, lock=threading.Lock())

    def count(captions):
        with state.lock:
            state.prepared += len(captions)
            state.most = max(state.most, state.prepared - state.finished)

    class Counts(Halves):
        prepared = staticmethod(count)

        @staticmethod
        def finished(captions):
            state.finished += len(captions)

    assert len(built(tmp_path, Counts(), LINES)[0]) == 100
    assert 4 < state.most <= 4 * (1 + 2 + 1)


def batch_sizes(tmp_path, monkeypatch, stage, lines):
    """Rows of each batch that was read, of a stage that makes 4 bytes of images a row or more."""
    sizes, real = [], prepare.PreparedBatches._cut

    def cut(self):
        before = self._num_read
        real(self)
        sizes.append(self._num_read - before)

    monkeypatch.setattr(prepare.PreparedBatches, "_cut", cut)
    plan = plan_of(tmp_path, [ReadLines(), entry(stage, rows_per_batch=64, rows_per_forward=2)], {"a": lines})
    assert run(plan).ok
    return [size for size in sizes if size]


class PixelsInTwo(Pixels):
    reads: ClassVar = ("caption",)

    def open(self, ctx):
        def finish(batch, images):
            return batch.append_column("source_images", pa.array(images, column("source_images").type))

        return TwoPart(prepare=lambda batch: [[c.encode()] for c in batch["caption"].to_pylist()], finish=finish)


def test_batches_are_cut_alike_with_and_without_threads(tmp_path, threads, monkeypatch):
    found = {}
    monkeypatch.setattr("pipeline.run.rows.BATCH_BYTES", 3000)
    for number in (0, 1, 4):
        threads(number)
        with monkeypatch.context() as patch:
            found[number] = batch_sizes(
                tmp_path / str(number), patch, PixelsInTwo(), [*LINES, *(f"l {n}" for n in LINES)]
            )
    assert found[0] == found[1] == found[4]
    assert found[0][:2] == [16, 16]  # the size of the results is not known before
    assert max(found[0]) > 16


def outcome(tmp_path, stage, lines, **task):
    """(outcome, spans that were announced) of one attempt."""
    plan = plan_of(tmp_path, [ReadLines(), entry(stage, **SMALL)], {"a": lines}, run_on=RunOn(attempts=1))
    worker = Worker(plan, Storage(plan.out))
    assert worker.run(Task(stage=0, shard="a", input_digest="d")).record
    announced = []
    worker.announce = announced.append
    return worker.run(Task(stage=1, shard="a", input_digest="d", **task)), announced


def test_rows_that_are_prepared_ahead_are_announced_with_those_in_work(tmp_path, threads):
    threads(1)
    started = []

    class Notes(Halves):
        prepared = staticmethod(lambda captions: started.append(int(captions[-1].split()[1]) + 1))

    done, announced = outcome(tmp_path, Notes(), LINES[:32])
    assert done.record
    assert announced[0] == (0, 12)
    assert {at[0] for at in announced} == set(range(0, 32, 4))
    assert all(at[1] == min(32, at[0] + 12) or at[1] <= 16 for at in announced)
    assert max(started) == max(stop for _, stop in announced) == 32


@pytest.mark.parametrize("again", [{"suspects": Suspects(spans=((3, 6),))}, {"halvings": 1}])
def test_after_a_loss_rows_are_prepared_in_the_thread_of_the_model(tmp_path, monkeypatch, again):
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    names = []

    class Notes(Halves):
        prepared = staticmethod(lambda captions: names.append((threading.current_thread().name, len(captions))))

    done, announced = outcome(tmp_path, Notes(), LINES[:8], **again)
    assert done.record
    assert {name for name, _ in names} == {threading.current_thread().name}
    if "suspects" in again:
        assert [size for _, size in names] == [3, 1, 1, 1, 2]
        assert announced == [(0, 3), (3, 4), None, (4, 5), None, (5, 6), None, (6, 8)]


def test_lack_of_memory_in_the_model_halves_the_piece(tmp_path, threads):
    threads(1)
    sizes = []

    def full(captions):
        sizes.append(len(captions))
        if len(captions) > 2:
            raise MemoryError

    class Hungry(Halves):
        finished = staticmethod(full)

    assert len(built(tmp_path, Hungry(), LINES[:8])[0]) == 8
    assert sizes == [4, 2, 2, 4, 2, 2]


def test_a_damaged_file_upstream_fails_the_step_after_the_rows_before(tmp_path, threads, monkeypatch):
    threads(2)
    failed, finished = threading.Event(), []

    class Slow(Halves):
        finished = staticmethod(lambda captions: finished.extend(captions) or failed.wait(20))

    plan = plan_of(tmp_path, [ReadLines(), entry(Slow(), **SMALL)], {"a": LINES})
    worker = Worker(plan, Storage(plan.out))
    assert worker.run(Task(stage=0, shard="a", input_digest="d")).record
    batches = ShardRows.batches

    def broken(self, rows_per_batch, columns=None):
        yield next(batches(self, rows_per_batch, columns))
        failed.set()
        raise OSError("no file")

    monkeypatch.setattr(ShardRows, "batches", broken)
    assert worker.run(Task(stage=1, shard="a", input_digest="d")).message.endswith("OSError: no file")
    assert finished == LINES[:16]
    assert not [t for t in threading.enumerate() if t.name.startswith("prepare")]


def step(suspects=(), halvings=0):
    return SimpleNamespace(
        task=SimpleNamespace(suspects=suspects, halvings=halvings),
        planned=SimpleNamespace(run_on=SimpleNamespace(placement={"device": "auto"})),
    )


@pytest.mark.parametrize(
    ("cores", "given", "gpu", "expected"),
    [(2, "1", False, 0), (2, "", False, 1), (1, "", False, 0), (64, "1", False, 0), (64, "2,1", False, 1),
     (16, "1", True, 4), (4, "1", True, 2), (1, "1", True, 1)],
)  # fmt: skip
def test_threads_are_used_beside_a_gpu_and_on_cores_of_ones_own(monkeypatch, cores, given, gpu, expected):
    monkeypatch.setattr(prepare, "num_cores", lambda: cores)
    monkeypatch.setattr(prepare, "on_gpu", lambda placement: gpu)
    monkeypatch.setenv("OMP_NUM_THREADS", given)
    assert prepare.threads_ahead(step()) == expected
    assert prepare.threads_ahead(step(halvings=1)) == 0


def test_only_a_process_with_torch_has_models_on_a_gpu(monkeypatch):
    import torch

    assert not on_gpu({"device": "cpu"})
    assert on_gpu({"device": "cuda:0"})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert on_gpu({"device": "auto"})
    monkeypatch.delitem(__import__("sys").modules, "torch")
    assert not on_gpu({"device": "auto"})
