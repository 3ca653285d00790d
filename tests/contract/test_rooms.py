"""The rooms of pipeline/: who may import whom."""

import pytest
from _sources import import_graph, sources

ALLOWED = {
    "context": set(),
    "partitions": set(),
    "rounds": set(),
    "sink": set(),
    "stage": {"context", "rounds", "sink"},
    "store": set(),
    "plan": {"stage", "rounds", "store"},
    "run": {"context", "partitions", "rounds", "sink", "stage", "store", "plan"},
    "build": {"stage", "sink", "store", "plan", "run"},
}
"""Room (or a module of the contract of stages) -> the rooms that it may import besides itself."""


def room(name):
    return name.split(".")[1] if "." in name else ""


def wrong(found):
    """Imports that go from a room to one that it may not use."""
    return sorted(
        f"{name} imports {other}"
        for name, others in found.items()
        for other in others
        if room(name) and room(other) and room(other) not in {room(name), *ALLOWED[room(name)]}
    )


def test_rooms_import_in_one_direction():
    found = import_graph(sources("pipeline"))
    assert {room(name) for name in found} == {"", *ALLOWED}
    assert wrong(found) == []


@pytest.mark.parametrize(
    ("path", "source", "expected"),
    [
        ("pipeline/store/x.py", "from pipeline.run import worker", "pipeline.store.x imports pipeline.run.worker"),
        (
            "pipeline/run/x.py",
            "def f():\n    from pipeline.build.build import Build",
            "pipeline.run.x imports pipeline.build.build",
        ),
    ],
)
def test_import_against_the_direction_is_found(path, source, expected):
    assert wrong(import_graph([*sources("pipeline"), (path, source)])) == [expected]
