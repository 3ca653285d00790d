import json
from dataclasses import replace

import numpy as np
import pytest
from _folders import FakeEditor, save
from PIL import Image

from core.errors import EvaluationError, SettingError, UsageError
from evaluation import edit_cases, loading
from evaluation.benchmark import EditCase, Output
from evaluation.edit_cases import run_edits, seed_of
from evaluation.editors import EditorChoice
from evaluation.images import png_texts, save_png
from evaluation.masks import PhraseMasks

CHOICE = EditorChoice.of_model("zoo:sd", {"num_steps": 5})


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
    monkeypatch.setattr(loading, "load_model", lambda protocol, *a, **k: loaded[protocol])
    return fake


@pytest.fixture
def cases(tmp_path):
    made = []
    for number in range(3):
        save(np.full((8, 10, 3), 50 * number, np.uint8), tmp_path / f"{number}.png")
        save(np.uint8([[0, 255] * 5] * 8), tmp_path / f"mask{number}.png")
        mask = tmp_path / f"mask{number}.png"
        texts = {"instruction": f"i{number}", "source_caption": f"s{number}", "target_caption": f"p{number}"}
        made.append(EditCase(key=f"a/{number}", source=tmp_path / f"{number}.png", mask=mask, phrase="cat", **texts))
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
    monkeypatch.setattr(loading, "load_model", None)
    run_edits(cases, tmp_path / "out", CHOICE)


def test_seeds_are_of_the_key_and_not_of_the_order():
    assert seed_of(1, "a") != seed_of(0, "a") != seed_of(0, "b")
    assert 0 <= seed_of(0, "a") == seed_of(0, "a") < 2**63


def test_an_output_says_what_made_it(tmp_path, editor, cases):
    run_edits(cases, tmp_path / "out", CHOICE)
    said = json.loads(png_texts(tmp_path / "out" / "a" / "0.png")["editloom"])
    assert (said["model"], said["seed"], said["masks"], said["needs"]) == ("zoo:sd", 0, "none", ["target_caption"])
    settings = {"num_steps": 5, "guidance_scale": 7.5, "sampling_ratio": 0.7, "size_px": None}
    assert said["settings"] == settings
    assert said["revision"].startswith("sha256:")


@pytest.mark.parametrize(
    ("settings", "seed", "expected"),
    [({"num_steps": 5, "guidance_scale": 5.0}, 0, "guidance_scale"), ({"num_steps": 6}, 1, "num_steps, seed")],
)
def test_outputs_of_other_settings_stop_the_run_and_stay(tmp_path, editor, cases, settings, seed, expected):
    run_edits(cases, tmp_path / "out", CHOICE)
    before = (tmp_path / "out" / "a" / "0.png").read_bytes()
    message = refusal(cases, tmp_path / "out", EditorChoice.of_model("zoo:sd", settings, seed=seed))
    assert message == (
        f"{tmp_path / 'out' / 'a' / '0.png'} was made with another {expected}; "
        "name another output folder, or remove this one"
    )
    assert (tmp_path / "out" / "a" / "0.png").read_bytes() == before


def test_outputs_of_another_text_or_source_stop_the_run(tmp_path, editor, cases):
    run_edits(cases, tmp_path / "out", CHOICE)
    assert "another source, text or mask" in refusal([replace(cases[0], target_caption="x")], tmp_path / "out", CHOICE)
    save(np.zeros((8, 10, 3), np.uint8), cases[1].source)
    assert "another source, text or mask" in refusal(cases[1:2], tmp_path / "out", CHOICE)
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


class Instructed(FakeEditor):
    """Needs an instruction and the caption before; knows of no mask."""

    needs, uses = frozenset({"instruction", "source_caption"}), frozenset({"examples"})

    def edit(self, requests, *, seeds):
        self.requests = requests
        return [one.image for one in requests]


def test_an_editor_is_given_what_it_declares_and_nothing_else(tmp_path, cases):
    mine = Instructed()
    run_edits(cases, tmp_path / "out", EditorChoice.of_editor(mine, "mine", {"settings": {}}))
    assert [(one.instruction, one.source_caption) for one in mine.requests] == [(f"i{n}", f"s{n}") for n in range(3)]
    assert {(one.target_caption, one.mask, one.examples) for one in mine.requests} == {(None, None, ())}


def test_a_text_that_the_editor_does_not_take_is_not_in_the_stamp(tmp_path, cases):
    choice = EditorChoice.of_editor(Instructed(), "mine", {})
    run_edits(cases, tmp_path / "out", choice)
    run_edits([replace(case, target_caption="other") for case in cases], tmp_path / "out", choice)
    message = refusal([replace(cases[0], source_caption="other")], tmp_path / "out", choice)
    assert "was made with another source, text or mask" in message


def test_cases_that_lack_what_the_editor_needs_are_counted(tmp_path, editor, cases):
    cases = [cases[0], replace(cases[1], target_caption=""), replace(cases[2], target_caption="")]
    assert refusal(cases, tmp_path / "out", CHOICE) == (
        "editor zoo:sd needs target_caption, which 2 of 3 cases lack, the first of them a/1; "
        "add it to the benchmark's files, or name another editor"
    )
    assert not (tmp_path / "out").exists()
    run_edits(cases, tmp_path / "out", EditorChoice.of_editor(Instructed(), "mine", {}))


def test_an_editor_may_declare_that_it_needs_the_image(tmp_path, cases):
    mine = FakeEditor()
    mine.needs = frozenset({"image", "target_caption"})
    assert run_edits(cases, tmp_path / "out", EditorChoice.of_editor(mine, "mine", {})).keys() == {"a/0", "a/1", "a/2"}


def test_an_editor_that_needs_examples_is_told_that_there_are_none(tmp_path, cases):
    mine = Instructed()
    mine.needs = frozenset({"examples"})
    message = refusal(cases, tmp_path / "out", EditorChoice.of_editor(mine, "mine", {}))
    assert message.startswith("editor mine needs examples, which 3 of 3 cases lack, the first of them a/0;")


def test_an_editor_that_needs_masks_is_given_those_of_the_benchmark(tmp_path, cases):
    mine = FakeEditor()
    mine.needs, mine.uses = frozenset({"mask", "target_caption"}), frozenset()
    choice = EditorChoice.of_editor(mine, "mine", {})
    assert set(run_edits(cases, tmp_path / "out", choice).values()) == {"0.500000"}
    message = refusal([replace(cases[0], mask=None), *cases[1:]], tmp_path / "other", choice)
    assert message.startswith("editor mine needs mask, which 1 of 3 cases lack, the first of them a/0;")


def test_masks_for_an_editor_that_takes_none_are_refused():
    with pytest.raises(UsageError, match=r"mine takes no mask \(it takes examples, instruction, source_caption\)"):
        EditorChoice.of_editor(Instructed(), "mine", {}, masks="given")


def test_editors_in_memory_are_told_apart_by_their_description(tmp_path, cases):
    run_edits(cases, tmp_path / "out", EditorChoice.of_editor(Instructed(), "mine", {"revision": "1"}))
    message = refusal(cases, tmp_path / "out", EditorChoice.of_editor(Instructed(), "mine", {"revision": "2"}))
    assert "was made with another revision" in message


def test_settings_that_the_editor_does_not_have_are_refused():
    with pytest.raises(SettingError, match=r"editor zoo:sd: unknown key 'num_step' \(did you mean 'num_steps'\?\)"):
        EditorChoice.of_model("zoo:sd", {"num_step": 5})
    with pytest.raises(SettingError, match=r"editor zoo:sd: sampling_ratio: input should be less than or equal to 1"):
        EditorChoice.of_model("zoo:sd", {"sampling_ratio": 1.5})


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
    monkeypatch.setattr(edit_cases, "CASES_AT_ONCE", 2)
    chain = [replace(cases[0], key=f"b/{n}", source=Output("a/1" if n == 0 else f"b/{n - 1}")) for n in range(3)]
    run_edits([*cases, *chain], tmp_path / "out", CHOICE)
    assert [int(pixels(tmp_path / "out" / f"{key}.png")[0, 0, 0]) for key in ("a/1", "b/0", "b/1", "b/2")] == [
        205, 50, 205, 50,
    ]  # fmt: skip
    assert len(editor.asked) == 6


def test_a_key_that_leads_out_of_the_folder_is_refused(tmp_path, editor, cases):
    assert "expected the name of a file below" in refusal([replace(cases[0], key="../x")], tmp_path / "out", CHOICE)
    assert not (tmp_path / "x.png").exists()
