import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
from _folders import FakeEditor, FakeEncoder, pairs_folder, rows_of
from PIL import Image

from core.errors import EvaluationError, UsageError
from evaluation import loading, run
from evaluation.benchmark import Benchmark
from evaluation.benchmarks.pairs import Pairs
from evaluation.editors import EditorChoice
from evaluation.frechet import frechet_distance, gaussian_of
from evaluation.images import open_rgb
from evaluation.judges import JudgeIds, Judges
from evaluation.run import evaluate
from evaluation.scores import Scores

IDS = JudgeIds(clip=("zoo:clip",), dino=("zoo:dino",), fid=("zoo:dino",))
CHOICE = EditorChoice.of_model("zoo:sd")
EDITOR = {"editor": CHOICE, "judges": IDS}


@pytest.fixture(autouse=True)
def _fakes(monkeypatch):
    monkeypatch.setattr(loading, "load_model", lambda *a, **k: FakeEditor())
    one = FakeEncoder()
    of = lambda ids: dict.fromkeys(ids, one)  # noqa: E731
    monkeypatch.setattr(run, "load_judges", lambda ids, placement: Judges(of(ids.clip), of(ids.dino), of(ids.fid)))


@pytest.fixture
def folder(tmp_path):
    return pairs_folder(tmp_path / "pairs", 5)


def refusal(*arguments, **settings):
    with pytest.raises(EvaluationError) as caught:
        evaluate(*arguments, **settings)
    return str(caught.value)


def test_scores_say_what_was_measured_of_what_with_what(tmp_path, folder):
    benchmark = Pairs().read(folder)
    scores = evaluate(benchmark, tmp_path / "out", **EDITOR)
    assert (scores.benchmark, scores.system, scores.dataset) == ("pairs", "zoo:sd", benchmark.fingerprint())
    assert scores.editor["settings"]["num_steps"] == 50
    assert scores.editor["revision"].startswith("sha256:")
    assert set(scores.judges) == {"zoo:clip", "zoo:dino"}
    assert all(pin.startswith("sha256:") for pin in scores.judges.values())
    assert scores.editor["needs"] == ["target_caption"]
    assert scores.made_at.endswith("+00:00")
    assert scores.versions["torch"]
    assert {name: part.num_samples for name, part in scores.sections.items()} == {
        "all": 5, "replace_noun": 3, "change_colour": 2,
    }  # fmt: skip


def test_means_are_those_of_the_rows_and_both_are_on_disk(tmp_path, folder):
    scores = evaluate(Pairs().read(folder), tmp_path / "out", **EDITOR)
    assert Scores.read(tmp_path / "out") == scores
    rows = pq.read_table(tmp_path / "out" / "samples.parquet").to_pylist()
    for name in ("key", "instruction", "source_caption", "target_caption", "edit_type"):
        assert [row[name] for row in rows] == [row[name] for row in rows_of(folder)]
    for name, section in scores.sections.items():
        chosen = [row for row in rows if name in row["sections"]]
        for metric in ("l1", "l2_inside", "ssim_not_m", "clip_t@zoo:clip", "dino@zoo:dino"):
            assert section.mean[metric] == pytest.approx(np.mean([row[metric] for row in chosen]))
            assert section.num[metric] == len(chosen)
    assert json.loads((tmp_path / "out" / "scores.json").read_text())["sections"]["all"]["num_samples"] == 5
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"outputs", "scores.json", "samples.parquet"}


def test_frechet_distances_are_named_after_the_network(tmp_path, folder):
    section = evaluate(Pairs().read(folder), tmp_path / "out", **EDITOR).sections["all"]
    embed = lambda paths: gaussian_of(FakeEncoder().encode_images([open_rgb(path) for path in paths]))  # noqa: E731
    rows = rows_of(folder)
    edited = embed(tmp_path / "out" / "outputs" / f"{row['key']}.png" for row in rows)
    for kind in ("source", "target"):
        expected = frechet_distance(edited, embed(folder / row[kind] for row in rows))
        assert section.mean[f"fid_{kind}@zoo:dino"] == pytest.approx(expected, rel=1e-4, abs=1e-6)
        assert section.num[f"fid_{kind}@zoo:dino"] == 5


def test_a_value_is_found_by_the_name_of_its_measure(tmp_path, folder):
    scores = evaluate(Pairs().read(folder), tmp_path / "out", **EDITOR)
    assert scores.value("l1") == scores.sections["all"].mean["l1"]
    assert scores.value("clip_t", "replace_noun") == scores.sections["replace_noun"].mean["clip_t@zoo:clip"]
    assert scores.value("clip_t@zoo:clip") == scores.value("clip_t")
    with pytest.raises(KeyError, match="'clip_x' names 0 measures of section 'all'"):
        scores.value("clip_x")
    two = evaluate(
        Pairs().read(folder), tmp_path / "two", editor=CHOICE, judges=JudgeIds(clip=("zoo:clip", "zoo:dino"))
    )
    with pytest.raises(KeyError, match="'clip_t' names 2 measures"):
        two.value("clip_t")


def test_text_for_people_names_each_section_and_measure(tmp_path, folder):
    text = evaluate(Pairs().read(folder), tmp_path / "out", **EDITOR).as_text()
    assert "all (5)" in text
    assert "clip_direction@zoo:clip" in text
    assert "\n  l1 " in text


def test_ready_outputs_are_scored_without_an_editor(tmp_path, folder):
    made = tmp_path / "made"
    made.mkdir()
    for row in rows_of(folder):
        shutil.copy(folder / row["target"], made / f"{row['key']}.png")
    scores = evaluate(Pairs().read(folder), tmp_path / "out", outputs=made, judges=IDS, system="the truth")
    assert (scores.system, scores.editor) == ("the truth", None)
    assert scores.value("l1") == scores.value("l2_inside") == 0
    assert scores.value("dino") == pytest.approx(1)
    assert scores.value("fid_target") == pytest.approx(0, abs=1e-6)
    assert scores.value("fid_source") > 0
    assert not (tmp_path / "out" / "outputs").exists()
    first = made / f"{rows_of(folder)[0]['key']}.png"
    Image.open(first).save(first.with_suffix(".jpg"))
    first.unlink()
    assert evaluate(Pairs().read(folder), tmp_path / "out2", outputs=made).value("l1") > 0


def test_missing_outputs_are_counted_and_the_first_is_named(tmp_path, folder):
    (tmp_path / "made").mkdir()
    message = refusal(Pairs().read(folder), tmp_path / "out", outputs=tmp_path / "made")
    key = rows_of(folder)[0]["key"]
    assert message == (
        f"{tmp_path / 'made'} lacks 5 of 5 outputs, the first of them {key}.png; expected one image a case"
    )
    assert not (tmp_path / "out").exists()


def test_either_an_editor_or_outputs_and_something_to_score(tmp_path, folder):
    message = "expected either an editor or a folder of outputs, not both and not neither"
    assert refusal(Pairs().read(folder), tmp_path) == message
    assert refusal(Pairs().read(folder), tmp_path, editor=CHOICE, outputs=tmp_path) == message
    empty = Benchmark(name="pairs", cases=(), samples=())
    assert refusal(empty, tmp_path, outputs=tmp_path) == "pairs holds nothing to score"


def test_an_editor_in_memory_is_evaluated(tmp_path, folder):
    editor = EditorChoice.of_editor(FakeEditor(), "mine", {"revision": "step 3"}, seed=7)
    scores = evaluate(Pairs().read(folder), tmp_path / "out", editor=editor, judges=IDS)
    assert scores.system == scores.editor["model"] == "mine"
    assert (scores.editor["revision"], scores.editor["seed"]) == ("step 3", 7)
    loaded = evaluate(Pairs().read(folder), tmp_path / "loaded", **EDITOR)
    assert scores.sections == loaded.sections


def test_a_second_call_gives_the_same_scores(tmp_path, folder):
    first = evaluate(Pairs().read(folder), tmp_path / "out", **EDITOR)
    second = evaluate(Pairs().read(folder), tmp_path / "out", **EDITOR)
    assert first.model_copy(update={"made_at": ""}) == second.model_copy(update={"made_at": ""})


def test_a_folder_without_scores_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"scores.json is not there; name a folder that `editloom evaluate` wrote"):
        Scores.read(tmp_path)
    (tmp_path / "scores.json").write_text("{}")
    with pytest.raises(EvaluationError, match="holds no scores"):
        Scores.read(tmp_path)
