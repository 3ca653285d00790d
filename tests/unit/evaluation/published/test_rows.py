import re

import pytest

from core.errors import SettingError
from evaluation import views
from evaluation.benchmarks import BENCHMARKS
from evaluation.measure import MEASURES
from evaluation.published.rows import CHECKPOINTS_FILE, FOLDER, NOT_STATED, checkpoints, published_rows, rows_in

ROWS = published_rows()


def row_of(system, section, source):
    (found,) = [
        one for one in ROWS
        if (one.row.system, one.row.section) == (system, section) and source in one.table.source
    ]  # fmt: skip
    return found


@pytest.mark.parametrize(
    ("system", "section", "source", "values"),
    [
        ("InstructPix2Pix", "single_turn", "MagicBrush (arXiv 2306.10012), table 2",
         {"l1": 0.1122, "l2": 0.0371, "clip_i": 0.8524, "dino": 0.7428, "clip_t": 0.2764}),
        ("UltraEdit, region given", "multi_turn", "UltraEdit (arXiv 2407.05282v2), table 4",
         {"l1": 0.0745, "l2": 0.0236, "clip_i": 0.9045, "dino": 0.8505}),
        ("UltraEdit, 3M", "kept", "UltraEdit (arXiv 2407.05282v2), table 5",
         {"clip_direction": 0.1076, "clip_t": 0.2832, "l1": 0.0713, "clip_i": 0.8446, "dino": 0.7937}),
        ("UltraEdit, 1M without anchors", "kept", "UltraEdit (arXiv 2407.05282v2), table 6",
         {"clip_direction": 0.0638}),
        ("UIP2P, CC12M", "single_turn", "UIP2P (arXiv 2412.15216v1), table 5",
         {"l1": 0.0619, "l2": 0.0174, "clip_i": 0.9318, "dino": 0.9039, "clip_t": 0.2964}),
        ("iEdit-M", "generated", "iEdit (arXiv 2305.05947), table 1a",
         {"clip_score": 66.36, "fid_source": 114, "ssim_m": 0.8308, "ssim_not_m": 0.7818}),
        ("Beyond Editing Pairs, 5M", "not stated", "Beyond Editing Pairs", {"clip_direction": 0.1088, "dino": 0.8337}),
        ("InstructGIE", "all", "InstructGIE, comparison", {"fid_target": 7.57, "clip_direction": 0.27}),
    ],
)  # fmt: skip
def test_rows_have_the_published_values(system, section, source, values):
    assert row_of(system, section, source).row.values == values


def test_every_row_is_one_of_a_kind_and_has_a_source():
    keys = [(one.table.source, one.row.system, one.row.section) for one in ROWS]
    assert len(set(keys)) == len(keys) > 80
    for one in ROWS:
        assert one.table.source
        assert one.table.run_by
        assert one.row.values


def test_every_file_is_read():
    files = {path.name for path in FOLDER.glob("*.toml")} - {CHECKPOINTS_FILE}
    assert files == {
        "magicbrush.toml", "ultraedit.toml", "uip2p.toml", "iedit.toml", "beyond_editing_pairs.toml",
        "instructgie.toml", "emu_edit.toml",
    }  # fmt: skip


def test_values_of_networks_name_the_network_or_that_it_is_not_stated():
    for one in ROWS:
        for metric in one.row.values:
            kind = metric.partition("_")[0]
            if kind in MEASURES:
                named = one.network(kind)
                assert named == NOT_STATED or named in checkpoints()[kind], (one.table.source, metric)


def test_names_of_measures_sections_and_views_are_ours():
    ours = re.compile(r"(l1|l2|clip_i|clip_t|dino|clip_direction|clip_score|fid|ssim)(_\w+)?")
    for one in ROWS:
        assert all(ours.fullmatch(metric) for metric in one.row.values)
        assert all(hasattr(views, name) for name in one.table.views.values())
        if one.table.benchmark in BENCHMARKS:
            assert one.row.section in {"single_turn", "multi_turn", "kept", "undropped", "not stated"}


def test_marks_say_which_values_are_not_from_a_table():
    marks = {(one.table.source, one.table.mark) for one in ROWS if one.table.mark != "paper"}
    assert {mark for source, mark in marks if "figure" in source or "heat map" in source} == {"figure"}
    for name in ("Emu Edit (arXiv", "Beyond Editing Pairs", "InstructGIE"):
        assert {mark for source, mark in marks if name in source} == {"second hand"}


def test_inferred_settings_of_ultraedit_are_marked_and_of_the_whole_split():
    tables = {one.table.source: one.table for one in ROWS if "UltraEdit (arXiv" in one.table.source}
    assert len(tables) == 4
    assert all(table.conditions_from.startswith("inferred: ") for table in tables.values())
    emu = [table for table in tables.values() if table.benchmark == "emu_edit"]
    assert [table.notes for table in emu] == [{"split": "test", "num_rows": 3589}] * 3
    for one in ROWS:
        if "heat map" in one.table.source:  # trained with regions, whose text guidance is at least 10.5
            assert one.settings["guidance_scale"] == 10.5


def test_a_rows_own_conditions_stand_over_its_tables(tmp_path):
    path = tmp_path / "t.toml"
    path.write_text(
        '[[tables]]\nsource = "s"\nrun_by = "r"\nbenchmark = "b"\nmasks = "none"\nsettings = { a = 1, b = 2 }\n'
        '[[tables.rows]]\nsystem = "x"\nsection = "y"\nvalues = { l1 = 1 }\nmasks = "given"\nsettings = { b = 3 }\n'
        '[[tables.rows]]\nsystem = "z"\nsection = "y"\nvalues = { l1 = 1 }\n'
    )
    first, second = rows_in([path])
    assert (first.masks, first.settings) == ("given", {"a": 1, "b": 3})
    assert (second.masks, second.settings) == ("none", {"a": 1, "b": 2})
    assert second.network("clip") == NOT_STATED


def test_an_unknown_key_of_a_table_is_named(tmp_path):
    path = tmp_path / "t.toml"
    path.write_text('[[tables]]\nsource = "s"\nrunby = "r"\n')
    with pytest.raises(SettingError, match=r"t.toml, table 1: unknown key 'runby' \(did you mean 'run_by'\?\)"):
        rows_in([path])
