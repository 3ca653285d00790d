# ruff: noqa: INP001  a part of a script, in no package
"""The page of modules: each with the first line of its docstring, read without importing it."""

from __future__ import annotations

import ast
from pathlib import Path

from catalogue_tables import table

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("core", "cli", "pipeline", "samples", "stages", "models", "trainer", "evaluation", "export", "zoo")
HEAD = """\
# Modules

Written by `tools/make_catalogue.py` from the first lines of docstrings; do not edit it by hand. How the
rooms fit together is in [ARCHITECTURE.md](../ARCHITECTURE.md).
"""


def modules_page() -> str:
    """The text of docs/modules.md."""
    folders = [folder for room in ROOMS for folder in _packages(ROOT / room)]
    return "\n".join([HEAD, *map(_section, folders)])


def _packages(room: Path) -> list[Path]:
    """The room and the packages in it."""
    return sorted(path.parent for path in room.rglob("__init__.py"))


def _section(folder: Path) -> str:
    files = sorted(path for path in folder.glob("*.py") if path.name != "__init__.py")
    rows = [(f"`{path.stem}`", _first_line(path)) for path in files]
    listed = table(("Module", "What it has"), rows) if rows else ""
    return f"## {folder.relative_to(ROOT)}\n\n{_first_line(folder / '__init__.py')}\n\n{listed}"


def _first_line(path: Path) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(docstring.split("\n\n", maxsplit=1)[0].split())
