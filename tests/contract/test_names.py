"""Names of tests are short sentences of one claim, and no folder of tests has a name that pytest leaves out."""

import ast
from fnmatch import fnmatch

import pytest
from _sources import ROOT

LONGEST = 70


def wrong_names(path, source):
    """Names of a file's tests that are too long, start otherwise than `test_`, or are there twice."""
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    names = [node.name for node in nodes if node.name.startswith("test")]
    found = [f"{path}: {name}: {len(name)} characters" for name in names if len(name) > LONGEST]
    found += [f"{path}: {name}: expected test_" for name in names if not name.startswith("test_")]
    return found + [f"{path}: {name}: twice" for name in sorted(set(names)) if names.count(name) > 1]


def test_names_of_tests_are_at_most_70_characters():
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    assert len(files) > 100
    assert [
        wrong
        for path in files
        for wrong in wrong_names(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))
    ] == []


def test_pytest_looks_into_every_folder_of_tests(request):
    left_out = request.config.getini("norecursedirs")
    folders = {folder for path in (ROOT / "tests").rglob("test_*.py") for folder in path.relative_to(ROOT).parents}
    assert [folder for folder in folders if any(fnmatch(folder.name, name) for name in left_out)] == []


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (f"def test_{'x' * 66}(): pass", "71 characters"),
        ("def testing(): pass", "expected test_"),
        ("def test_a(): pass\nasync def test_a(): pass", "twice"),
    ],
)
def test_a_wrong_name_is_found(source, expected):
    (wrong,) = wrong_names("t.py", source)
    assert wrong.endswith(expected)


def test_a_name_of_70_characters_passes():
    assert wrong_names("t.py", f"def test_{'x' * 65}(): pass\ndef helper(): pass") == []
