import json

import pytest

from evaluation.published import report
from evaluation.published.compare import compare
from evaluation.published.rows import PublishedRow, Row, Table
from evaluation.scores import Scores, Section

B32, L14 = "open_clip:ViT-B-32/openai", "open_clip:ViT-L-14/openai"
DINO = "hf:facebook/dino-vits16"
COMMIT = "@" + "a" * 40
SETTINGS = {"num_steps": 100, "guidance_scale": 7.5, "size_px": 512}


def section_of(num=10, **changed):
    means = {"l1": 0.1, "l2": 0.02, f"clip_i@{B32}": 0.9, f"clip_t@{B32}": 0.3, f"dino@{DINO}": 0.8} | changed
    return Section(num_samples=num, mean=means, num=dict.fromkeys(means, num))


def scores_of(section=None, **changed):
    values = {
        "benchmark": "bench", "dataset": "sha256:0", "system": "mine",
        "editor": {"model": "mine", "settings": SETTINGS, "masks": "none"},
        "judges": {B32: "openai", DINO + COMMIT: "a"}, "views": {"dino": "centre_224"},
        "sections": {"one": section or section_of()}, "baselines": {"copy_source": {"one": section_of(l1=0.05)}},
        "notes": {"split": "test", "num_rows": 10}, "made_at": "", "versions": {},
    }  # fmt: skip
    return Scores(**values | changed)


def row_of(values=None, **changed):
    section = changed.pop("section", "one")
    row = {name: changed.pop(name) for name in ("settings", "note", "masks") if name in changed}
    given = {
        "source": "A 2023, table 2", "run_by": "A", "benchmark": "bench", "clip": "CLIP ViT-B/32",
        "dino": "DINO ViT-S/16", "views": {"dino": "centre_224"}, "masks": "none", "num_samples": {"one": 10},
        "notes": {"split": "test"}, "rows": [],
    }  # fmt: skip
    values = values or {"l1": 0.2, "clip_i": 0.7, "dino": 0.6}
    return PublishedRow(Table(**given | changed), Row(system="theirs", section=section, values=values, **row))


def compared(row, scores=None):
    (found,) = compare(scores or scores_of(), [row]).rows
    return found


def test_a_row_whose_conditions_agree_is_compared():
    found = compared(row_of(settings=SETTINGS))
    assert found.values == {"l1": 0.2, f"clip_i@{B32}": 0.7, f"dino@{DINO}": 0.6}
    assert (found.reasons, found.unknown) == ((), ())


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"num_samples": {"one": 1053}}, "samples: 10 here, 1053 there"),
        ({"masks": "given"}, "masks: none here, given there"),
        ({"settings": {"guidance_scale": 10.5}}, "guidance_scale: 7.5 here, 10.5 there"),
        ({"settings": {"size_px": 256}}, "size_px: 512 here, 256 there"),
        ({"notes": {"split": "validation"}}, "split: test here, validation there"),
        ({"notes": {"num_rows": 3589}}, "num_rows: 10 here, 3589 there"),
    ],
)
def test_a_row_of_other_conditions_is_left_out_and_says_why(changed, reason):
    found = compared(row_of(**changed))
    assert found.values == {}
    assert found.reasons == (reason,)


def test_a_section_that_was_not_scored_is_named():
    assert compared(row_of(), scores_of(sections={"two": section_of()})).reasons == (
        "section 'one' is not scored here",
    )


def test_a_section_that_the_source_does_not_state_is_not_compared():
    found = compared(row_of({"l1": 0.2}, section="not stated"))
    assert (found.values, found.reasons) == ({}, ("its section is not stated",))


@pytest.mark.parametrize(
    ("changed", "reason", "kept"),
    [
        ({"clip": "CLIP ViT-L/14"}, f"clip: {B32} here, CLIP ViT-L/14 there", {"l1", f"dino@{DINO}"}),
        ({"clip": None}, f"clip: {B32} here, not stated there", {"l1", f"dino@{DINO}"}),
        ({"views": {}}, "view of dino: centre_224 here, whole images there", {"l1", f"clip_i@{B32}"}),
        ({"values": {"l1": 1.0, "ssim_m": 0.5}}, "ssim_m is not taken here", {"l1"}),
        ({"values": {"l1": 1.0, "fid_source": 9.0}}, "fid: not taken here, not stated there", {"l1"}),
    ],
)
def test_values_of_other_networks_are_left_out_alone(changed, reason, kept):
    found = compared(row_of(**changed))
    assert found.reasons == (reason,)
    assert set(found.values) == kept


def test_a_miniature_network_is_never_compared():
    section = section_of(**{"clip_i@zoo:clip": 0.9})
    del section.mean[f"clip_i@{B32}"]
    found = compared(row_of({"clip_i": 0.7}), scores_of(section))
    assert found.values == {}
    assert found.reasons == ("clip: zoo:clip here, CLIP ViT-B/32 there",)


def test_of_two_networks_the_one_of_the_row_is_compared():
    scores = scores_of(section_of(**{f"clip_i@{L14}": 0.95}))
    assert compared(row_of({"clip_i": 0.7}), scores).values == {f"clip_i@{B32}": 0.7}
    assert compared(row_of({"clip_i": 0.7}, clip="CLIP ViT-L/14"), scores).values == {f"clip_i@{L14}": 0.7}


def test_a_mean_of_some_samples_is_not_compared():
    section = section_of()
    section.num["l1"] = 7
    assert compared(row_of({"l1": 0.2}), scores_of(section)).reasons == ("l1 is of 7 of 10 samples here",)


def test_masks_of_a_segmenter_are_not_given_ones():
    editor = {"model": "mine", "settings": {}, "masks": {"model": "zoo:clipseg", "threshold": 0.4}}
    found = compared(row_of(masks="given"), scores_of(editor=editor))
    assert found.reasons == ("masks: found by zoo:clipseg here, given there",)


def test_a_setting_that_the_editor_lacks_does_not_apply():
    assert compared(row_of(settings={"image_guidance_scale": 1.5})).values


def test_unknown_conditions_of_outputs_made_elsewhere_are_listed():
    found = compared(row_of(settings=SETTINGS), scores_of(editor=None))
    assert found.values
    assert found.unknown == ("masks", *SETTINGS)
    text = report.as_text(compare(scores_of(editor=None), [row_of(settings=SETTINGS)]))
    assert "not known here: masks, num_steps, guidance_scale, size_px" in text
    assert "states no settings" not in text


def test_the_text_has_ours_baselines_and_theirs_in_one_table():
    rows = [row_of(note="why"), row_of({"clip_t": 0.2}, clip=None, source="B 2024, table 1"), row_of(benchmark="other")]
    lines = report.as_text(compare(scores_of(), rows)).splitlines()
    table = lines[2:6]
    assert table[0].split() == ["one", "(10)", "l1", f"clip_i@{B32}", f"dino@{DINO}"]
    assert table[1].split() == ["here", "0.1000", "0.9000", "0.8000"]
    assert table[2].split() == ["copy_source", "0.0500", "0.9000", "0.8000"]
    assert table[3].split()[:4] == ["theirs", "0.2000", "0.7000", "0.6000"]
    assert table[3].endswith("A 2023, table 2, run by A; why; states no settings of the editor")
    assert "  B 2024, table 1, one: theirs: clip: open_clip:ViT-B-32/openai here, not stated there" in lines
    assert lines[-1] == "published rows of other benchmarks: other 1"


def test_the_note_of_a_table_stands_beside_each_of_its_rows():
    row = row_of(note="why")
    row = PublishedRow(row.table.model_copy(update={"note": "rows are left out"}), row.row)
    assert "A 2023, table 2, run by A; rows are left out; why" in report.as_text(compare(scores_of(), [row]))


def test_rows_left_out_for_one_reason_share_a_line():
    rows = [row_of(num_samples={"one": 9}), row_of(num_samples={"one": 9}), row_of(clip=None)]
    lines = report.as_text(compare(scores_of(), rows)).splitlines()
    assert "  A 2023, table 2, one: theirs | theirs: samples: 10 here, 9 there" in lines
    assert any("theirs (in part): clip: " in line for line in lines)


def test_no_row_is_said_plainly():
    text = report.as_text(compare(scores_of(), [row_of(masks="given")]))
    assert "no published row can be compared" in text


def test_json_has_every_row_with_its_source_and_reasons():
    found = json.loads(json.dumps(report.as_json(compare(scores_of(), [row_of(), row_of(masks="given")]))))
    assert [one["compared"] for one in found["published"]] == [
        {"l1": 0.2, f"clip_i@{B32}": 0.7, f"dino@{DINO}": 0.6}, {}
    ]  # fmt: skip
    assert found["published"][1]["reasons"] == ["masks: none here, given there"]
    assert found["published"][0]["source"] == "A 2023, table 2"
    assert found["baselines"]["copy_source"]["one"]["l1"] == 0.05
