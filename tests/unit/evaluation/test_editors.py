import json
from dataclasses import replace

import numpy as np
import pytest
from _folders import FakeEditor, save
from PIL import Image

from core.errors import EvaluationError
from evaluation import editors
from evaluation.benchmark import EditCase, Output
from evaluation.editors import EditorChoice, run_edits, seed_of
from evaluation.masks import PhraseMasks
from evaluation.pictures import png_texts, save_png

CHOICE = EditorChoice(model="zoo:sd", num_steps=5)


class FakeSegmenter:
    """Finds everything on the left, but no dragon."""

    def segment_phrases(self, images, phrases):
        maps = []
        for image, phrase in zip(images, phrases, strict=True):
            maps.append(np.zeros((image.height, image.width), np.float32))
            maps[-1][:, : image.width // 2] = 0 if phrase == "dragon" else 0.41
        return maps


@pytest.fixture
def editor(monkeypatch):
    fake = FakeEditor()
    loaded = {"Editor": fake, "TextSegmenter": FakeSegmenter()}
    monkeypatch.setattr(editors, "load_model", lambda protocol, *a, **k: loaded[protocol])
    return fake


@pytest.fixture
def cases(tmp_path):
    made = []
    for number in range(3):
        save(np.full((8, 10, 3), 50 * number, np.uint8), tmp_path / f"{number}.png")
        save(np.uint8([[0, 255] * 5] * 8), tmp_path / f"mask{number}.png")
        mask = tmp_path / f"mask{number}.png"
        made.append(
            EditCase(key=f"a/{number}", source=tmp_path / f"{number}.png", prompt=f"p{number}", mask=mask, phrase="cat")
        )
    return made


def pixels(path):
    return np.asarray(Image.open(path))


def refusal(*arguments, **settings):
    with pytest.raises(EvaluationError) as caught:
        run_edits(*arguments, **settings)
    return str(caught.value)


def test_each_case_is_edited_once_with_its_own_prompt_and_seed(tmp_path, editor, cases):
    assert run_edits(cases, tmp_path / "out", CHOICE) == {"a/0": "", "a/1": "", "a/2": ""}
    assert [asked[0] for asked in editor.asked] == ["p0", "p1", "p2"]
    assert [asked[1] for asked in editor.asked] == [seed_of(0, f"a/{number}") for number in range(3)]
    assert len({asked[1] for asked in editor.asked}) == 3
    assert (pixels(tmp_path / "out" / "a" / "1.png") == 205).all()


def test_finished_outputs_are_not_made_again(tmp_path, editor, cases):
    run_edits(cases, tmp_path / "out", CHOICE)
    (tmp_path / "out" / "a" / "1.png").unlink()
    editor.asked.clear()
    run_edits(cases, tmp_path / "out", CHOICE)
    assert [asked[0] for asked in editor.asked] == ["p1"]


def test_no_model_is_loaded_when_nothing_is_to_be_done(tmp_path, editor, cases, monkeypatch):
    run_edits(cases, tmp_path / "out", CHOICE)
    monkeypatch.setattr(editors, "load_model", None)
    run_edits(cases, tmp_path / "out", CHOICE)


def test_seeds_are_of_the_key_and_not_of_the_order():
    assert seed_of(1, "a") != seed_of(0, "a") != seed_of(0, "b")
    assert 0 <= seed_of(0, "a") == seed_of(0, "a") < 2**63


def test_an_output_says_what_made_it(tmp_path, editor, cases):
    run_edits(cases, tmp_path / "out", CHOICE)
    said = json.loads(png_texts(tmp_path / "out" / "a" / "0.png")["editloom"])
    assert (said["model"], said["num_steps"], said["guidance_scale"]) == ("zoo:sd", 5, 7.5)
    assert said["revision"].startswith("sha256:")


@pytest.mark.parametrize(
    ("changed", "expected"),
    [({"guidance_scale": 5.0}, "guidance_scale"), ({"num_steps": 6, "seed": 1}, "num_steps, seed")],
)
def test_outputs_of_other_settings_stop_the_run_and_stay(tmp_path, editor, cases, changed, expected):
    run_edits(cases, tmp_path / "out", CHOICE)
    before = (tmp_path / "out" / "a" / "0.png").read_bytes()
    message = refusal(cases, tmp_path / "out", replace(CHOICE, **changed))
    assert message == (
        f"{tmp_path / 'out' / 'a' / '0.png'} was made with another {expected}; "
        "name another output folder, or remove this one"
    )
    assert (tmp_path / "out" / "a" / "0.png").read_bytes() == before


def test_outputs_of_another_prompt_or_source_stop_the_run(tmp_path, editor, cases):
    run_edits(cases, tmp_path / "out", CHOICE)
    assert "another source, prompt or mask" in refusal([replace(cases[0], prompt="x")], tmp_path / "out", CHOICE)
    save(np.zeros((8, 10, 3), np.uint8), cases[1].source)
    assert "another source, prompt or mask" in refusal(cases[1:2], tmp_path / "out", CHOICE)
    save(np.zeros((8, 10, 3), np.uint8), tmp_path / "out" / "a" / "2.png")
    assert "was made by something else" in refusal(cases[2:], tmp_path / "out", CHOICE)


def test_a_kept_output_with_other_pixels_is_refused(tmp_path, editor, cases):
    run_edits(cases, tmp_path / "out", CHOICE)
    path = tmp_path / "out" / "a" / "1.png"
    other = pixels(path).copy()
    other[0, 0] ^= 1
    save_png(Image.fromarray(other), path, png_texts(path))
    message = refusal(cases, tmp_path / "out", CHOICE)
    assert message == f"{path} is not as it was written; remove it, and it is made again"
    path.unlink()
    run_edits(cases, tmp_path / "out", CHOICE)


@pytest.mark.parametrize("share", ["x", "nan", "2", "-0.5"])
def test_a_kept_output_with_no_share_for_its_mask_is_refused(tmp_path, editor, cases, share):
    run_edits(cases, tmp_path / "out", CHOICE)
    path = tmp_path / "out" / "a" / "1.png"
    save_png(Image.open(path), path, {**png_texts(path), "editloom_mask_frac": share})
    assert "is not as it was written; remove it" in refusal(cases, tmp_path / "out", CHOICE)


@pytest.mark.parametrize("stamp", ["[]", "7", "null", '"x"', "{", "[" * 100_000, "{}"])
def test_a_stamp_of_another_shape_is_an_output_of_something_else(tmp_path, editor, cases, stamp):
    run_edits(cases, tmp_path / "out", CHOICE)
    path = tmp_path / "out" / "a" / "1.png"
    save_png(Image.open(path), path, {"editloom": stamp})
    assert "was made by something else" in refusal(cases, tmp_path / "out", CHOICE)


@pytest.mark.parametrize(
    "settings",
    [{"guidance_scale": float("inf")}, {"guidance_scale": float("nan")}, {"sampling_ratio": float("nan")},
     {"sampling_ratio": 1.5}, {"num_steps": 0}],
)  # fmt: skip
def test_an_editor_with_a_number_out_of_range_is_refused(settings):
    with pytest.raises(EvaluationError, match="expected at least 1, a share of 0 to 1, and a finite number"):
        replace(CHOICE, **settings)


def test_masks_come_from_the_benchmark_or_from_the_phrase(tmp_path, editor, cases):
    given = run_edits([*cases[:1], replace(cases[1], mask=None)], tmp_path / "given", replace(CHOICE, masks="given"))
    assert given == {"a/0": "0.500000", "a/1": "1.000000"}
    assert (pixels(tmp_path / "given" / "a" / "0.png")[0, :, 0] == [0, 255] * 5).all()
    by_phrase = replace(CHOICE, masks=PhraseMasks("zoo:clipseg"))
    cases = [cases[0], replace(cases[1], phrase=""), replace(cases[2], phrase="dragon")]
    found = run_edits(cases, tmp_path / "phrase", by_phrase)
    assert found == {"a/0": "0.500000", "a/1": "1.000000", "a/2": "1.000000"}
    assert run_edits(cases, tmp_path / "phrase", by_phrase) == found
    stricter = replace(CHOICE, masks=PhraseMasks("zoo:clipseg", 0.5))
    assert "was made with another masks" in refusal(cases, tmp_path / "phrase", stricter)


def test_masks_that_no_case_can_have_are_refused(tmp_path, editor, cases):
    bare = [replace(case, mask=None, phrase="") for case in cases]
    assert "no case comes with a mask" in refusal(bare, tmp_path / "out", replace(CHOICE, masks="given"))
    message = refusal(bare, tmp_path / "out", replace(CHOICE, masks=PhraseMasks("zoo:clipseg")))
    assert message.startswith("no case says what its edit changes")


def test_a_case_starts_from_the_output_of_another(tmp_path, editor, cases, monkeypatch):
    monkeypatch.setattr(editors, "CASES_AT_ONCE", 2)
    chain = [replace(cases[0], key=f"b/{n}", source=Output("a/1" if n == 0 else f"b/{n - 1}")) for n in range(3)]
    run_edits([*cases, *chain], tmp_path / "out", CHOICE)
    assert [int(pixels(tmp_path / "out" / f"{key}.png")[0, 0, 0]) for key in ("a/1", "b/0", "b/1", "b/2")] == [
        205, 50, 205, 50,
    ]  # fmt: skip
    assert len(editor.asked) == 6


def test_a_key_that_leads_out_of_the_folder_is_refused(tmp_path, editor, cases):
    assert "expected the name of a file below" in refusal([replace(cases[0], key="../x")], tmp_path / "out", CHOICE)
    assert not (tmp_path / "x.png").exists()
