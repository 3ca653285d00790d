"""Rules for every format of exports, and that nothing else knows one by name."""

import ast
import re
from pathlib import Path

import pytest
from _sources import ROOT, imports, sources, texts

from core.errors import UsageError
from export.format import Format
from export.formats import FORMATS, find_format

FOLDER = ROOT / "export" / "formats"
GENERAL = [(path, text) for path, text in sources("export", "cli") if not path.startswith("export/formats/")]


def test_every_file_of_the_folder_is_one_registered_format():
    files = {path.stem for path in FOLDER.glob("*.py")} - {"__init__"}
    assert files == {target.partition(":")[0].rpartition(".")[2] for target in FORMATS.values()}
    assert [path.name for path in FOLDER.iterdir() if path.is_dir() and path.name != "__pycache__"] == []


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_is_found_by_its_own_name(name):
    made = find_format(name)
    assert issubclass(made, Format)
    assert made.name == name
    assert Path(made.__module__.replace(".", "/")).name == name.replace("-", "_")


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_states_its_reader_and_where_its_rules_are_written(name):
    made = find_format(name)
    assert made.version >= 1
    assert made.reader
    assert " at " in made.source or "version" in made.source


@pytest.mark.parametrize("name", FORMATS)
def test_settings_of_a_format_have_defaults_and_a_meaning(name):
    made = find_format(name)
    made()
    own = set(made.model_fields)
    documented = set()
    for kind in made.__mro__:
        if issubclass(kind, Format):
            source = (ROOT / f"{kind.__module__.replace('.', '/')}.py").read_text()
            documented |= documented_fields(source, kind.__name__)
    assert own <= documented


def documented_fields(source, name):
    """Annotated names of a class that are followed by a text."""
    (declared,) = [n for n in ast.parse(source).body if isinstance(n, ast.ClassDef) and n.name == name]
    return {
        one.target.id for one, following in zip(declared.body, declared.body[1:], strict=False)
        if isinstance(one, ast.AnnAssign) and isinstance(following, ast.Expr)
    }  # fmt: skip


def test_page_of_formats_has_a_row_for_each():
    page = (ROOT / "docs" / "export.md").read_text()
    assert re.findall(r"^\| `([a-z][a-z0-9-]+)` \|.*\|.*\|.*\|.*\|.*\|.*\|$", page, re.MULTILINE) == list(FORMATS)


def test_an_unknown_format_is_refused_with_the_nearest_name():
    with pytest.raises(UsageError, match=r"no format is called 'imagefoldr' \(did you mean 'imagefolder'\?\)"):
        find_format("imagefoldr")


def known_formats(path, source):
    """Lines of a module that import or name a format."""
    found = [f"{path}:{line}: imports {name}" for line, name in imports(source) if name.startswith("export.formats.")
             and name.rpartition(".")[2] not in ("FORMATS", "find_format")]  # fmt: skip
    return found + [f"{path}:{line}: names {text}" for line, text in texts(source) if text in FORMATS]


def test_nothing_general_knows_a_format():
    assert len(GENERAL) > 15
    assert [line for path, source in GENERAL for line in known_formats(path, source)] == []


@pytest.mark.parametrize("source", ["from export.formats.bagel import Bagel", "if name == 'ai-toolkit': pass"])
def test_a_module_that_knows_a_format_is_found(source):
    assert known_formats("export/run.py", source)
