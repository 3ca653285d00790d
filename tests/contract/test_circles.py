"""No module imports itself by way of others. Imports for types only and imports inside functions count."""

import pytest
from _sources import PACKAGES, import_graph, sources


def knots(graph):
    """Sets of modules that all reach each other, of more than one module: Tarjan's strongly connected components."""
    index, low, stack, found = {}, {}, [], []

    def visit(module):
        index[module] = low[module] = len(index)
        stack.append(module)
        for other in graph[module]:
            if other not in index:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in stack:
                low[module] = min(low[module], index[other])
        if low[module] == index[module]:
            at = stack.index(module)
            knot = set(stack[at:])
            del stack[at:]
            if len(knot) > 1:
                found.append(knot)

    for module in graph:
        if module not in index:
            visit(module)
    return found


def circle_in(knot, graph):
    """The shortest way from a knot's first module back to it, as `a -> b -> a`."""
    first = min(knot)
    ways, seen = [[first]], set()
    for way in ways:  # breadth first: the list grows while it is walked
        for other in graph[way[-1]]:
            if other == first:
                return " -> ".join([*way, first])
            if other in knot - seen:
                seen.add(other)
                ways.append([*way, other])
    raise AssertionError(knot)


def circles(files):
    graph = import_graph(files)
    return sorted(circle_in(knot, graph) for knot in knots(graph))


def test_no_module_imports_itself_by_way_of_others():
    files = list(sources())
    assert {path.partition("/")[0] for path, _ in files} == set(PACKAGES)
    assert circles(files) == []


@pytest.mark.parametrize(
    "back", ["import p.a", "from p.a import f", "from p import a", "def f():\n    import p.a",
             "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from p.a import T"],
)  # fmt: skip
def test_a_circle_is_found_and_shown(back):
    files = {"p/__init__.py": "", "p/a.py": "import p.b", "p/b.py": "import p.c, os", "p/c.py": back}
    assert circles(files.items()) == ["p.a -> p.b -> p.c -> p.a"]


def test_every_circle_is_shown_once():
    files = {"a.py": "import b", "b.py": "import a, c, d", "c.py": "import d", "d.py": "import c"}
    assert circles(files.items()) == ["a -> b -> a", "c -> d -> c"]


def test_a_package_that_imports_its_module_is_found():
    files = {"p/__init__.py": "from p.a import f", "p/a.py": "from p import g"}
    assert circles(files.items()) == ["p -> p.a -> p"]


def test_what_only_meets_is_no_circle():
    files = {"a.py": "import b, c", "b.py": "import d", "c.py": "from d import x", "d.py": "import os"}
    assert circles(files.items()) == []
