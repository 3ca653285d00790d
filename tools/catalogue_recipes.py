# ruff: noqa: INP001  a part of a script, in no package
"""The page of recipes, editors and benchmarks: columns and settings of each."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from catalogue_tables import SETTINGS_HEAD, columns, names, settings, summary, table

if TYPE_CHECKING:
    from catalogue_tables import Row

    from evaluation.benchmark import BenchmarkReader
    from trainer.recipe import Recipe

OWN_SETTINGS = "Settings of its own, or with a default of its own; the others are [shared](#settings-of-all-recipes)"
HEAD = """\
# Recipes, editors and benchmarks

Written by `tools/make_catalogue.py` from the classes; do not edit it by hand.

A recipe is named by `editloom train --recipe NAME`, and a setting given by `--set name=value` or in a TOML file
([training](training.md)). Settings of the section `run_on` decide speed, or how often something is written, and may
change when a training is resumed. All others decide the result. The text `"none"` unsets a setting whose type says
`None`.
An editor's settings are given in the same way to `editloom edit` and `editloom evaluate`, and a benchmark's as
`--set benchmark.name=value` ([evaluation](evaluation.md)).
The terms are in the [glossary](glossary.md).
"""


def recipes_page() -> str:
    """The text of docs/recipes.md."""
    from evaluation.benchmarks import BENCHMARKS, find_benchmark
    from models.registry import WRAPPERS
    from trainer.recipe import Recipe
    from trainer.recipes import RECIPES, find_recipe

    shared = settings(Recipe)
    recipes = {name: find_recipe(name) for name in sorted(RECIPES)}
    editors = [_editor(target, kinds) for target, kinds in _kinds_of(WRAPPERS["Editor"]).items()]
    overview = table(("Recipe", "What it trains"), [(f"[{n}](#{n})", summary(cls)) for n, cls in recipes.items()])
    sections = [_recipe(name, cls, shared) for name, cls in recipes.items()]
    benchmarks = [_benchmark(name, find_benchmark(name)) for name in sorted(BENCHMARKS)]
    common = f"## Settings of all recipes\n\n{table(SETTINGS_HEAD, shared.values())}"
    return "\n".join([HEAD, overview, *sections, common, "## Editors\n", *editors, "## Benchmarks\n", *benchmarks])


def _recipe(name: str, cls: type[Recipe], shared: dict[str, Row]) -> str:
    own = [row for setting, row in settings(cls).items() if shared.get(setting) != row]
    parts = [
        f"## {name}\n",
        f"{summary(cls)}\n",
        columns("Reads", cls.reads),
        columns("Reads too where samples have them, or where a setting needs them", cls.reads_if_present),
        f"{OWN_SETTINGS}\n\n{table(SETTINGS_HEAD, own)}",
    ]
    return "\n".join(part for part in parts if part)


def _kinds_of(served: dict[str, str]) -> dict[str, list[str]]:
    """Wrapper -> the kinds of models that it serves, both sorted."""
    return {
        target: [kind for kind in sorted(served) if served[kind] == target] for target in sorted(set(served.values()))
    }


def _editor(target: str, kinds: list[str]) -> str:
    module, _, name = target.partition(":")
    cls = getattr(importlib.import_module(module), name)
    parts = [
        f"### {name}\n",
        f"{summary(cls)}\n",
        names("Serves checkpoints of the kind", kinds),
        names("Every request must have", sorted(cls.needs)),
        names("Uses where a request has it", sorted(cls.uses)),
        table(SETTINGS_HEAD, settings(cls.Settings).values()),
    ]
    return "\n".join(part for part in parts if part)


def _benchmark(name: str, cls: type[BenchmarkReader]) -> str:
    rows = settings(cls).values()
    listed = table(SETTINGS_HEAD, rows) if rows else "No settings.\n"
    return f"### {name}\n\n{summary(cls)}\n\n{listed}"
