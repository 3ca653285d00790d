"""Edits in the files of published datasets: what the reader of such files makes of them is the world's truth."""

import hashlib
import io
import json
from itertools import pairwise

import numpy as np
import pytest
from _inputs import read_rows
from PIL import Image

from stages.read_edit_lines import ReadEditLines
from stages.read_edit_tars import ReadEditTars
from stages.read_edit_triples import ReadEditTriples
from zoo.batches import HELD_OUT_SEED
from zoo.published.parts import turns
from zoo.world import KINDS, edit_mask, render
from zoo.write_edits import EditOrder
from zoo.write_published import LAYOUTS, main

COUNT, SEED = 14, 4
ARTICLES = ("a", "an", "the")


def written(folder, layout, *flags):
    assert main([str(folder), "--layout", layout, "--count", str(COUNT), "--seed", str(SEED), *flags]) == 0
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def read(folder, files, stage=None, **settings):
    written(folder, files)
    rows, notes = read_rows(stage or ReadEditTriples(**settings), folder)
    assert [row["reject_reason"] for row in rows] == [None] * COUNT
    assert set(notes) <= {"entries of sessions that name no image, read as words on all turns after them"}
    return rows


def edits():
    return [edit for _, edit in EditOrder(COUNT, 0, KINDS, world_seed=SEED).edits()]


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(data)))


def assert_close(data, scene):
    """Equal up to what a JPEG file of quality 100 loses."""
    assert np.abs(pixels(data).astype(int) - render(scene)).max() <= 12


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_same_arguments_write_the_same_bytes(tmp_path, layout):
    first = written(tmp_path / "a", layout)
    assert written(tmp_path / "b", layout) == first
    assert written(tmp_path / "c", layout, "--seed", "5") != first


def test_folders_of_pairs_hold_the_texts_and_both_images(tmp_path):
    rows = read(tmp_path, "instruct-pix2pix", layout="pair_folders")
    assert rows[3]["source_key"] == "0000003/7000003"
    assert json.loads((tmp_path / "seeds.json").read_text())[3] == ["0000003", [7_000_003]]
    for row, edit in zip(rows, edits(), strict=True):
        texts = (row["source_caption"], row["instruction"], row["target_caption"])
        assert texts == (edit.source_caption, edit.instruction, edit.target_caption)
        assert_close(row["source_raw"], edit.source)
        assert_close(row["target_raw"], edit.target)


def test_every_other_row_of_the_table_has_its_mask(tmp_path):
    for number, (row, edit) in enumerate(zip(read(tmp_path, "ultraedit"), edits(), strict=True)):
        assert (row["mask_raw"] is not None) == (number % 2 == 1 and edit.kind != "change_style")
        assert (row["edit_object"] is not None) == (row["mask_raw"] is not None)
        assert_close(row["target_raw"], edit.target)
        if row["mask_raw"] is not None:
            assert ((pixels(row["mask_raw"]) >= 128) == edit_mask(edit)).all()


def test_turns_follow_each_other_and_their_masks_are_transparent(tmp_path):
    rows = read(tmp_path, "magicbrush", require_captions=False)
    assert max(row["turn"] for row in rows) > 1
    for before, row in pairwise(rows):
        follows = row["session_id"] == before["session_id"]
        assert row["turn"] == (before["turn"] + 1 if follows else 1)
        assert (row["source_raw"] == before["target_raw"]) == follows
    for row in rows:
        changed = np.abs(pixels(row["source_raw"]).astype(int) - pixels(row["target_raw"])).max(2)
        mask_HW = pixels(row["mask_raw"])[..., 3] == 0
        assert changed[mask_HW].mean() > 5 * changed[~mask_HW].mean() if not mask_HW.all() else mask_HW.any()
        assert (pixels(row["mask_raw"])[..., :3] == pixels(row["source_raw"])).all()


def test_rows_of_omniedit_have_two_wordings(tmp_path):
    for row, edit in zip(read(tmp_path, "omniedit", require_captions=False), edits(), strict=True):
        assert (row["instruction"], row["edit_type"]) == (edit.instruction, edit.kind)
        assert row["instructions"][1:] in ([], [" ".join(w for w in edit.instruction.split() if w not in ARTICLES)])
        assert (pixels(row["source_raw"]) == render(edit.source)).all()
        assert (pixels(row["target_raw"]) == render(edit.target)).all()


@pytest.mark.parametrize(("layout", "stage"), [("imgedit", ReadEditTars()), ("pico-banana", ReadEditLines())])
def test_single_edits_and_sessions_are_those_of_the_world(tmp_path, layout, stage):
    rows = read(tmp_path, layout, stage)
    by_session = {}
    for row in rows:
        by_session.setdefault(row["session_id"], []).append(row)
    single = by_session.pop(None)
    kept = {(edit.instruction, edit.kind): edit for edit in edits()}
    for row in single:
        edit = kept[row["instruction"], row["edit_type"]]
        assert_close(row["source_raw"], edit.source)
        assert_close(row["target_raw"], edit.target)
    order = EditOrder(COUNT, 0, KINDS, world_seed=SEED)
    for row, (_, turn, edit) in zip((r for s in by_session.values() for r in s), turns(order), strict=False):
        assert (row["turn"], row["instruction"]) == (turn, edit.instruction)
        assert_close(row["source_raw"], edit.source)
        assert_close(row["target_raw"], edit.target)
    assert any(len(session) > 1 for session in by_session.values())
    for session in by_session.values():
        assert all(pixels(a["target_raw"]).tolist() == pixels(b["source_raw"]).tolist() for a, b in pairwise(session))


@pytest.mark.parametrize(
    "flags", [["--count", "0"], ["--size-px", "8"], ["--seed", "-1"], ["--seed", str(HELD_OUT_SEED)]]
)
def test_an_order_of_nothing_or_of_held_out_scenes_is_refused(tmp_path, flags):
    with pytest.raises(SystemExit) as stopped:
        main([str(tmp_path / "out"), "--layout", "ultraedit", *flags])
    assert stopped.value.code == 2
    assert not (tmp_path / "out").exists()
