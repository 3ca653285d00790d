"""The rooms of pipeline/: who may import whom, and that no two modules import each other in a circle."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ALLOWED = {
    "stage": set(),
    "store": set(),
    "plan": {"stage", "store"},
    "run": {"stage", "store", "plan"},
    "build": {"stage", "store", "plan", "run"},
}
"""Room (or `stage`, the contract of stages) -> the rooms that it may import besides itself."""


def modules():
    """Module name -> the names it imports anywhere, `if TYPE_CHECKING` and functions included."""
    found = {}
    for path in sorted((ROOT / "pipeline").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        found[name] = imports(path.read_text(encoding="utf-8"))
    return found


def imports(source):
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {str(node.module)} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def room(name):
    return name.split(".")[1] if "." in name else ""


def wrong(found):
    """Imports that go from a room to one that it may not use."""
    return sorted(
        f"{name} imports {other}"
        for name, others in found.items()
        for other in others & set(found)
        if room(name) and room(other) and room(other) not in {room(name), *ALLOWED[room(name)]}
    )


def circle(found):
    """Modules that import each other in a circle, or none."""
    try:
        list(TopologicalSorter({name: others & set(found) for name, others in found.items()}).static_order())
    except CycleError as error:
        return error.args[1]
    return []


def test_rooms_import_in_one_direction():
    found = modules()
    assert {room(name) for name in found} == {"", *ALLOWED}
    assert wrong(found) == []


def test_no_modules_import_each_other_in_a_circle():
    assert circle(modules()) == []


@pytest.mark.parametrize(
    ("name", "source", "expected"),
    [
        ("pipeline.store.x", "from pipeline.run import worker", "pipeline.store.x imports pipeline.run.worker"),
        (
            "pipeline.run.x",
            "def f():\n    from pipeline.build.build import Build",
            "pipeline.run.x imports pipeline.build.build",
        ),
    ],
)
def test_import_against_the_direction_is_found(name, source, expected):
    assert expected in wrong({**modules(), name: imports(source)})


def test_circle_through_type_checking_is_found():
    one = imports("if TYPE_CHECKING:\n    from pipeline.run.y import Y")
    other = imports("import pipeline.run.x")
    assert {"pipeline.run.x", "pipeline.run.y"} <= set(circle({"pipeline.run.x": one, "pipeline.run.y": other}))
