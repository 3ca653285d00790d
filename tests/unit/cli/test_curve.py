import json

import numpy as np
import pytest
from _folders import magicbrush_folder, pairs_folder
from PIL import Image

pytestmark = pytest.mark.usefixtures("models")

SWEEP = ["--model", "zoo:sd", "--sweep", "guidance_scale=1.0,2.0", "--clip", "zoo:clip"]


@pytest.fixture
def swept(tmp_path, editloom):
    folder, out = pairs_folder(tmp_path / "pairs", 2), tmp_path / "a"
    code, printed, _ = editloom("evaluate", "pairs", folder, *SWEEP, "--out", out)
    assert code == 0
    assert "guidance_scale  direction  similarity" in printed
    return out


def changed(source, to, **values):
    """A copy of a curve with other values."""
    to.mkdir()
    (to / "curve.json").write_text(json.dumps(json.loads((source / "curve.json").read_text()) | values))
    return to


def test_a_sweep_writes_points_and_a_plot(swept):
    assert {path.name for path in swept.iterdir()} == {
        "guidance_scale=1.0", "guidance_scale=2.0", "curve.json", "curve.png"
    }  # fmt: skip
    assert {path.name for path in (swept / "guidance_scale=1.0").iterdir()} == {
        "outputs", "scores.json", "samples.parquet"
    }  # fmt: skip


def test_curves_of_several_editors_are_drawn_into_one_plot(tmp_path, swept, editloom):
    other = changed(swept, tmp_path / "b", system="other")
    to = tmp_path / "curves.png"
    assert editloom("curve", swept, other / "curve.json", "--to", to)[:2] == (0, f"{to}\n")
    both = np.asarray(Image.open(to))
    assert both.shape == (640 + 3 * 26, 960, 3)  # with three names below
    assert editloom("curve", swept, "--to", tmp_path / "one.png")[0] == 0
    assert (np.asarray(Image.open(tmp_path / "one.png"))[:640] != both[:640]).any()
    named = tmp_path / "named.png"
    assert editloom("curve", swept, other, "--to", named, "--label", "mine", "--label", "theirs")[0] == 0
    assert (np.asarray(Image.open(named)) != both).any()


def test_true_results_are_drawn_when_a_later_curve_has_them(tmp_path, swept, editloom):
    without, plots = changed(swept, tmp_path / "b", truth=None), []
    for first, second in ((without, swept), (swept, without), (without, without)):
        assert editloom("curve", first, second, "--to", tmp_path / "c.png")[0] == 0
        plots.append((tmp_path / "c.png").read_bytes())
    assert plots[0] == plots[1] != plots[2]


@pytest.mark.parametrize(
    ("values", "flags", "message"),
    [
        ({}, ["--to", "x.jpg"], "x.jpg is no name of a PNG file; expected a name that ends in .png"),
        ({}, ["--to", "x.png", "--label", "a"], "1 labels for 2 curves; give one for each, or none"),
        ({"judge": "zoo:other"}, ["--to", "x.png"], "curves of another judge share no axes: zoo:clip and zoo:other;"),
        ({"dataset": "sha256:0"}, ["--to", "x.png"], "curves of another dataset share no axes: sha256:"),
        ({"section": "local"}, ["--to", "x.png"], "curves of another section share no axes: all and local;"),
    ],
)
def test_curves_without_axes_in_common_are_refused(tmp_path, swept, refused, values, flags, message):
    other = changed(swept, tmp_path / "b", **values)
    assert message in refused("curve", swept, other, *flags, code=2)


def test_a_folder_without_a_curve_is_refused(tmp_path, refused):
    message = refused("curve", tmp_path, "--to", "x.png", code=2)
    assert message == f"{tmp_path}/curve.json is not there; name a folder that `editloom evaluate --sweep` wrote"
    (tmp_path / "curve.json").write_text("{}")
    message = refused("curve", tmp_path, "--to", "x.png", code=1)
    assert message.endswith("curve.json holds no curve; run the sweep that writes it again")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--outputs", "x", "--sweep", "a=1,2"], "--sweep is over a setting of an editor, and --outputs has none"),
        (["--model", "zoo:sd", "--sweep", "a=1,2"], "editor zoo:sd: unknown key 'a'"),
        (["--model", "zoo:sd", "--sweep", "guidance_scale=1"], "'guidance_scale=1' is no sweep; expected a setting"),
        (
            ["--model", "zoo:sd", "--sweep", "num_steps=2,4", "--set", "num_steps=3"],
            "--set num_steps and --sweep num_steps both decide one setting; leave one of them out",
        ),
    ],
)
def test_wrong_usage_of_a_sweep_is_one_line_and_exits_2(flags, message, refused):
    assert message in refused("evaluate", "pairs", "f", "--out", "o", *flags, code=2)


def test_a_benchmark_without_captions_gives_no_curve(tmp_path, refused):
    folder = magicbrush_folder(tmp_path / "mb")
    message = refused("evaluate", "magicbrush", folder, *SWEEP, "--out", tmp_path / "out", code=2)
    assert "a curve needs source image, source caption and target caption" in message
