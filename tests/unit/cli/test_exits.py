"""Every command has the same exit codes: faults are planted in the first call of each command."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import typer

from cli.exits import MEMORY_ADVICE
from cli.main import app
from core.errors import ContractError, PlanError, RunStopped, SettingError
from trainer.recipes import RECIPES

LOAD_MANIFEST = "pipeline.plan.manifest.load_manifest"
COMMANDS = {
    "plan": (["m.toml"], LOAD_MANIFEST),
    "fetch": (["m.toml"], LOAD_MANIFEST),
    "build": (["m.toml"], LOAD_MANIFEST),
    "status": (["m.toml"], LOAD_MANIFEST),
    "verify": (["m.toml"], LOAD_MANIFEST),
    "explain": (["m.toml", "0" * 16], LOAD_MANIFEST),
    "retry": (["m.toml"], LOAD_MANIFEST),
    "clean": (["m.toml"], LOAD_MANIFEST),
    "report": (["m.toml"], LOAD_MANIFEST),
    "hash-images": (["f", "--out", "x.hashes.parquet"], "evaluation.hashed_images.write_list"),
    "licence": (["d"], "samples.licence_file.read_licences"),
    "export": (["d", "--to", "bagel", "--out", "o"], "samples.shards.read_shards"),
    "calibrate": (["d", "--out", "o"], "evaluation.calibration.scored_rows.read_scored"),
    "train": (["--recipe", "iedit", "--data", "d", "--model", "zoo:sd", "--out", "o"], "trainer.loop.train"),
    "edit": (["a.png", "a cat", "--model", "zoo:sd", "--out", "o"], "evaluation.edit_files.edit_files"),
    "segment": (["a.png", "a cat", "--model", "zoo:clipseg", "--out", "o"], "evaluation.segment_files.segment_files"),
    "compare": (["d"], "evaluation.scores.Scores.read"),
    "curve": (["d", "--to", "c.png"], "evaluation.curves.curve.Curve.read"),
    "evaluate": (["pairs", "f", "--outputs", "o", "--out", "o"], "evaluation.benchmarks.pairs.Pairs.read"),
}
"""Command -> arguments, and a function that it calls."""


class Strange(Exception):
    """An exception that nobody knows."""


BUGS = [
    KeyError("step"), ValueError("x"), TypeError("x"), IndexError("list index out of range"), AttributeError("x"),
    ImportError("y"), OSError("no number"), RuntimeError("CUDA error"), Strange(),
]  # fmt: skip
FAULTS = [
    (PlanError("as raised"), 2, "as raised"),
    (SettingError("two\nlines"), 2, "two lines"),
    (RunStopped("as raised"), 1, "as raised"),
    (ContractError("as raised"), 1, "as raised"),
    (PermissionError(13, "Permission denied", "/x"), 1, "permission denied: /x"),
    (FileNotFoundError("bucket/x"), 1, "FileNotFoundError: bucket/x"),
    (KeyboardInterrupt(), 1, "interrupted"),
    (MemoryError(), 1, f"MemoryError; {MEMORY_ADVICE}"),
    (torch.OutOfMemoryError("2 GiB"), 1, f"OutOfMemoryError: 2 GiB; {MEMORY_ADVICE}"),
    (typer.BadParameter("as raised"), 2, "Invalid value: as raised"),
]


@pytest.fixture
def plant(monkeypatch):
    """Makes a function of ours raise an error."""

    def call(name, error):
        def raises(*_given, **_more):
            raise error

        monkeypatch.setattr(name, raises)

    monkeypatch.setattr("cli.train._quiet_libraries", lambda: None)
    return call


def test_the_table_holds_every_command():
    assert set(COMMANDS) == {command.name for command in app.registered_commands}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: type(bug).__name__)
def test_a_bug_is_raised_by_every_command(editloom, plant, command, bug):
    argv, name = COMMANDS[command]
    plant(name, bug)
    with pytest.raises(type(bug)) as raised:
        editloom(command, *argv)
    assert raised.value is bug


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(("fault", "code", "message"), FAULTS, ids=lambda one: type(one).__name__)
def test_a_fault_is_one_line_of_every_command(refused, plant, command, fault, code, message):
    argv, name = COMMANDS[command]
    plant(name, fault)
    assert refused(command, *argv, code=code) == message


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_option_is_wrong_usage_of_every_command(refused, command):
    assert refused(command, *COMMANDS[command][0], "--xyzzy", code=2) == "No such option: --xyzzy"


def test_a_bug_ends_the_process_with_a_traceback_and_exit_code_1():
    code = "import cli.main, pipeline.plan.manifest as m\nm.load_manifest = lambda path: {}['step']\n"
    code += "cli.main.main(['plan', 'm.toml'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback")
    assert done.stderr.endswith("KeyError: 'step'\n")


def version_into(stdout):
    """`editloom --version`, which writes when it ends: exit code and stderr."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    line = [sys.executable, "-c", "from cli.main import main; main(['--version'])"]
    done = subprocess.run(line, stdout=stdout, stderr=subprocess.PIPE, text=True, env=environment)
    return done.returncode, done.stderr


def test_a_result_that_nobody_reads_ends_with_1_and_no_line():
    read, write = os.pipe()
    os.close(read)
    try:
        assert version_into(write) == (1, "")
    finally:
        os.close(write)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_result_that_cannot_be_written_is_one_line():
    with Path("/dev/full").open("w") as full:
        assert version_into(full) == (1, "editloom: no space left on device\n")


def test_a_module_is_a_command_of_its_own_with_the_same_ladder():
    done = subprocess.run([sys.executable, "-m", "cli.train", "--recipe", "x"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"editloom: no recipe is called 'x' (known: {', '.join(sorted(RECIPES))})\n"


def test_no_command_at_all_shows_the_help(editloom):
    code, out, err = editloom()
    assert (code, err) == (2, "editloom: which command? see editloom --help\n")
    assert all(f" {command} " in out for command in COMMANDS)


def test_the_version_is_printed(editloom):
    code, out, _ = editloom("--version")
    assert code == 0
    assert out.startswith("editloom 0.")
