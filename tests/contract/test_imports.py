"""Who may import whom among the packages."""

import tomllib

import pytest
from _sources import PACKAGES, ROOT, imports, lies_below, sources
from setuptools import find_packages

ALLOWED = {
    "core": {"core"},
    "pipeline": {"pipeline", "samples.columns", "core"},
    "samples": {"samples", "core"},
    "models": {"models", "samples.images", "samples.image_limits", "core"},
    "stages": {"stages", "models", "samples", "pipeline", "core"},
    "trainer": {"trainer", "models", "samples", "core"},
    "evaluation": {"evaluation", "models", "samples", "core"},
    "export": {"export", "samples", "core"},
    "cli": {"cli", "pipeline", "samples", "models", "trainer", "evaluation", "export", "core"},
    "zoo": {"zoo", "evaluation", "trainer", "models", "samples", "core"},
}
"""Package -> what it may import of ours; a dotted name allows that module only."""
OURS = set(PACKAGES)
MAY_IMPORT_RAY = {"pipeline/run/ray.py"}
MAY_IMPORT_ZOO = {"zoo", "tests", "benchmarks"}
IN_NO_COMMIT = {"data", "runs", "build", "dist"}


def forbidden(path, source):
    """Imports of a file (path below the root) that go the wrong way, a line each."""
    package = path.partition("/")[0]
    wrong = []
    for line, name in imports(source):
        top = name.partition(".")[0]
        if not top:
            wrong.append(f"{path}:{line}: relative import {name}")
        elif top in OURS and not lies_below(name, ALLOWED[package]):
            wrong.append(f"{path}:{line}: {package} imports {name}")
        elif top == "ray" and path not in MAY_IMPORT_RAY and package != "zoo":
            wrong.append(f"{path}:{line}: only pipeline/run/ray.py imports ray")
    return wrong


def test_no_import_goes_the_wrong_way():
    checked = list(sources())
    assert {path.partition("/")[0] for path, _ in checked} >= {"pipeline", "stages", "models"}
    assert [line for path, source in checked for line in forbidden(path, source)] == []


def test_every_package_of_the_project_has_a_rule():
    packages = {p.parent.name for p in ROOT.glob("*/__init__.py")}
    assert packages - {"tests", "benchmarks"} <= OURS
    assert ALLOWED.keys() == OURS


def test_every_package_of_the_project_is_installed():
    found = {p.parent.relative_to(ROOT) for top in OURS for p in (ROOT / top).rglob("__init__.py")}
    rule = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]
    installed = find_packages(str(ROOT), include=rule["include"])
    assert {".".join(package.parts) for package in found} == set(installed)
    assert rule["namespaces"] is False  # or else folders of weights and templates are packages


def test_only_tests_and_benchmarks_know_the_miniature_world():
    """To the pipeline it is one more source of image-caption pairs, which come as files."""
    folders = {p.name for p in ROOT.iterdir() if p.is_dir() and not p.name.startswith(".")}
    folders -= MAY_IMPORT_ZOO | IN_NO_COMMIT
    assert {"pipeline", "stages", "models", "docs"} <= folders
    scripts = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    named = {path: imports(path.read_text(encoding="utf-8")) for path in [*scripts, *ROOT.glob("*.py")]}
    assert [
        f"{path}:{line}" for path, found in named.items() for line, name in found if lies_below(name, {"zoo"})
    ] == []


@pytest.mark.parametrize(
    ("path", "source", "expected"),
    [
        ("pipeline/plan/plan.py", "from stages import emit", "pipeline/plan/plan.py:1: pipeline imports stages.emit"),
        (
            "pipeline/plan/plan.py",
            "def f():\n    import models.registry",
            "pipeline/plan/plan.py:2: pipeline imports models.registry",
        ),
        ("models/x.py", "import pipeline.errors", "models/x.py:1: models imports pipeline.errors"),
        ("stages/x.py", "from zoo.world import draw", "stages/x.py:1: stages imports zoo.world.draw"),
        ("stages/x.py", "from trainer import loop", "stages/x.py:1: stages imports trainer.loop"),
        (
            "trainer/x.py",
            "from pipeline.build.build import Build",
            "trainer/x.py:1: trainer imports pipeline.build.build.Build",
        ),
        (
            "evaluation/x.py",
            "from pipeline.run import shard_steps",
            "evaluation/x.py:1: evaluation imports pipeline.run.shard_steps",
        ),
        ("evaluation/x.py", "import zoo", "evaluation/x.py:1: evaluation imports zoo"),
        ("zoo/x.py", "from stages import emit", "zoo/x.py:1: zoo imports stages.emit"),
        ("zoo/x.py", "from pipeline.stage import Stage", "zoo/x.py:1: zoo imports pipeline.stage.Stage"),
        ("pipeline/build/build.py", "import ray", "pipeline/build/build.py:1: only pipeline/run/ray.py imports ray"),
        ("stages/x.py", "from ray.util import x", "stages/x.py:1: only pipeline/run/ray.py imports ray"),
        ("stages/x.py", "from . import emit", "stages/x.py:1: relative import ..emit"),
        (
            "stages/x.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from zoo import world",
            "stages/x.py:3: stages imports zoo.world",
        ),
    ],
)
def test_forbidden_import_is_found(path, source, expected):
    assert forbidden(path, source) == [expected]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        (
            "stages/x.py",
            "from pipeline.stage import Stage\nfrom models import protocols\nfrom stages.inputs.rows import f",
        ),
        ("trainer/x.py", "from samples.shards import read\nfrom samples import columns\nimport models.vae"),
        ("pipeline/run/ray.py", "import ray"),
        ("zoo/x.py", "from models.registry import load\nimport numpy"),
        ("models/x.py", "import torch, stagesque"),
    ],
)
def test_permitted_import_passes(path, source):
    assert forbidden(path, source) == []
