# ruff: noqa: INP001  a part of a script, in no package
"""The page of stages: columns, settings, needs and reject reasons of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from catalogue_tables import SETTINGS_HEAD, columns, names, settings, summary, table

if TYPE_CHECKING:
    from pipeline.stage import Stage

HEAD = """\
# Stages

Written by `tools/make_catalogue.py` from the stage classes; do not edit it by hand.

A stage is named in a manifest by its file name: `use = "filter_caption"`. A setting below decides the result and is
part of the stage's fingerprint, unless its line says that it is one of speed only. What decides speed in all stages
is in `run_on`: `rows_per_batch`, `workers`, and for models `device`, `dtype`, `rows_per_forward` and `gpu`. The
text `"none"` unsets a setting whose type says `None`. The terms are in the [glossary](glossary.md).
"""


def stages_page() -> str:
    """The text of docs/stages.md."""
    from pipeline.plan.plugins import stage_class, stage_names

    classes = {name: stage_class(name) for name in stage_names()}
    overview = table(
        ("Stage", "Kind", "What it does"),
        [(f"[{name}](#{name})", cls.kind, summary(cls)) for name, cls in classes.items()],
    )
    return "\n".join([HEAD, overview, *(_section(name, cls) for name, cls in classes.items()), _engine_rejects()])


def _section(name: str, cls: type[Stage]) -> str:
    rows = settings(cls).values()
    parts = [
        f"## {name}\n",
        f"{summary(cls)}\n",
        f"Kind `{cls.kind}`, version {cls.version}{_needs(cls)}.\n",
        columns("Reads", cls.reads),
        names("Reads too where a stage before it wrote them", cls.reads_if_present),
        columns("Gathers of rows in any shard, by their ids", cls.gathers),
        columns("Writes", _written(cls)),
        _artifact(cls),
        names("Rejects with", [reason.value for reason in cls.rejects or ()]),
        f"Settings\n\n{table(SETTINGS_HEAD, rows)}" if rows else "No settings.\n",
    ]
    return "\n".join(part for part in parts if part)


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
    return f"Writes the artifact `{artifact}`.\n" if artifact else ""


def _engine_rejects() -> str:
    from pipeline.run.rejects import EngineReject

    reasons = [f"- `{EngineReject.DUPLICATE_IMAGE}`: a source met the same image bytes earlier in the same shard"]
    reasons.append(f"- `{EngineReject.EXCEPTION}`: a map or expand stage raised on this row alone")
    lost = "a map, expand or sink stage did not end on this row alone, or its worker died of it"
    reasons.append(f"- `{EngineReject.WORKER_LOST}`: {lost}")
    assert len(reasons) == len(EngineReject)
    return "\n".join(["## Reasons that the engine itself gives\n", *reasons, ""])
