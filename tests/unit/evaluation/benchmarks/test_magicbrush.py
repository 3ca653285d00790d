import json
import shutil

import numpy as np
import pytest
from _folders import FakeEditor, magicbrush_folder, save
from PIL import Image

from core.errors import EvaluationError
from evaluation import loading
from evaluation.benchmark import Output
from evaluation.benchmarks.magicbrush import MagicBrush
from evaluation.editors import EditorChoice
from evaluation.judges import JudgeIds
from evaluation.run import evaluate
from evaluation.views import centre_224

CHOICE = EditorChoice.of_model("zoo:sd")


@pytest.fixture
def folder(tmp_path):
    return magicbrush_folder(tmp_path / "test", turns=(1, 3))


@pytest.fixture
def editor(monkeypatch):
    fake = FakeEditor()
    monkeypatch.setattr(loading, "load_model", lambda *a, **k: fake)
    return fake


def refusal(folder, **settings):
    with pytest.raises(EvaluationError) as caught:
        MagicBrush().read(folder, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def sessions_of(folder):
    return json.loads((folder / "edit_sessions.json").read_text())


def pixels(path):
    return np.asarray(Image.open(path).convert("RGB"), np.int16)


def test_each_turn_is_edited_from_the_true_image_and_from_the_editors_own(folder):
    cases = {case.key: case for case in MagicBrush().read(folder).cases}
    images = folder / "images"
    assert {key: case.source for key, case in cases.items()} == {
        "139/139_1": images / "139" / "139-input.png",
        "140/140_1": images / "140" / "140-input.png",
        "140/140_inde_2": images / "140" / "140-output1.png",
        "140/140_inde_3": images / "140" / "140-output2.png",
        "140/140_iter_2": Output("140/140_1"),
        "140/140_iter_3": Output("140/140_iter_2"),
    }
    turns = sessions_of(folder)["140"]
    assert cases["140/140_inde_3"].instruction == cases["140/140_iter_3"].instruction == turns[2]["instruction"]


def test_multi_turn_scores_the_last_turn_of_each_session(folder):
    found = {one.key: (one.sections, one.reference.name, one.source) for one in MagicBrush().read(folder).samples}
    assert found == {
        "139/139_1": (("single_turn", "multi_turn"), "139-output1.png", None),
        "140/140_1": (("single_turn",), "140-output1.png", None),
        "140/140_inde_2": (("single_turn",), "140-output2.png", None),
        "140/140_inde_3": (("single_turn",), "140-output3.png", None),
        "140/140_iter_3": (("multi_turn",), "140-output3.png", None),
    }


def test_outputs_have_the_published_names(folder, tmp_path, editor):
    scores = evaluate(MagicBrush().read(folder), tmp_path / "out", editor=CHOICE)
    outputs = tmp_path / "out" / "outputs"
    assert {path.relative_to(outputs).as_posix() for path in outputs.rglob("*.png")} == {
        "139/139_1.png", "140/140_1.png", "140/140_inde_2.png", "140/140_inde_3.png", "140/140_iter_2.png",
        "140/140_iter_3.png",
    }  # fmt: skip
    images = folder / "images" / "140"
    # the fake editor makes negatives: twice of the first turn is the input again
    assert (pixels(outputs / "140" / "140_iter_2.png") == pixels(images / "140-input.png")).all()
    single, multi = scores.sections["single_turn"], scores.sections["multi_turn"]
    assert (single.num_samples, multi.num_samples) == (4, 2)
    alone = [("139", "_1", 1), ("140", "_1", 1), ("140", "_inde_2", 2), ("140", "_inde_3", 3)]
    chain = [("139", "_1", 1), ("140", "_iter_3", 3)]
    for section, pairs in ((single, alone), (multi, chain)):
        expected = [
            np.abs(
                pixels(outputs / s / f"{s}{kind}.png") - pixels(folder / "images" / s / f"{s}-output{turn}.png")
            ).mean()
            for s, kind, turn in pairs
        ]
        assert section.mean["l1"] == pytest.approx(np.mean(expected) / 255)
    assert scores.notes["num_turns"] == 4
    assert scores.notes["num_sessions"] == 2


def test_the_true_images_score_perfectly(folder, tmp_path):
    made = tmp_path / "made"
    for name, turns in sessions_of(folder).items():
        for turn, entry in enumerate(turns, start=1):
            for kind in ("_1",) if turn == 1 else (f"_inde_{turn}", f"_iter_{turn}"):
                (made / name).mkdir(parents=True, exist_ok=True)
                shutil.copy(folder / "images" / name / entry["output"], made / name / f"{name}{kind}.png")
    scores = evaluate(MagicBrush().read(folder), tmp_path / "out", outputs=made, judges=JudgeIds(clip=("zoo:clip",)))
    for section in ("single_turn", "multi_turn"):
        assert scores.value("l1", section) == 0
        assert scores.value("clip_i", section) == pytest.approx(1, abs=1e-5)
        assert scores.value("clip_t", section) == pytest.approx(scores.value("clip_t_target", section), abs=1e-5)
    local = json.loads((folder / "local_descriptions.json").read_text())
    assert [one.target_text for one in MagicBrush().read(folder).samples[1:4]] == list(local["140"].values())


def test_multi_turn_outputs_are_not_needed_for_single_turn(folder, tmp_path, editor):
    only = MagicBrush().read(folder).only(["single_turn"])
    assert not any("iter" in case.key for case in only.cases)
    assert list(evaluate(only, tmp_path / "out", editor=CHOICE).sections) == ["single_turn"]
    chain = MagicBrush().read(folder).only(["multi_turn"])
    assert [case.key for case in chain.cases] == ["139/139_1", "140/140_1", "140/140_iter_2", "140/140_iter_3"]


def test_target_captions_are_the_global_descriptions(folder, tmp_path, editor):
    whole = json.loads((folder / "global_descriptions.json").read_text())
    cases = {case.key: case for case in MagicBrush().read(folder).cases}
    assert cases["140/140_iter_3"].target_caption == whole["140"]["140-output3.png"]
    del whole["140"]["140-output2.png"]
    (folder / "global_descriptions.json").write_text(json.dumps(whole))
    with pytest.raises(
        EvaluationError, match="needs target_caption, which 2 of 6 cases lack, the first of them 140/140_"
    ):
        evaluate(MagicBrush().read(folder), tmp_path / "out", editor=CHOICE)
    (folder / "global_descriptions.json").unlink()
    benchmark = MagicBrush().read(folder)
    assert {case.target_caption for case in benchmark.cases} == {""}
    with pytest.raises(EvaluationError, match="editor zoo:sd needs target_caption, which 6 of 6 cases lack, the first"):
        evaluate(benchmark, tmp_path / "out", editor=CHOICE)


def test_dino_is_shown_the_centre_of_the_image(folder):
    assert MagicBrush().read(folder).views == {"dino": centre_224}


def test_the_layout_of_the_published_script_is_read(tmp_path):
    folder = magicbrush_folder(tmp_path / "test", turns=(2,), has_images_folder=False)
    (folder / "local_descriptions.json").rename(folder / "local_captions.json")
    assert MagicBrush().read(folder).samples[0].target_text
    (folder / "local_captions.json").unlink()
    benchmark = MagicBrush().read(folder)
    assert {one.target_text for one in benchmark.samples} == {None}
    assert benchmark.notes["clip_t"] == "not taken: no local descriptions"


def test_blank_descriptions_of_what_was_removed_are_kept_and_counted(folder):
    local = json.loads((folder / "local_descriptions.json").read_text())
    local["140"]["140-output2.png"] = " "
    (folder / "local_descriptions.json").write_text(json.dumps(local))
    benchmark = MagicBrush().read(folder)
    assert benchmark.notes["num_blank_descriptions"] == 1
    assert benchmark.samples[2].target_text == ""


def test_masks_are_the_transparent_parts_for_editors_that_take_them(folder, tmp_path, editor):
    from dataclasses import replace

    mask = np.zeros((64, 64), bool)
    mask[10:30, 20:50] = True
    before = pixels(folder / "images" / "139" / "139-input.png")
    save(np.dstack([before, np.where(mask, 0, 255)]).astype(np.uint8), folder / "images" / "139" / "139-mask1.png")
    evaluate(MagicBrush().read(folder, limit=1), tmp_path / "out", editor=replace(CHOICE, masks="given"))
    after = pixels(tmp_path / "out" / "outputs" / "139" / "139_1.png")
    assert (after[~mask] == before[~mask]).all()
    assert (after[mask] == 255 - before[mask]).all()


@pytest.mark.parametrize(
    ("sessions", "message"),
    [
        ([], "edit_sessions.json holds a list; expected a JSON object"),
        ({}, "edit_sessions.json holds no session"),
        ({"140": []}, "session '140' is no list of turns; expected one object with an instruction a turn"),
        ({"140": ["x"]}, "session '140' is no list of turns"),
        ({"../140": [{"instruction": "x"}]}, "session '../140' names '../140'; expected the name of a file below"),
        ({"a/140": [{"instruction": "x"}]}, "session 'a/140': the name of a session names a folder"),
        ({"..": [{"input": "a.png", "instruction": "x"}]}, "expected the name of a file below"),
        ({"140": [{"input": "../139/139-input.png", "instruction": "x"}]}, "expected a file of the session's own"),
        ({"140": [{"input": "..\\x.png", "instruction": "x"}]}, "turn 1, input, names"),
        ({"140": [{"instruction": "x"}]}, "turn 1, input, names None; expected the name of a file below"),
        ({"140": [{"input": "140-none.png", "instruction": "x"}]}, "140-none.png', and "),
        ({"140": [{"input": "140-input.png"}]}, "turn 1: field 'instruction' is absent; expected text"),
        ({"140": [{"input": "140-input.png", "instruction": "x", "output": "140-mask1.png"}]}, "no local description"),
    ],
)  # fmt: skip
def test_sessions_that_cannot_be_used_are_named(folder, sessions, message):
    (folder / "edit_sessions.json").write_text(json.dumps(sessions))
    assert message in refusal(folder)


def test_a_folder_without_sessions_is_named(tmp_path):
    assert "edit_sessions.json cannot be read (No such file or directory)" in refusal(tmp_path)
