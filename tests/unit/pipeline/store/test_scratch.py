import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from pipeline.store.scratch import Scratch

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    """A temporary folder of its own."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_next_run_removes_files_of_a_killed_process(machine):
    code = (
        "import os, signal, sys, tempfile; tempfile.tempdir = sys.argv[1]\n"
        "from pipeline.store.scratch import Scratch\n"
        "(Scratch('dead').folder() / 'part.tar').write_bytes(b'x')\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(machine)], cwd=ROOT, check=False, timeout=60)
    assert (machine / "editloom-dead" / "part.tar").exists()
    next_run = Scratch("next")
    next_run.folder()
    assert names(machine) == ["editloom-next"]


def test_a_run_keeps_its_folder_while_one_of_its_processes_runs(machine):
    first, second = Scratch("one"), Scratch("one")
    (first.folder() / "part.tar").write_bytes(b"x")
    second.folder()
    del first
    other = Scratch("other")
    other.folder()
    assert (machine / "editloom-one" / "part.tar").exists()
    assert names(machine) == ["editloom-one", "editloom-other"]


def test_a_folder_that_is_no_run_is_left_alone(machine):
    (machine / "editloom-probe-x").mkdir()
    run = Scratch("run")
    run.folder()
    assert names(machine) == ["editloom-probe-x", "editloom-run"]


def test_a_folder_that_another_process_removed_is_made_again(machine):
    one, same = Scratch("one"), Scratch("one")
    one.folder()
    same.folder()
    same.remove()
    assert names(machine) == []
    assert one.folder().is_dir()
    other = Scratch("other")
    other.folder()
    assert names(machine) == ["editloom-one", "editloom-other"]
