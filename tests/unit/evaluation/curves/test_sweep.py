import json

import numpy as np
import pytest
from _folders import FakeEncoder, emu_parquet, emu_rows, magicbrush_folder, pairs_folder
from PIL import Image, ImageEnhance

from core.errors import SettingError, UsageError
from evaluation import loading, run
from evaluation.benchmarks.emu_edit import EmuEdit
from evaluation.benchmarks.magicbrush import MagicBrush
from evaluation.benchmarks.pairs import Pairs
from evaluation.curves.curve import Curve
from evaluation.curves.sweep import Sweep, run_sweep
from evaluation.images import open_rgb
from evaluation.judges import JudgeIds, Judges
from evaluation.metrics import cosines, direction_cosines
from evaluation.scores import Scores
from evaluation.views import squared_224

SWEEP = "guidance_scale=1.0, 3.0,5"
JUDGES = JudgeIds(clip=("zoo:clip",))


class Darker:
    """Makes an image the darker, the larger its guidance is."""

    needs, uses = frozenset({"target_caption"}), frozenset()

    def __init__(self, settings, asked):
        self._guidance, self._asked = settings.guidance_scale, asked

    def edit(self, requests, *, seeds):
        self._asked.append((self._guidance, len(requests)))
        return [ImageEnhance.Color(one.image).enhance(1 / self._guidance) for one in requests]


@pytest.fixture(autouse=True)
def asked(monkeypatch):
    """(guidance, number of images) of each call of an editor."""
    made = []
    monkeypatch.setattr(loading, "load_model", lambda *a, settings, **k: Darker(settings, made))
    monkeypatch.setattr(run, "load_judges", lambda ids, placement: Judges({ids.clip[0]: FakeEncoder()}))
    return made


def sweep_of(text=SWEEP, **settings):
    return Sweep.of_model(text, "zoo:sd", settings)


def test_each_value_has_a_folder_of_outputs_and_scores(tmp_path, asked):
    benchmark = Pairs().read(pairs_folder(tmp_path / "pairs", 3))
    curve = run_sweep(benchmark, tmp_path / "out", sweep_of(num_steps=4), JUDGES)
    assert asked == [(1.0, 3), (3.0, 3), (5.0, 3)]
    assert [point.value for point in curve.points] == [1.0, 3.0, 5.0]
    assert [point.folder for point in curve.points] == [f"guidance_scale={value}" for value in (1.0, 3.0, 5.0)]
    for point in curve.points:
        scores = Scores.read(tmp_path / "out" / point.folder)
        assert scores.editor["settings"]["guidance_scale"] == point.value
        assert scores.editor["settings"]["num_steps"] == 4
        assert scores.views == {"clip": "squared_224"}
        assert point.direction == scores.value("clip_direction")
        assert point.similarity == scores.value("clip_i_source")
    assert curve == Curve.read(tmp_path / "out")
    assert "guidance_scale" not in curve.editor["settings"]
    assert (curve.section, curve.judge, curve.setting, curve.view) == (
        "all",
        "zoo:clip",
        "guidance_scale",
        "squared_224",
    )
    assert Image.open(tmp_path / "out" / "curve.png").size == (960, 640 + 2 * 26)  # with two names below


def test_points_are_means_of_the_published_formulas(tmp_path):
    folder = pairs_folder(tmp_path / "pairs", 3)
    benchmark = Pairs().read(folder)
    curve = run_sweep(benchmark, tmp_path / "out", sweep_of(), JUDGES)
    clip = FakeEncoder()
    source = clip.encode_images(squared_224([open_rgb(one.source) for one in benchmark.samples]))
    before = clip.encode_texts([one.source_text for one in benchmark.samples])
    after = clip.encode_texts([one.target_text for one in benchmark.samples])
    for point in curve.points:
        outputs = tmp_path / "out" / point.folder / "outputs"
        edited = clip.encode_images(squared_224([open_rgb(outputs / f"{one.key}.png") for one in benchmark.samples]))
        assert point.direction == pytest.approx(direction_cosines(source, edited, before, after).mean(), abs=1e-6)
        assert point.similarity == pytest.approx(cosines(source, edited).mean(), abs=1e-6)
        assert point.num == 3
    similarities = [point.similarity for point in curve.points]
    assert similarities == sorted(similarities, reverse=True)
    assert curve.truth.similarity < 1


def test_a_second_call_edits_only_what_is_missing(tmp_path, asked):
    benchmark = Pairs().read(pairs_folder(tmp_path / "pairs", 3))
    first = run_sweep(benchmark, tmp_path / "out", sweep_of(), JUDGES)
    asked.clear()
    min((tmp_path / "out" / "guidance_scale=3.0" / "outputs").glob("*.png")).unlink()
    again = run_sweep(benchmark, tmp_path / "out", sweep_of(f"{SWEEP},7"), JUDGES)
    assert asked == [(3.0, 1), (7.0, 3)]
    assert again.points[:3] == first.points


def test_the_similarity_is_to_the_source_where_it_is_the_reference(tmp_path):
    benchmark = EmuEdit().read(emu_parquet(tmp_path / "emu", emu_rows()))
    curve = run_sweep(benchmark, tmp_path / "out", sweep_of(), JUDGES)
    scores = Scores.read(tmp_path / "out" / curve.points[1].folder)
    assert curve.points[1].similarity == scores.value("clip_i", "kept")
    assert (curve.section, curve.truth) == ("kept", None)


def test_the_truth_is_left_out_without_baselines(tmp_path):
    benchmark = Pairs().read(pairs_folder(tmp_path / "pairs", 2))
    assert run_sweep(benchmark, tmp_path / "out", sweep_of(), JUDGES, has_baselines=False).truth is None


def test_the_file_and_the_text_have_every_point(tmp_path):
    benchmark = Pairs().read(pairs_folder(tmp_path / "pairs", 2))
    curve = run_sweep(benchmark, tmp_path / "out", sweep_of(), JUDGES)
    found = json.loads((tmp_path / "out" / "curve.json").read_text())
    assert [point["value"] for point in found["points"]] == [1.0, 3.0, 5.0]
    assert [line.split()[0] for line in curve.as_text().splitlines()[2:]] == ["1.0", "3.0", "5.0", "ground_truth"]


@pytest.mark.parametrize("text", ["guidance_scale", "guidance_scale=", "=1,2", "guidance_scale=1.0", "a.b=1,2"])
def test_a_text_that_is_no_sweep_is_refused(text):
    with pytest.raises(UsageError, match="is no sweep; expected a setting of the editor and values"):
        sweep_of(text)


def test_values_that_the_editor_refuses_are_named():
    with pytest.raises(SettingError, match=r"unknown key 'guidance' \(did you mean 'guidance_scale'"):
        sweep_of("guidance=1,2")
    with pytest.raises(SettingError, match="got 'much'"):
        sweep_of("guidance_scale=1,much")
    with pytest.raises(UsageError, match=r"has the value 1.0 twice; name each value once"):
        sweep_of("guidance_scale=1,2,1.0")
    with pytest.raises(SettingError, match="both decide one setting; leave one of them out"):
        sweep_of(guidance_scale=2.0)


def test_whole_numbers_and_words_can_be_swept():
    assert list(sweep_of("num_steps=2,4").choices) == [2, 4]
    assert all(type(value) is int for value in sweep_of("num_steps=2,4").choices)


def test_a_benchmark_or_judges_that_give_no_curve_are_refused(tmp_path, asked):
    magicbrush = MagicBrush().read(magicbrush_folder(tmp_path / "mb"))
    with pytest.raises(UsageError, match="needs source image, source caption and target caption, which 5 of 5 samples"):
        run_sweep(magicbrush, tmp_path / "out", sweep_of(), JUDGES)
    pairs = Pairs().read(pairs_folder(tmp_path / "pairs", 2))
    for judges in (JudgeIds(), JudgeIds(clip=("zoo:clip", "zoo:dino"))):
        with pytest.raises(UsageError, match="measured by one CLIP network"):
            run_sweep(pairs, tmp_path / "out", sweep_of(), judges)
    assert asked == []
    assert not (tmp_path / "out").exists()


def test_images_are_squared_as_by_the_published_script():
    import torch

    rng = np.random.default_rng(3)
    for size in ((64, 64), (512, 512), (300, 224)):
        pixels = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        tensor = torch.tensor(pixels).permute(2, 0, 1)[None].float() / 255
        expected = torch.nn.functional.interpolate(tensor, size=224, mode="bicubic", align_corners=False)
        (found,) = squared_224([Image.fromarray(pixels)])
        apart = np.abs(np.asarray(found) / 255 - expected[0].permute(1, 2, 0).clamp(0, 1).numpy())
        assert apart.max() < 0.6 / 255
