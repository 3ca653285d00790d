"""The scripts of examples/ run with every command replaced by a recorder, and what they would call is valid."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from cli.main import app
from core.settings import checked, parse_pairs
from models.registry import editor_settings
from pipeline.plan.manifest import load_manifest
from trainer.recipes import find_recipe

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted((ROOT / "examples").glob("*.sh"))
RECORDER = f"""#!{sys.executable}
import json, os, sys
with open(os.environ["CALLS"], "a") as calls:
    calls.write(json.dumps([os.path.basename(sys.argv[0]), *sys.argv[1:]]) + "\\n")
"""


def calls_of(script, folder):
    """Every call of make, editloom and python that the script makes, as lists of words."""
    (folder / "examples").mkdir()
    shutil.copy(script, folder / "examples")
    (folder / ".venv" / "bin").mkdir(parents=True)
    for name in ("make", "editloom", "python"):
        path = folder / ".venv" / "bin" / name
        path.write_text(RECORDER)
        path.chmod(0o755)
    environment = {"PATH": f"{folder}/.venv/bin:{os.environ['PATH']}", "CALLS": str(folder / "calls")}
    subprocess.run(["bash", f"examples/{script.name}"], cwd=folder, env=environment, check=True, capture_output=True)
    return [json.loads(line) for line in (folder / "calls").read_text().splitlines()]


def parsed(words):
    """Name and values of an `editloom` call. Raises typer's usage errors."""
    command = typer.main.get_command(app).commands[words[0]]
    return words[0], command.make_context(words[0], list(words[1:])).params


@pytest.fixture(scope="module", params=SCRIPTS, ids=lambda path: path.name)
def calls(request, tmp_path_factory):
    return calls_of(request.param, tmp_path_factory.mktemp("script"))


def test_script_has_commands_of_every_part(calls):
    names = [words[1] for words in calls if words[0] == "editloom"]
    assert {"train", "edit", "evaluate"} <= set(names)


def test_commands_of_a_script_parse_and_their_manifests_load(calls):
    for words in calls:
        if words[0] == "editloom":
            _, values = parsed(words[1:])
            if "manifest" in values:
                load_manifest(ROOT / values["manifest"])


def test_make_targets_and_manifests_of_a_script_exist(calls):
    targets = (ROOT / "Makefile").read_text()
    for words in calls:
        if words[0] == "make":
            assert f"\n{words[1]}:" in targets
            given = dict(word.split("=", 1) for word in words[2:])
            assert all(name in targets for name in given)
            load_manifest(ROOT / given["MANIFEST"])


def test_settings_of_a_script_are_those_of_the_recipe_and_the_editor(calls):
    for words in calls:
        if words[0] == "editloom" and "--set" in words:
            name, values = parsed(words[1:])
            given = parse_pairs(values["settings"])
            kind = find_recipe(values["recipe"]) if name == "train" else editor_settings("zoo:sd")
            unknown = set(given) - set(kind.model_fields)
            assert not unknown, f"{name} has no setting {unknown}"
            if name != "train":
                checked(kind, given, name)


def test_modules_of_a_script_take_its_arguments(calls):
    for words in calls:
        if words[0] == "python":
            assert words[1] == "-m"
            shown = subprocess.run(
                [sys.executable, "-m", words[2], "--help"], cwd=ROOT, capture_output=True, text=True, check=True,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
            ).stdout  # fmt: skip
            assert [word for word in words if word.startswith("--") and word not in shown] == []


def test_the_check_of_commands_can_fail():
    with pytest.raises(Exception, match="No such option"):
        parsed(["train", "--recipe", "iedit", "--colour", "red"])
