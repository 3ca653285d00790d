import json
import time

import pytest
from PIL import Image

from core.errors import TrainingError
from trainer.metrics import Metrics, read_metrics


@pytest.fixture
def out(tmp_path):
    made = Metrics(tmp_path, 0)
    for step in (1, 2, 3):
        made.log(step, {"loss": step / 10}, samples_per_step=4)
    made.close()
    return tmp_path


def test_rows_have_the_step_the_values_and_the_speed(out):
    rows = read_metrics(out)
    assert [(row["step"], row["loss"]) for row in rows] == [(1, 0.1), (2, 0.2), (3, 0.3)]
    assert all(row["samples_per_s"] == pytest.approx(4 / row["step_s"]) for row in rows)


def test_rows_behind_the_step_that_is_resumed_are_taken_back(out):
    Metrics(out, 2).close()
    assert [row["step"] for row in read_metrics(out)] == [1, 2]
    Metrics(out, 0).close()
    assert read_metrics(out) == []


def test_row_that_a_kill_cut_off_is_passed_over(out):
    with (out / "metrics.jsonl").open("a") as handle:
        handle.write('{"step": 4, "lo')
    assert [row["step"] for row in read_metrics(out)] == [1, 2, 3]


def test_tensorboard_has_the_same_values_and_the_grids(out):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    time.sleep(1.05)  # TensorBoard orders files of one second by a number as text, in which 10 comes before 9
    made = Metrics(out, 3)
    made.show(3, Image.new("RGB", (6, 4), "red"))
    made.close()
    assert Image.open(out / "previews" / "step-00000003.png").size == (6, 4)
    board = EventAccumulator(str(out / "tensorboard")).Reload()
    assert [(e.step, round(e.value, 3)) for e in board.Scalars("loss")] == [(1, 0.1), (2, 0.2), (3, 0.3)]
    assert [e.step for e in board.Images("previews")] == [3]


def test_time_for_a_checkpoint_does_not_count_as_training(tmp_path, monkeypatch):
    clock = iter([0.0, 1.0, 2.0, 101.0, 102.0])
    monkeypatch.setattr("trainer.metrics.time.monotonic", lambda: next(clock))
    made = Metrics(tmp_path, 0)
    assert made.log(1, {}, samples_per_step=4)["step_s"] == 1
    with made.paused():
        pass
    assert made.log(2, {}, samples_per_step=4)["step_s"] == 2  # one second before, one after
    made.close()
    assert "gpu_memory_bytes" not in json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[0])


@pytest.mark.parametrize(
    "line", [b"{}", b"[]", b"7", b'{"step": "4"}', b'{"step": true}', b'{"step": 4, "loss": "x"}', b"\xff", b"", b"{"]
)
def test_line_that_no_training_wrote_is_named(out, line):
    with (out / "metrics.jsonl").open("ab") as handle:
        handle.write(line + b"\n")
    with pytest.raises(TrainingError, match=r"metrics.jsonl line 4 is no row of metrics; remove the line, or the file"):
        read_metrics(out)
    with pytest.raises(TrainingError, match=r"metrics.jsonl line 4"):
        Metrics(out, 2)
