"""Rules for every stage of the catalogue. The inputs are in tests/_stage_cases.py."""

import ast
import functools
import hashlib
import importlib
import pickle
import random
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest
from _fakes import sink_shard
from _rounds import run_rounds
from _stage_cases import CASES
from _stage_chains import case_of, planned, stage_of
from pydantic import ValidationError

from pipeline.context import Context
from pipeline.plan.fingerprint import canonical
from pipeline.plan.plugins import load_model, stage_class, stage_names
from pipeline.run.contract import check_expanded, check_mapped, check_source
from pipeline.run.rejects import RejectLog, split
from pipeline.stage import SPEED
from samples.columns import COLUMNS, PARENT_ID, REJECT_DETAIL, REJECT_REASON, SAMPLE_ID

NAMES = stage_names()
HEAVY = ("torch", "transformers", "diffusers", "ray", "PIL", "nltk", "imagehash", "scipy", "wordfreq", "inflect")
LIGHT = {"numpy", "pyarrow", "pydantic", "fsspec"}
OURS = {"core", "pipeline", "stages", "models", "samples"}
FLOATS = {"halffloat": "float16", "float": "float32", "double": "float64"}


def kinds(*wanted):
    return [n for n in NAMES if stage_class(n).kind in wanted]


load_once = functools.cache(load_model)


def context_of(name, tmp_path):
    made = case_of(name).context(tmp_path)
    return Context(**{"stage_name": name, "seed": 0, "loader": load_once, "artifact_dir": tmp_path, **made})


def opened(name, tmp_path, **settings):
    return stage_of(name, **settings).open(context_of(name, tmp_path))


@pytest.fixture
def any_model(monkeypatch):
    """Planning goes through for models that are not there."""
    monkeypatch.setattr("pipeline.plan.plan.model_missing", lambda *_: [])
    monkeypatch.setattr("pipeline.plan.plan.model_revision", lambda model: f"revision of {model}")


def results(name, table, *, parent=False):
    """Result rows, reduced to what the engine keeps."""
    keep = [SAMPLE_ID, *([PARENT_ID] if parent else []), *stage_class(name).writes, REJECT_REASON, REJECT_DETAIL]
    return table.select([n for n in keep if n in table.column_names]).to_pylist()


def by_origin(name, table):
    """The row that went in -> the rows that came out for it."""
    expands = stage_class(name).kind == "expand"
    found = {}
    for row in results(name, table, parent=expands):
        origin = row.get(PARENT_ID) or row[SAMPLE_ID]
        found.setdefault(origin, []).append(row)
    return found


def test_every_stage_has_a_case_and_every_case_a_stage():
    missing = [n for n in NAMES if n not in CASES]
    assert not missing, f"no entry in CASES of tests/_stage_cases.py for {missing}: add one"
    assert sorted(CASES) == NAMES


def test_stage_without_a_case_is_named():
    with pytest.raises(pytest.fail.Exception, match=r"stage score_nothing has no entry in CASES .*: add one"):
        case_of("score_nothing")


def loaded_by(code):
    tail = f"; import sys; print(*(m for m in {HEAVY!r} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code + tail], capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.parametrize("name", NAMES)
def test_importing_a_stage_is_light(name):
    assert loaded_by(f"import stages.{name}") == []


def test_the_check_for_a_light_import_can_fail():
    assert loaded_by("import imagehash") == ["PIL", "imagehash"]


def third_party(source):
    """Third-party packages imported when a module is loaded: at its top, outside `if TYPE_CHECKING`."""
    found = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module.partition(".")[0])
    return found - OURS - sys.stdlib_module_names


@pytest.mark.parametrize("name", NAMES)
def test_stage_imports_only_light_packages_at_its_top(name):
    source = Path(importlib.import_module(f"stages.{name}").__file__).read_text(encoding="utf-8")
    assert third_party(source) <= LIGHT


def test_the_check_for_imports_at_the_top_can_fail():
    assert third_party("import torch.nn\nfrom PIL import Image\nimport json\nfrom pipeline.stage import Stage") == {
        "torch", "PIL",
    }  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_stage_is_a_frozen_value_that_pickles(name):
    stage = stage_of(name)
    assert pickle.loads(pickle.dumps(stage)) == stage
    for setting in [*type(stage).model_fields, "anything"]:
        with pytest.raises(ValidationError):
            setattr(stage, setting, 1)


@pytest.mark.parametrize("name", NAMES)
def test_unknown_setting_is_refused(name):
    with pytest.raises(ValidationError, match="no_such_setting"):
        stage_of(name, no_such_setting=1)


@pytest.mark.parametrize("name", NAMES)
def test_settings_are_plain_data(name):
    dumped = stage_of(name).model_dump(mode="json")
    canonical(dumped)
    assert stage_class(name).model_validate(dumped) == stage_of(name)


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_changes_the_fingerprint(name, any_model):
    fields, others = stage_class(name).model_fields, case_of(name).other
    assert sorted(others) == sorted(fields), f"CASES[{name!r}].other must give another value for every setting"
    base = planned(name, stage_of(name)).fingerprint
    for setting, value in others.items():
        stage = stage_of(name, **{setting: value})
        assert getattr(stage, setting) != getattr(stage_of(name), setting), setting
        changed = planned(name, stage).fingerprint != base
        assert changed == (setting != SPEED), setting


@pytest.mark.parametrize("name", NAMES)
def test_run_on_does_not_change_the_fingerprint(name, any_model):
    stage = stage_of(name)
    assert planned(name, stage).fingerprint == planned(name, stage, workers=3, rows_per_batch=7).fingerprint


@pytest.mark.parametrize("name", NAMES)
def test_class_declares_columns_of_the_schema_and_snake_case_reasons(name):
    cls = stage_class(name)
    assert cls.version >= 1
    assert cls.__doc__
    for declared in (*cls.reads, *cls.reads_if_present, *cls.gathers, *cls.writes):
        assert declared in COLUMNS
    for reason in cls.rejects or ():
        assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", reason.value)


def documented(docstring, header):
    """Columns named `name (type…` in a paragraph of the module's docstring, with their types."""
    match = re.search(rf"^{header} +(.*?)(?=^\w|\Z)", docstring, re.MULTILINE | re.DOTALL)
    assert match, f"the docstring has no {header}"
    return {n: t for n, t in re.findall(r"(\w+) \(([\w<>]+)", match[1]) if n in COLUMNS}


def type_of(name):
    """As Arrow writes it, but with the usual names of floating-point types, and without the fields of a struct."""
    plain = re.sub(r"<\w+: ", "<", re.sub(r"struct<.*>(?=>)", "struct", str(COLUMNS[name].type)))
    return re.sub(r"\b(halffloat|float|double)\b", lambda m: FLOATS[m[0]], plain)


@pytest.mark.parametrize("name", NAMES)
def test_docstring_names_the_columns_that_are_read_and_written(name):
    cls, docstring = stage_class(name), importlib.import_module(f"stages.{name}").__doc__
    reads, writes = documented(docstring, "Reads"), documented(docstring, "Writes")
    needed = stage_of(name).needs_columns()
    assert set(cls.reads) <= set(reads) <= {*cls.reads, *cls.reads_if_present, *needed}
    assert set(needed) <= set(COLUMNS)
    assert sorted(writes) == sorted(cls.writes)
    for column_name, shown in (reads | writes).items():
        assert shown == type_of(column_name), column_name
    for header in ("Drops", "Source"):
        assert re.search(rf"^{header} +\S", docstring, re.MULTILINE), f"the docstring has no {header}"


def test_the_docstring_check_can_fail():
    docstring = "X.\n\nReads   caption (string)\nWrites  width_px (int64, px),\n        turn (int32)\nDrops   nothing\n"
    assert documented(docstring, "Reads") == {"caption": "string"}
    assert documented(docstring, "Writes") == {"width_px": "int64", "turn": "int32"}
    assert type_of("width_px") == "int32"
    assert type_of("source_images") == "list<binary>"
    assert type_of("candidates") == "list<struct>"


@pytest.mark.parametrize("name", kinds("map", "expand"))
def test_rows_are_accounted_for_and_typed_as_declared(name, tmp_path, any_model):
    table = case_of(name).make_input(tmp_path)
    result = opened(name, tmp_path)(table)
    check = check_expanded if stage_class(name).kind == "expand" else check_mapped
    checked = check(planned(name, stage_of(name)), table[SAMPLE_ID].to_pylist(), result)
    for written in stage_class(name).writes:
        assert checked.schema.field(written).type == result.schema.field(written).type == COLUMNS[written].type
    kept, rejected = split(result)
    log = RejectLog(name, "a", [r.value for r in stage_class(name).rejects or ()])
    log.add(rejected)
    assert kept.num_rows, "the input of the case should leave some rows"
    if stage_class(name).rejects:
        assert log.total, "the input of the case should reject some rows"


@pytest.mark.parametrize("name", kinds("map", "expand"))
def test_empty_batch_gives_an_empty_table_of_the_right_columns(name, tmp_path):
    table = case_of(name).make_input(tmp_path)
    result = opened(name, tmp_path)(table.slice(0, 0))
    assert result.num_rows == 0
    for written in (SAMPLE_ID, *stage_class(name).writes):
        assert result.schema.field(written).type == COLUMNS[written].type


@pytest.mark.parametrize("name", kinds("map", "expand"))
@pytest.mark.parametrize("rows_per_batch", [1, 2, 5])
def test_result_is_the_same_for_batches_of_any_size(name, tmp_path, rows_per_batch):
    table = case_of(name).make_input(tmp_path)
    work = opened(name, tmp_path)
    whole = by_origin(name, work(table))
    parts = [work(table.slice(start, rows_per_batch)) for start in range(0, table.num_rows, rows_per_batch)]
    assert [row for part in parts for rows in by_origin(name, part).values() for row in rows] == [
        row for rows in whole.values() for row in rows
    ]


@pytest.mark.parametrize("name", kinds("map", "expand"))
def test_result_is_the_same_for_rows_in_any_order_and_another_worker(name, tmp_path):
    table = case_of(name).make_input(tmp_path)
    whole = by_origin(name, opened(name, tmp_path)(table))
    order = list(range(table.num_rows))
    random.Random(1).shuffle(order)
    mixed = table.take(pa.array(order))
    found = by_origin(name, opened(name, tmp_path)(mixed))
    assert list(found) == mixed[SAMPLE_ID].to_pylist()
    assert found == whole


@pytest.mark.parametrize("name", kinds("map", "expand"))
def test_input_is_left_as_it_was(name, tmp_path):
    table = case_of(name).make_input(tmp_path)
    before = table.to_pylist()
    opened(name, tmp_path)(table)
    assert table.to_pylist() == before


@pytest.mark.parametrize("name", kinds("source"))
def test_source_makes_the_same_typed_rows_at_every_call(name, tmp_path):
    inputs = case_of(name).make_input(tmp_path)
    stage = stage_of(name)
    shards = stage.list_shards(inputs)
    assert len({s.name for s in shards}) == len(shards) > 0
    assert pickle.loads(pickle.dumps(shards)) == shards
    read = opened(name, tmp_path)
    made = planned(name, stage)
    rows = Counter()
    for shard in shards:
        first, again = list(read(shard)), list(read(shard))
        assert [t.to_pylist() for t in first] == [t.to_pylist() for t in again]
        for table in first:
            check_source(made, table)
            rows.update(table[REJECT_REASON].to_pylist())
            kept, _ = split(table)
            for row in kept.to_pylist():
                image_id, _, edit_id = row[SAMPLE_ID].partition("-")
                assert re.fullmatch(r"[0-9a-f]{16}", image_id)
                assert bool(edit_id) == ({"source_raw", "instruction"} <= set(stage.writes)), "an edit has a suffix"
                if "source_raw" in stage.writes:
                    assert hashlib.sha256(row["source_raw"]).hexdigest() == row["source_sha256"]
                    assert row["source_sha256"].startswith(image_id)
    assert rows[None]
    assert set(rows) - {None} <= {r.value for r in stage_class(name).rejects}
    assert len(rows) > 1, "the input of the case should reject some rows"


def artifact_name(cls):
    return cls.artifact if cls.kind == "global" else ""


def artifact_of(cls, folder):
    """The bytes of the artifact's files by name, or empty when there is none."""
    if not artifact_name(cls):
        return {}
    path = folder / cls.artifact
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return {file.name: file.read_bytes() for file in files}


def verdicts(name, tables, tmp_path, **split):
    if stage_class(name).kind == "partitioned":
        return run_rounds(stage_of(name), context_of(name, tmp_path), tables, **split)
    return dict(opened(name, tmp_path)(lambda: list(tables.items())))


@pytest.mark.parametrize("name", kinds("global", "partitioned"))
def test_global_stage_judges_every_row_of_every_shard(name, tmp_path, any_model):
    tables = case_of(name).make_input(tmp_path)
    made, cls = planned(name, stage_of(name)), stage_class(name)
    found = verdicts(name, tables, tmp_path)
    if made.has_rows:
        assert list(found) == list(tables)
        for shard, table in tables.items():
            checked = check_mapped(made, table[SAMPLE_ID].to_pylist(), found[shard])
            reasons = {r for r in checked[REJECT_REASON].to_pylist() if r is not None}
            assert reasons <= {r.value for r in cls.rejects or ()}
    else:
        assert found == {}
    assert not artifact_name(cls) or artifact_of(cls, tmp_path)


@pytest.mark.parametrize("name", kinds("partitioned"))
def test_verdicts_do_not_depend_on_parts_and_groups(name, tmp_path):
    tables = case_of(name).make_input(tmp_path)
    splits = [{"num_parts": parts, "group_size": group} for parts in (1, 3, 8) for group in (1, len(tables))]
    seen = [verdicts(name, tables, tmp_path, **split) for split in splits]
    assert all(found == seen[0] for found in seen)


@pytest.mark.parametrize("name", kinds("global", "partitioned"))
def test_verdicts_do_not_depend_on_how_rows_are_split_into_shards(name, tmp_path):
    tables = case_of(name).make_input(tmp_path)
    together = pa.concat_tables(tables.values())
    cls = stage_class(name)
    seen = []
    for shards in (tables, {"all": together}, {"none": together.slice(0, 0), "z": together}):
        found = verdicts(name, shards, tmp_path)
        rows = [row for table in found.values() for row in results(name, table)]
        seen.append((rows, artifact_of(cls, tmp_path)))
    assert seen[0] == seen[1] == seen[2]


@pytest.mark.parametrize("name", kinds("global", "partitioned"))
def test_global_stage_bears_shards_without_rows(name, tmp_path):
    tables = {shard: table.slice(0, 0) for shard, table in case_of(name).make_input(tmp_path).items()}
    found = verdicts(name, tables, tmp_path)
    assert all(table.num_rows == 0 for table in found.values())


@pytest.mark.parametrize("name", kinds("sink"))
@pytest.mark.parametrize("rows_per_batch", [1, 2, 100])
def test_sink_gives_every_row_back_and_the_same_bytes_for_any_batches(name, tmp_path, rows_per_batch, any_model):
    made = planned(name, stage_of(name))
    for shard, table in case_of(name).make_input(tmp_path).items():
        written = []
        for number, size in enumerate((table.num_rows, rows_per_batch)):
            parts = [table.slice(start, size) for start in range(0, table.num_rows, size)]
            path = tmp_path / f"{shard}-{number}"
            place = sink_shard(path, shard)
            for part, result in zip(parts, opened(name, tmp_path)(place, iter(parts)), strict=True):
                check_mapped(made, part[SAMPLE_ID].to_pylist(), result)
            written.append((path.read_bytes(), place.summary))
        assert written[0] == written[1]
        assert written[0][0]


@pytest.mark.parametrize("name", kinds("sink"))
def test_sink_writes_a_file_for_a_shard_without_rows(name, tmp_path):
    list(opened(name, tmp_path)(sink_shard(tmp_path / "empty"), iter(())))
    assert (tmp_path / "empty").is_file()
