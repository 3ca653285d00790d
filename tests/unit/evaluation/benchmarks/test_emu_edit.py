import json
import logging

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from _folders import FakeEditor, emu_images, emu_parquet, emu_rows

from core.errors import EvaluationError
from evaluation import loading
from evaluation.benchmarks.emu_edit import EmuEdit, is_unusable
from evaluation.editors import EditorChoice
from evaluation.images import open_rgb, read_bytes
from evaluation.judges import JudgeIds
from evaluation.run import evaluate
from evaluation.views import centre_224


def refusal(folder, **settings):
    with pytest.raises(EvaluationError) as caught:
        EmuEdit(**settings).read(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def with_bad_rows(count=6):
    rows = emu_rows(count)
    rows[1]["output_caption"] = rows[1]["input_caption"].upper() + "."
    rows[4]["input_caption"] = "A train station in city"
    return rows


@pytest.mark.parametrize("write", [emu_parquet, emu_images])
def test_both_layouts_are_read_alike(tmp_path, write):
    rows = emu_rows()
    benchmark = EmuEdit().read(write(tmp_path / "emu", rows))
    assert [case.key for case in benchmark.cases] == ["0", "1", "2", "3"]
    for case, sample, row in zip(benchmark.cases, benchmark.samples, rows, strict=True):
        assert (np.asarray(open_rgb(case.source)) == row["image"]).all()
        texts = (row["instruction"], row["input_caption"], row["output_caption"])
        assert (case.instruction, case.source_caption, case.target_caption) == texts
        assert sample.source == sample.reference == case.source
        assert (sample.source_text, sample.target_text) == (row["input_caption"], row["output_caption"])
        assert sample.sections == ("kept", "undropped", f"task:{row['task']}")
        assert sample.facts["hash"] == row["hash"]


def test_number_of_rows_without_the_text_of_an_editor_is_logged(tmp_path):
    rows = emu_rows()
    rows[2]["output_caption"] = " "
    choice = EditorChoice.of_model("zoo:sd")
    benchmark = EmuEdit().read(emu_parquet(tmp_path / "emu", rows))
    assert benchmark.views == {"dino": centre_224}
    with pytest.raises(EvaluationError, match="needs target_caption, which 1 of 4 cases lack, the first of them 2;"):
        evaluate(benchmark, tmp_path / "out", editor=choice)


def test_rows_with_unusable_captions_are_dropped_and_listed(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        benchmark = EmuEdit().read(emu_parquet(tmp_path, with_bad_rows()))
    assert "2 of 6 rows dropped for their captions: idx 1, 4" in caplog.text
    assert benchmark.notes["num_dropped"] == 2
    assert benchmark.notes["dropped_idx"] == ["1", "4"]
    sections = {one.key: one.sections for one in benchmark.samples}
    assert sections["1"] == sections["4"] == ("undropped",)
    assert sum("kept" in found for found in sections.values()) == 4
    assert sum("undropped" in found for found in sections.values()) == 6


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("a red car", "a blue car", False),
        ("a red car", "a  Red car. ", True),
        ("", "a car", True),
        ("a car", " ", True),
        ("a car", "a train station in city, at night", True),
        ("a train station in a city", "a bus station in a city", False),
    ],
)
def test_captions_without_an_edit_are_unusable(before, after, expected):
    assert is_unusable(before, after) == expected


def test_only_rows_of_the_split_are_taken(tmp_path):
    rows = emu_rows()
    for row in rows[:3]:
        row["split"] = "validation"
    folder = emu_parquet(tmp_path, rows)
    assert [case.key for case in EmuEdit().read(folder).cases] == ["3"]
    assert [case.key for case in EmuEdit(split="validation").read(folder, limit=2).cases] == ["0", "1"]
    assert refusal(folder, split="train") == f"{tmp_path} holds no row of the split 'train'; set another split"


def test_scores_are_against_the_source_and_of_both_clip_models(tmp_path, monkeypatch):
    real = loading.load_model
    load = lambda protocol, *a, **k: FakeEditor() if protocol == "Editor" else real(protocol, *a, **k)  # noqa: E731
    monkeypatch.setattr(loading, "load_model", load)
    judges = JudgeIds(clip=("zoo:clip",), dino=("zoo:dino",))
    benchmark = EmuEdit().read(emu_parquet(tmp_path / "emu", with_bad_rows()))
    scores = evaluate(benchmark, tmp_path / "out", editor=EditorChoice.of_model("zoo:sd"), judges=judges)
    assert list(scores.sections) == ["kept", "undropped", "task:local", "task:texture"]
    assert [part.num_samples for part in scores.sections.values()] == [4, 6, 2, 2]
    measures = {"l1", "l2", "clip_i@zoo:clip", "clip_t@zoo:clip", "clip_score@zoo:clip", "clip_direction@zoo:clip"}
    assert set(scores.sections["kept"].mean) == measures | {"dino@zoo:dino"}
    source = open_rgb(benchmark.samples[0].source)
    expected = np.abs(255 - 2 * np.asarray(source, float)).mean() / 255
    assert scores.sections["task:local"].num_samples == 2
    single = evaluate(EmuEdit().read(tmp_path / "emu", limit=1), tmp_path / "one", outputs=tmp_path / "out" / "outputs")
    assert single.value("l1") == pytest.approx(expected)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"idx": 0}, "idx is 0; expected a number that no other row has"),
        ({"file_name": "../x.png"}, "line 2, file_name, names '../x.png'; expected the name of a file below"),
        ({"file_name": None}, "line 2, file_name, names None; expected"),
        ({"idx": "../x"}, "line 2, idx, names '../x'; expected the name of a file below"),
        ({"idx": None}, "idx is None; expected a number that no other row has"),
        ({"input_caption": 3}, "line 2: field 'input_caption' is 3; expected text"),
    ],
)
def test_rows_that_cannot_be_used_are_named(tmp_path, values, message):
    folder = emu_images(tmp_path, emu_rows())
    rows = [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]
    rows[1] |= values
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert message in refusal(folder)


def test_tables_that_cannot_be_used_are_named(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"image": [b""], "idx": [1]}), tmp_path / "a.parquet")
    assert "a.parquet has no column input_caption, instruction, output_caption, task; expected the Emu" in refusal(
        tmp_path
    )
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and nothing else")
    assert "a.parquet cannot be read as Parquet (" in refusal(tmp_path)
    assert "metadata.jsonl cannot be read" in refusal(tmp_path / "none")


def test_columns_that_are_not_used_may_hold_anything(tmp_path):
    folder = emu_parquet(tmp_path, emu_rows())
    file = folder / "test-00000-of-00001.parquet"
    table = pq.read_table(file)
    odd = pa.array([2**62] * len(table), pa.timestamp("us"))
    pq.write_table(table.append_column("made_at", odd), file)
    assert len(EmuEdit().read(folder).cases) == len(emu_rows())


def test_an_image_that_cannot_be_read_from_its_file_is_named(tmp_path):
    folder = emu_parquet(tmp_path, emu_rows())
    (case, *_) = EmuEdit().read(folder).cases
    (folder / "test-00000-of-00001.parquet").write_bytes(b"PAR1" + bytes(100) + b"PAR1")
    with pytest.raises(EvaluationError, match=r"test-00000-of-00001.parquet row group 0 row 0 column image cannot be"):
        read_bytes(case.source)
