"""The examples of docs/extending.md work unchanged: made in a copy of the project, every command run."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from _datasets import write_dataset

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "extending.md"
COPIED = (
    "core", "cli", "pipeline", "samples", "stages", "models", "trainer", "evaluation", "export", "zoo", "tests", "docs",
    "tools", "manifests",
)  # fmt: skip
LINKED = ("data", "zoo/weights")
BLOCK = re.compile(r"(?:^(New file|Change in) `([^`]+)`:\n\n)?^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block: `what` is New file, Change in, or empty for commands."""

    what: str
    path: str
    language: str
    text: str


def sections(text):
    """Heading of an example -> its blocks."""
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    found = {
        head: [Block(*groups) for groups in BLOCK.findall(body)]
        for head, body in zip(parts[1::2], parts[2::2], strict=True)
    }
    return {head: blocks for head, blocks in found.items() if blocks}


def changed(text, diff):
    """The text with the lines of the diff put at their place, which must be there once."""
    lines = diff.splitlines(keepends=True)
    before = "".join(line[1:] for line in lines if line[0] in " -")
    after = "".join(line[1:] for line in lines if line[0] in " +")
    assert text.count(before) == 1, f"{text.count(before)} places for:\n{before}"
    return text.replace(before, after)


def make(project, block):
    """Do what the page says before a block."""
    path = project / block.path
    if block.what == "New file":
        assert not path.exists(), f"{block.path} is no new file"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text)
    else:
        assert block.language == "diff"
        path.write_text(changed(path.read_text(), block.text))


def run(project, command):
    """Run one command of the page as a reader of it would, and return its output."""
    line = command.replace(".venv/bin/", f"{Path(sys.executable).parent}/")
    environment = os.environ | {"PYTHONPATH": str(project), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(line, shell=True, cwd=project, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The project as it is, its data and weights by links."""
    copy = tmp_path_factory.mktemp("project")
    for name in COPIED:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "weights"))
    for name in LINKED:
        (copy / name).symlink_to((ROOT / name).resolve())
    shutil.copy(ROOT / "pyproject.toml", copy)
    write_dataset(copy / "runs" / "tiny-iedit" / "dataset", (3, 3))
    return copy


EXAMPLES = sections(PAGE.read_text())


@pytest.mark.parametrize("example", EXAMPLES)
def test_example_works_as_the_page_says(example, project):
    ran = 0
    for block in EXAMPLES[example]:
        if block.what:
            make(project, block)
        else:
            assert block.language == "bash", f"a block of {block.language} without a line that says what it is"
            for command in block.text.replace("\\\n", " ").splitlines():
                run(project, command)
                ran += 1
    assert ran, "an example without a command shows nothing"


def test_code_of_the_page_passes_the_checks(project):
    files = [block.path for blocks in EXAMPLES.values() for block in blocks if block.path.endswith(".py")]
    assert len(files) > 10
    run(project, f".venv/bin/ruff check {' '.join(files)}")
    run(project, f".venv/bin/ruff format --check {' '.join(files)}")


def test_contracts_hold_with_all_examples(project):
    run(project, ".venv/bin/pytest tests/contract --ignore=tests/contract/test_stages.py")


def test_no_other_test_has_a_list_of_the_entries(project):
    unit = "models/test_registry.py models/test_model_ids.py trainer/test_settings.py cli/test_train.py test_docs.py"
    paths = " ".join(f"tests/unit/{path}" for path in unit.split())
    run(project, f".venv/bin/pytest {paths} -k '(catalogue_is or serve or known or any_recipe or usage) and not page'")


def test_page_has_the_examples_that_its_head_names():
    named = re.findall(r"\[([^\]]+)\]\(#", PAGE.read_text().split("\n## ")[0])
    assert [" ".join(name.split()).casefold() for name in named] == [head.casefold() for head in EXAMPLES]


def test_the_check_of_a_changed_file_can_fail():
    assert changed("a\nb\nc\n", " b\n+x\n") == "a\nb\nx\nc\n"
    assert changed("a\nb\nc\n", "-b\n+x\n") == "a\nx\nc\n"
    with pytest.raises(AssertionError, match="0 places"):
        changed("a\nb\n", " c\n+x\n")
