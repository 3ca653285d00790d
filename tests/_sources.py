"""The project's own source files as the contract tests read them: parsed, never imported."""

import ast
import functools
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("core", "pipeline", "samples", "models", "stages", "trainer", "evaluation", "export", "cli", "zoo")


def sources(*packages):
    """(path below the root, text) of every module of these packages (default: all)."""
    for package in packages or PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")


@functools.cache
def imports(source):
    """(line, full dotted name) of every import anywhere in the source, `if TYPE_CHECKING` and functions included."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [(node.lineno, f"{'.' * node.level}{node.module or ''}.{alias.name}") for alias in node.names]
    return found


@functools.cache
def texts(source):
    """(line, text) of every string constant that is no docstring, and of the fixed parts of f-strings."""
    tree = ast.parse(source)
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [
        (node.lineno, node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings
    ]


def module_of(path):
    """The dotted name of a file: `trainer.recipes` of trainer/recipes/__init__.py."""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def import_graph(files):
    """Module -> the modules among `files` that it imports. `files` are pairs of path and text."""
    files = {module_of(path): text for path, text in files}
    graph = {}
    for module, text in files.items():
        names = {name for _, name in imports(text)}
        found = {name if name in files else name.rpartition(".")[0] for name in names}
        graph[module] = sorted(found & files.keys() - {module})
    return graph


def lies_below(name, parents):
    """True for a dotted name that is one of `parents` or lies below one."""
    return any(name == parent or name.startswith(f"{parent}.") for parent in parents)
