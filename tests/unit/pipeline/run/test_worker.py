import errno
from typing import Annotated, Protocol

import pytest
from _fakes import ReadLines, Upper, entry, plan_of, run

from core.errors import ContractError, MissingDependencyError, ModelError, RunStopped, ShardFailed
from core.settings import Settings
from models import registry
from models.placement import Placement
from pipeline.build.plan_file import plan_record
from pipeline.plan.plugins import load_model
from pipeline.run.run_summary import stage_summary
from pipeline.run.task import Task
from pipeline.run.worker import Worker, classify
from pipeline.stage import Serves
from pipeline.store.run_folder import RunFolder
from pipeline.store.storage import Storage


class OutOfMemoryError(RuntimeError):
    """Called as torch calls its own."""


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MemoryError(), "memory"),
        (OutOfMemoryError("CUDA out of memory"), "memory"),
        (ConnectionResetError(errno.ECONNRESET, "reset"), "retry"),
        (TimeoutError("no answer"), "retry"),
        (OSError(errno.EIO, "bad disk"), "retry"),
        (FileNotFoundError(errno.ENOENT, "gone", "x.tar"), "shard"),
        (PermissionError(errno.EACCES, "no", "x.tar"), "shard"),
        (ShardFailed("no tar"), "shard"),
        (OSError(errno.ENOSPC, "No space left on device", "f"), "stop"),
        (RunStopped("x"), "stop"),
        (ContractError("x"), "stop"),
        (ZeroDivisionError("x"), "stop"),
    ],
)
def test_kind_of_a_failure_follows_from_the_exception(error, kind):
    assert classify(error)[0] == kind


def test_full_disk_says_what_to_do():
    text = classify(OSError(errno.ENOSPC, "No space left on device", "/run/x"))[1]
    assert text == "no space left on device: /run/x; fix the cause and run the same command again"


def test_only_unforeseen_errors_are_called_a_bug():
    assert classify(KeyError("x"))[1] == "KeyError: 'x' (unexpected: a bug in the stage or the engine)"
    assert classify(ContractError("rows lost"))[1] == "rows lost"
    assert classify(MissingDependencyError("no nltk: pip install nltk"))[1] == "no nltk: pip install nltk"


def test_failure_names_stage_and_shard_once(tmp_path):
    plan = plan_of(tmp_path, [ReadLines(), Upper()], {"a": ["boom 1", "boom 2"]})
    worker = Worker(plan, Storage(plan.out))
    (tmp_path / "in/a.lines").unlink()
    outcome = worker.run(Task(stage=0, shard="a", input_digest="d"))
    assert outcome.failure == "shard"
    assert outcome.message.startswith("stage readlines, shard a: no such file or directory: ")
    assert outcome.message.count("shard a") == 1


def test_stage_is_opened_once_for_all_its_tasks(tmp_path, monkeypatch):
    opened = []
    real = ReadLines.open
    monkeypatch.setattr(ReadLines, "open", lambda self, ctx: opened.append(1) or real(self, ctx))
    plan = plan_of(tmp_path, [ReadLines()], {"a": ["one"], "b": ["two"]})
    worker = Worker(plan, Storage(plan.out))
    before = worker.pulse()
    for shard in "ab":
        assert worker.run(Task(stage=0, shard=shard, input_digest="d")).record
    assert opened == [1]
    assert worker.pulse() > before


class Speaker(Protocol):
    """The protocol of the model of `Asks`."""


class Asks(Upper):
    """Loads a model and does not use it."""

    model: Annotated[str, Serves(Speaker)] = "zoo:fake"

    def open(self, ctx):
        ctx.load(Speaker, self.model, prompt="p")
        return super().open(ctx)


@pytest.fixture
def asked(monkeypatch):
    """The calls that load models. There is one model, with a licence."""
    calls = []

    def load(protocol, model_id, placement, **settings):
        calls.append((protocol, model_id, placement, settings))

    monkeypatch.setattr(registry, "load", load)
    monkeypatch.setattr(registry, "missing", lambda model_id, protocol: [])
    monkeypatch.setattr(registry, "revision", lambda model_id: "r1")
    monkeypatch.setattr(registry, "licence", lambda model_id, protocol: "mit")
    return calls


def test_model_is_loaded_by_protocol_with_settings_and_placement(tmp_path, asked):
    plan = plan_of(tmp_path, [ReadLines(), entry(Asks(), device="cpu", dtype="bfloat16", rows_per_forward=3)])
    Worker(plan, Storage(plan.out)).open(1)
    placement = Placement(device="cpu", dtype="bfloat16", batch_size=3)
    assert asked == [("Speaker", "zoo:fake", placement, {"prompt": "p"})]


def test_record_and_plan_name_models_with_revision_and_licence(tmp_path, asked):
    plan = plan_of(tmp_path, [ReadLines(), Asks()])
    assert run(plan).ok
    used = {"zoo:fake": {"revision": "r1", "licence": "mit"}}
    folder = RunFolder(Storage(plan.out))
    records = [folder.record(stage.folder, "a").model_dump() for stage in plan.stages]
    assert [record["models"] for record in records] == [{}, used]
    assert [stage["models"] for stage in plan_record(plan)["stages"]] == [{}, used]
    assert [stage_summary(plan, folder, stage)["licences"] for stage in plan.stages] == [
        {},
        {"zoo:fake": "mit"},
    ]


def test_model_that_cannot_be_loaded_stops_the_run_with_its_own_words(tmp_path, asked, monkeypatch):
    def refuse(*args, **settings):
        raise ModelError("model 'zoo:fake' is of kind 'clip', which cannot serve Speaker")

    monkeypatch.setattr(registry, "load", refuse)
    plan = plan_of(tmp_path, [ReadLines(), Asks()])
    outcome = Worker(plan, Storage(plan.out)).run(Task(stage=1, shard="a", input_digest="d"))
    assert outcome.failure == "stop"
    assert outcome.message == "stage asks, shard a: model 'zoo:fake' is of kind 'clip', which cannot serve Speaker"


def test_bug_in_a_wrapper_is_not_reported_as_a_missing_model(monkeypatch):
    monkeypatch.setattr(registry, "load", lambda *args: {}["x"])
    with pytest.raises(KeyError):
        load_model("Speaker", "zoo:fake")


def test_stages_with_other_batch_sizes_share_a_network(tmp_path):
    worker = Worker(plan_of(tmp_path, [ReadLines()]), Storage(str(tmp_path / "run")))
    placements = [{"device": "cpu", "dtype": "auto", "batch_size": size} for size in (4, 16, 4)]
    one, other, again = (worker._load("ImageTextEncoder", "zoo:clip", placement=each) for each in placements)
    assert one is again
    assert one is not other
    assert one._model is other._model


class Loudness(Settings):
    loudness: int


def test_models_with_equal_settings_are_one(tmp_path, asked):
    worker = Worker(plan_of(tmp_path, [ReadLines()]), Storage(str(tmp_path / "run")))
    for loudness in (1, 2, 1):
        worker._load("Speaker", "zoo:fake", placement={}, settings=Loudness(loudness=loudness))
    assert [call[-1]["settings"].loudness for call in asked] == [1, 2]
