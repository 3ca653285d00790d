import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from _folders import FakeEditor, FakeEncoder, emu_parquet, emu_rows, magicbrush_folder, pairs_folder, rows_of
from PIL import Image

from evaluation import loading, run
from evaluation.baselines import baselines_of
from evaluation.benchmarks.emu_edit import EmuEdit
from evaluation.benchmarks.magicbrush import MagicBrush
from evaluation.benchmarks.pairs import Pairs
from evaluation.editors import EditorChoice
from evaluation.judges import JudgeIds, Judges
from evaluation.run import evaluate

IDS = JudgeIds(clip=("zoo:clip",), dino=("zoo:dino",), fid=("zoo:dino",))
CHOICE = EditorChoice.of_model("zoo:sd")


class CountingEncoder(FakeEncoder):
    seen = 0

    def encode_images(self, images):
        self.seen += len(images)
        return super().encode_images(images)


@pytest.fixture(autouse=True)
def encoder(monkeypatch):
    one = CountingEncoder()
    of = lambda ids: dict.fromkeys(ids, one)  # noqa: E731
    monkeypatch.setattr(loading, "load_model", lambda *a, **k: FakeEditor())
    monkeypatch.setattr(run, "load_judges", lambda ids, placement: Judges(of(ids.clip), of(ids.dino), of(ids.fid)))
    return one


def scored(benchmark, out, **settings):
    return evaluate(benchmark, out, editor=CHOICE, judges=IDS, **settings)


def pixels(path):
    return np.asarray(Image.open(path).convert("RGB"), np.float64) / 255


def test_a_copy_is_the_source_and_the_truth_is_the_reference(tmp_path):
    folder = pairs_folder(tmp_path / "pairs", 5)
    scores = scored(Pairs().read(folder), tmp_path / "out")
    rows = rows_of(folder)
    apart = [np.abs(pixels(folder / row["source"]) - pixels(folder / row["target"])).mean() for row in rows]
    assert scores.value("l1", baseline="copy_source") == pytest.approx(np.mean(apart))
    assert scores.value("clip_direction", baseline="copy_source") == 0
    assert scores.value("clip_i_source", baseline="copy_source") == pytest.approx(1)
    assert scores.value("ssim_m", baseline="copy_source") == pytest.approx(1)
    assert scores.value("fid_source", baseline="copy_source") == pytest.approx(0, abs=1e-6)
    assert scores.value("l1", baseline="ground_truth") == 0
    assert scores.value("clip_i", baseline="ground_truth") == pytest.approx(1)
    assert scores.value("clip_t", baseline="ground_truth") == pytest.approx(scores.value("clip_t_target"))
    assert list(scores.baselines["copy_source"]) == list(scores.sections)


def test_baselines_equal_the_scores_of_the_same_images_as_outputs(tmp_path):
    folder = pairs_folder(tmp_path / "pairs", 4)
    scores = scored(Pairs().read(folder), tmp_path / "out")
    for name, column in (("copy_source", "source"), ("ground_truth", "target")):
        made = tmp_path / name
        made.mkdir()
        for row in rows_of(folder):
            Image.open(folder / row[column]).save(made / f"{row['key']}.png")
        alone = evaluate(Pairs().read(folder), tmp_path / f"{name}-out", outputs=made, judges=IDS)
        for section, of in alone.sections.items():
            same = scores.baselines[name][section]
            assert same.num == of.num
            assert same.mean == pytest.approx(of.mean, abs=1e-5)


def test_the_copy_of_the_last_turn_is_the_first_source(tmp_path):
    folder = magicbrush_folder(tmp_path / "mb", turns=(1, 3))
    scores = scored(MagicBrush().read(folder), tmp_path / "out")
    images = folder / "images"

    def apart(session, before, after):
        one, other = (pixels(images / session / f"{session}-{name}.png") for name in (before, after))
        return np.abs(one - other).mean()

    single = [
        apart("139", "input", "output1"), apart("140", "input", "output1"), apart("140", "output1", "output2"),
        apart("140", "output2", "output3"),
    ]  # fmt: skip
    multi = [apart("139", "input", "output1"), apart("140", "input", "output3")]
    copy = scores.baselines["copy_source"]
    assert copy["single_turn"].mean["l1"] == pytest.approx(np.mean(single))
    assert copy["multi_turn"].mean["l1"] == pytest.approx(np.mean(multi))
    assert scores.value("l1", "multi_turn", baseline="ground_truth") == 0


def test_a_benchmark_without_true_results_has_no_row_of_them(tmp_path):
    benchmark = EmuEdit().read(emu_parquet(tmp_path / "emu", emu_rows()))
    assert set(baselines_of(benchmark)) == {"copy_source"}
    scores = scored(benchmark, tmp_path / "out")
    assert set(scores.baselines) == {"copy_source"}
    assert scores.value("l1", baseline="copy_source") == 0


def test_baselines_of_outputs_made_elsewhere_need_no_editor(tmp_path):
    folder = pairs_folder(tmp_path / "pairs", 2)
    first = scored(Pairs().read(folder), tmp_path / "out")
    again = evaluate(Pairs().read(folder), tmp_path / "again", outputs=tmp_path / "out" / "outputs", judges=IDS)
    assert again.baselines == first.baselines


def test_baselines_cost_no_further_embedding(tmp_path, encoder):
    benchmark = Pairs().read(pairs_folder(tmp_path / "pairs", 5))
    scored(benchmark, tmp_path / "out", has_baselines=False)
    alone, encoder.seen = encoder.seen, 0
    scored(benchmark, tmp_path / "out")
    assert encoder.seen == alone > 0


def test_baselines_can_be_left_out(tmp_path):
    scores = scored(Pairs().read(pairs_folder(tmp_path / "pairs", 2)), tmp_path / "out", has_baselines=False)
    assert scores.baselines == {}
    assert json.loads((tmp_path / "out" / "scores.json").read_text())["baselines"] == {}
    assert "copy_source" not in scores.as_text()


def test_baselines_stand_in_columns_and_beside_each_sample(tmp_path):
    folder = pairs_folder(tmp_path / "pairs", 4)
    scores = scored(Pairs().read(folder), tmp_path / "out")
    heading, *lines = scores.as_text().split("\n\n")[1].splitlines()
    assert heading.split() == ["all", "(4)", "system", "copy_source", "ground_truth"]
    (l1,) = [line.split() for line in lines if line.split()[0] == "l1"]
    assert [float(text) for text in l1[1:]] == pytest.approx(
        [scores.value("l1"), scores.value("l1", baseline="copy_source"), 0], abs=5e-5
    )
    rows = pq.read_table(tmp_path / "out" / "samples.parquet").to_pylist()
    assert np.mean([row["copy_source.l1"] for row in rows]) == pytest.approx(scores.value("l1", baseline="copy_source"))


def test_a_measure_that_a_baseline_lacks_is_a_dash(tmp_path):
    scores = scored(Pairs().read(pairs_folder(tmp_path / "pairs", 2)), tmp_path / "out")
    section = scores.baselines["copy_source"]["all"]
    less = section.model_copy(update={"mean": {"l1": 0.5}})
    text = scores.model_copy(update={"baselines": {"copy_source": {"all": less}}}).as_text()
    (dino,) = [line.split() for line in text.splitlines() if line.split()[:1] == ["dino@zoo:dino"]][:1]
    assert dino[-1] == "-"
