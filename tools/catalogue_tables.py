# ruff: noqa: INP001  a part of a script, in no package
"""Parts that the catalogues share: tables of settings and columns, written from the classes that declare them."""

from __future__ import annotations

import ast
import inspect
import json
import sys
import textwrap
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

    Row = tuple[str, ...]

SETTINGS_HEAD = ("Setting", "Type", "Default", "Meaning")
SPEED_ONLY = "Speed only: not in the fingerprint."
BOUNDS = (("gt", ">"), ("ge", ">="), ("lt", "<"), ("le", "<="))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def summary(cls: type) -> str:
    """The first line of the module that has the class."""
    return (sys.modules[cls.__module__].__doc__ or "").strip().splitlines()[0]


def names(label: str, names: Iterable[str]) -> str:
    """One line of names, or nothing without names."""
    listed = ", ".join(f"`{name}`" for name in names)
    return f"{label}: {listed}.\n" if listed else ""


def columns(label: str, names: Sequence[str]) -> str:
    """A table of columns with their declarations, or nothing without columns."""
    from samples.columns import column

    if not names:
        return ""
    declared = [column(name) for name in names]
    rows = [(f"`{c.name}`", _arrow(c.type), c.unit + (", not stored" if c.virtual else ""), c.meaning)
            for c in declared]  # fmt: skip
    return f"{label}\n\n{table(('Column', 'Type', 'Unit', 'Meaning'), rows)}"


def settings(cls: type[BaseModel], prefix: str = "") -> dict[str, Row]:
    """Name of each setting -> its row. Settings of a section are named `section.setting`."""
    from core.settings import Settings
    from pipeline.stage import SPEED

    declared = _declarations(cls)
    models = cls.model_settings() if hasattr(cls, "model_settings") else {}
    rows: dict[str, Row] = {}
    for name, info in cls.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, Settings):
            rows |= settings(info.annotation, prefix=f"{prefix}{name}.")
            continue
        annotation, meaning = declared.get(name, ("", ""))
        default = "required" if info.is_required() else _default(info)
        speed = [SPEED_ONLY] if prefix == f"{SPEED}." else []
        text = " ".join([info.description or meaning, *speed]).strip()
        kind = _type(annotation, info)
        if name in models:
            one_or_several = "ids of models that serve" if kind.startswith("tuple") else "id of a model that serves"
            kind = f"{one_or_several} {models[name]}"
        rows[prefix + name] = (f"`{prefix}{name}`", kind, default, text)
    return rows


def _arrow(kind: Any) -> str:
    return str(kind).replace("<element: ", "<").replace("<item: ", "<")


def _default(info: FieldInfo) -> str:
    value = info.get_default(call_default_factory=True)
    return '`"none"`' if value is None else f"`{json.dumps(value)}`"


def _declarations(cls: type[BaseModel]) -> dict[str, tuple[str, str]]:
    """Setting -> (annotation as written, the string below it), for the class and its bases."""
    found: dict[str, tuple[str, str]] = {}
    for base in reversed(cls.__mro__):
        if base.__module__.partition(".")[0] in ("builtins", "abc", "pydantic", "typing"):
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0]
        assert isinstance(body, ast.ClassDef)
        for here, after in zip(body.body, [*body.body[1:], None], strict=True):
            if isinstance(here, ast.AnnAssign) and isinstance(here.target, ast.Name):
                inherited = found.get(here.target.id, ("", ""))[1]
                found[here.target.id] = (ast.unparse(here.annotation), _text(after) or inherited)
    return found


def _text(node: ast.stmt | None) -> str:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return " ".join(node.value.value.split())
    return ""


class _WithoutMarks(ast.NodeTransformer):
    """Makes `X` of `Annotated[X, …]`, however deep it lies."""

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        """The first of what is annotated."""
        self.generic_visit(node)
        is_marked = isinstance(node.value, ast.Name) and node.value.id == "Annotated"
        return node.slice.elts[0] if is_marked and isinstance(node.slice, ast.Tuple) else node


def _type(annotation: str, info: FieldInfo) -> str:
    annotation = ast.unparse(_WithoutMarks().visit(ast.parse(annotation, mode="eval")))
    if get_origin(info.annotation) is Literal:
        return " or ".join(f"`{json.dumps(value)}`" for value in get_args(info.annotation))
    bounds = [f"{sign} {getattr(m, key):g}" for key, sign in BOUNDS for m in info.metadata if hasattr(m, key)]
    return ", ".join([annotation.replace(" | ", " or "), *bounds])
