# ruff: noqa: INP001  a script beside the page it writes, in no package
"""Writes docs/stages.md, the catalogue of stages, from the stage classes: `python docs/make_catalogue.py`.

Owns the layout of that page only: every word in it comes from a stage, its settings or `samples.columns`. Same
stages, same bytes.
"""

from __future__ import annotations

import ast
import inspect
import json
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "stages.md"
SPEED_ONLY = "Speed only: not in the fingerprint."
BOUNDS = (("gt", ">"), ("ge", ">="), ("lt", "<"), ("le", "<="))

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

    from pipeline.stage import Stage

HEAD = """\
# Stages

Written by `docs/make_catalogue.py` from the stage classes; do not edit it by hand.

A stage is named in a manifest by its file name: `use = "filter_caption"`. A setting below decides the result and is
part of the stage's fingerprint, unless its line says that it is one of speed only. What decides speed in all stages
stands in `run_on`: `rows_per_batch`, `workers`, and for models `device`, `dtype`, `rows_per_forward` and `gpu`. The
text `"none"` unsets a setting whose type says `None`. The terms are in the [glossary](glossary.md).
"""


def main() -> None:
    """Write the page."""
    PAGE.write_text(catalogue(), encoding="utf-8")


def catalogue() -> str:
    """The page's text."""
    if str(ROOT) not in sys.path:  # a script's path starts at its own folder
        sys.path.insert(0, str(ROOT))
    from pipeline.plan.plugins import stage_class, stage_names

    classes = {name: stage_class(name) for name in stage_names()}
    overview = _table(
        ("Stage", "Kind", "What it does"),
        [(f"[{name}](#{name})", cls.kind, _summary(cls)) for name, cls in classes.items()],
    )
    return "\n".join([HEAD, overview, *(_section(name, cls) for name, cls in classes.items()), _engine_rejects()])


def _section(name: str, cls: type[Stage]) -> str:
    settings = _settings(cls)
    parts = [
        f"## {name}\n",
        f"{_summary(cls)}\n",
        f"Kind `{cls.kind}`, version {cls.version}{_needs(cls)}.\n",
        _columns("Reads", cls.reads),
        _names("Reads too where a stage before it wrote them", cls.reads_if_present),
        _columns("Writes", _written(cls)),
        _artifact(cls),
        _names("Rejects with", [reason.value for reason in cls.rejects or ()]),
        f"Settings\n\n{_table(('Setting', 'Type', 'Default', 'Meaning'), settings)}" if settings else "No settings.\n",
    ]
    return "\n".join(part for part in parts if part)


def _summary(cls: type[Stage]) -> str:
    return (sys.modules[cls.__module__].__doc__ or "").strip().splitlines()[0]


def _needs(cls: type[Stage]) -> str:
    needs = cls.needs
    parts = [f"{needs.gpu:g} GPU"] if needs.gpu else []
    parts += [f"{needs.cpu:g} cores"] if needs.cpu != 1 else []
    parts += [f"{needs.memory_bytes >> 20} MiB of memory"] if needs.memory_bytes else []
    packages = "the packages" if len(needs.packages) > 1 else "the package"
    parts += [f"{packages} {', '.join(needs.packages)}"] if needs.packages else []
    seed = "; uses the manifest's seed" if cls.uses_rng else ""
    return (f"; needs {', '.join(parts)}" if parts else "") + seed


def _written(cls: type[Stage]) -> tuple[str, ...]:
    return ("parent_id", *cls.writes) if cls.kind == "expand" else cls.writes


def _artifact(cls: type[Stage]) -> str:
    artifact = getattr(cls, "artifact", "")
    return f"Leaves the artifact `{artifact}`.\n" if artifact else ""


def _names(label: str, names: Iterable[str]) -> str:
    listed = ", ".join(f"`{name}`" for name in names)
    return f"{label}: {listed}.\n" if listed else ""


def _columns(label: str, names: Sequence[str]) -> str:
    from samples.columns import column

    if not names:
        return ""
    declared = [column(name) for name in names]
    rows = [(f"`{c.name}`", _arrow(c.type), c.unit + (", not stored" if c.virtual else ""), c.meaning)
            for c in declared]  # fmt: skip
    return f"{label}\n\n{_table(('Column', 'Type', 'Unit', 'Meaning'), rows)}"


def _arrow(kind: Any) -> str:
    return str(kind).replace("<element: ", "<").replace("<item: ", "<")


def _settings(cls: type[BaseModel], section: str = "") -> list[tuple[str, ...]]:
    """A row for each setting; those of a section as `section.name`."""
    from pydantic import BaseModel

    from pipeline.stage import SPEED

    declared = _declarations(cls)
    rows: list[tuple[str, ...]] = []
    for name, info in cls.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            rows += _settings(info.annotation, f"{section}{name}.")
            continue
        annotation, meaning = declared.get(name, ("", ""))
        default = "required" if info.is_required() else _default(info)
        speed = [SPEED_ONLY] if section == f"{SPEED}." else []
        told = " ".join([info.description or meaning, *speed]).strip()
        rows.append((f"`{section}{name}`", _type(annotation, info), default, told))
    return rows


def _default(info: FieldInfo) -> str:
    value = info.get_default(call_default_factory=True)
    return '`"none"`' if value is None else f"`{json.dumps(value)}`"


def _declarations(cls: type[BaseModel]) -> dict[str, tuple[str, str]]:
    """Setting -> (annotation as written, the string below it), for the class and its bases."""
    found: dict[str, tuple[str, str]] = {}
    for base in reversed(cls.__mro__):
        if not base.__module__.startswith(("stages", "pipeline")):
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0]
        assert isinstance(body, ast.ClassDef)
        for here, after in zip(body.body, [*body.body[1:], None], strict=True):
            if isinstance(here, ast.AnnAssign) and isinstance(here.target, ast.Name):
                found[here.target.id] = (ast.unparse(here.annotation), _text(after))
    return found


def _text(node: ast.stmt | None) -> str:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return " ".join(node.value.value.split())
    return ""


def _type(annotation: str, info: FieldInfo) -> str:
    from pipeline.stage import Serves

    for mark in info.metadata:
        if isinstance(mark, Serves):
            return f"id of a model that serves {mark.protocol.__name__}"
    if annotation.startswith("Annotated["):
        annotation = ast.unparse(ast.parse(annotation, mode="eval").body.slice.elts[0])
    if annotation.startswith("Literal["):
        return " or ".join(f"`{json.dumps(v)}`" for v in ast.literal_eval(annotation.removeprefix("Literal")))
    bounds = [f"{sign} {getattr(m, key):g}" for key, sign in BOUNDS for m in info.metadata if hasattr(m, key)]
    return ", ".join([annotation.replace(" | ", " or "), *bounds])


def _engine_rejects() -> str:
    from pipeline.run.rejects import EngineReject

    reasons = [f"- `{EngineReject.DUPLICATE_IMAGE}`: a source met the same image bytes earlier in the same shard"]
    reasons.append(f"- `{EngineReject.EXCEPTION}`: a map or expand stage raised on this row alone")
    lost = "a map, expand or sink stage did not end on this row alone, or its worker died of it"
    reasons.append(f"- `{EngineReject.WORKER_LOST}`: {lost}")
    assert len(reasons) == len(EngineReject)
    return "\n".join(["## Reasons that the engine itself gives\n", *reasons, ""])


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    main()
