import json

import pytest
from _folders import magicbrush_folder, pairs_folder

pytestmark = pytest.mark.usefixtures("models")


@pytest.fixture
def scored(tmp_path, editloom):
    folder, out = magicbrush_folder(tmp_path / "mb"), tmp_path / "out"
    flags = ["--model", "zoo:sd", "--clip", "zoo:clip", "--only", "single_turn"]
    assert editloom("evaluate", "magicbrush", folder, *flags, "--out", out)[0] == 0
    return out


def test_rows_that_do_not_agree_are_named_with_the_reason(scored, editloom):
    code, printed, _ = editloom("compare", scored)
    assert code == 0
    assert "no published row can be compared" in printed
    (line,) = [one for one in printed.splitlines() if "table 2, single_turn: HIVE | SD-SDEdit" in one]
    assert line.endswith(
        "samples: 4 here, 1053 there; clip: zoo:clip here, CLIP ViT-B/32 there; "
        "dino: not taken here, DINO ViT-S/16 there"
    )
    assert "section 'multi_turn' is not scored here" in printed
    assert "published rows of other benchmarks: " in printed


def test_rows_that_agree_stand_beside_ours(scored, editloom):
    """With the number of samples of the published test set."""
    file = scored / "scores.json"
    scores = json.loads(file.read_text())
    section = scores["sections"]["single_turn"]
    section["num_samples"], section["num"] = 1053, dict.fromkeys(section["num"], 1053)
    file.write_text(json.dumps(scores))
    code, printed, _ = editloom("compare", scored)
    assert code == 0
    rows = {line.split("  ")[1]: line.split() for line in printed.splitlines() if line.startswith("  ")}
    assert rows["SD-SDEdit"][1:3] == ["0.1014", "0.0278"]
    assert rows["here"][1] == f"{section['mean']['l1']:.4f}"
    assert "UltraEdit, region given" not in rows
    assert "masks: none here, given there" in printed


def test_several_folders_are_compared_one_after_the_other(tmp_path, scored, editloom):
    pairs = pairs_folder(tmp_path / "pairs", 2)
    assert editloom("evaluate", "pairs", pairs, "--model", "zoo:sd", "--out", tmp_path / "two")[0] == 0
    code, printed, _ = editloom("compare", scored, tmp_path / "two", "--json")
    assert code == 0
    assert [one["benchmark"] for one in json.loads(printed)] == ["magicbrush", "pairs"]
    assert json.loads(printed)[1]["published"] == []


def test_a_folder_without_scores_is_refused(tmp_path, refused):
    message = refused("compare", tmp_path, code=2)
    assert message == f"{tmp_path}/scores.json is not there; name a folder that `editloom evaluate` wrote"
    (tmp_path / "scores.json").write_text("{}")
    assert "holds no scores" in refused("compare", tmp_path, code=1)
    assert "Missing argument 'folders'" in refused("compare", code=2)
