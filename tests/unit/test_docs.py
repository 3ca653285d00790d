"""The documents agree with the project: the catalogue, the names of stages and targets, links, quoted messages."""

import ast
import errno
import importlib.util
import os
import re
import tomllib
from pathlib import Path

import pytest
import typer

from cli.main import app
from pipeline.plan.manifest import load_manifest
from pipeline.plan.plan import plan_stages
from pipeline.plan.plugins import stage_class, stage_names
from pipeline.stage import SPEED
from trainer.recipes import RECIPES, find_recipe

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(path for folder in (".", "docs", "docs/adr", "docker", "zoo") for path in (ROOT / folder).glob("*.md"))
MANIFESTS = sorted((ROOT / "manifests").rglob("*.toml"))
LINK = re.compile(r"(?<!`)\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"^\s*(?:\.venv/bin/)?editloom ([a-z]+)\b(.*)$", re.MULTILINE)
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
TARGET = re.compile(r"(?:^|&&|;|\$)\s*make ([a-z][\w-]*)", re.MULTILINE)


def generated():
    """The catalogues by file name, as the script makes them now."""
    spec = importlib.util.spec_from_file_location("make_catalogue", ROOT / "tools" / "make_catalogue.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.pages()


def catalogue():
    return generated()["stages.md"]


def targets_named(text):
    code = [*FENCE.findall(text), *re.findall(r"`([^`\n]+)`", FENCE.sub("", text))]
    return {target for piece in code for target in TARGET.findall(piece)}


def make_targets():
    return set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def options_of_commands():
    """Name of each `editloom` command -> its options."""
    commands = typer.main.get_command(app).commands
    return {name: {one for param in found.params for one in param.opts} for name, found in commands.items()}


def unknown_options(text):
    """Commands and options that the lines of `editloom` in a text have and the command line does not."""
    known, unknown = options_of_commands(), []
    for name, rest in COMMAND.findall(text.replace("\\\n", " ")):
        used = OPTION.findall(rest.partition("#")[0])
        unknown += [f"{name} {one}" for one in used if one not in known[name]] if name in known else [name]
    return unknown


def dead_links(page, text):
    """Relative links of the page whose file or heading is not there."""
    dead = []
    for link in LINK.findall(FENCE.sub("", text)):
        file, _, anchor = link.partition("#")
        if "://" in link or link.startswith("mailto:"):
            continue
        target = (page.parent / file).resolve() if file else page
        there = not file or target.exists()
        if there and anchor and target.suffix == ".md":
            there = anchor in headings(text if target == page else target.read_text())
        dead += [] if there else [link]
    return dead


def headings(text):
    """Anchors as GitHub makes them."""
    found = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in found}


def messages_of_the_code():
    """Every string of the packages, with `…` for what is filled in."""
    found = [os.strerror(number).lower() for number in errno.errorcode]
    for path in [
        p
        for folder in ("core", "cli", "pipeline", "samples", "stages", "models", "trainer", "evaluation", "export")
        for p in (ROOT / folder).rglob("*.py")
    ]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
            elif isinstance(node, ast.JoinedStr):
                found.append("".join(v.value if isinstance(v, ast.Constant) else "…" for v in node.values))
    return "\n".join(found)


def quoted_messages(text):
    """Texts in backquotes in the first column of tables headed Message or Line."""
    quoted = []
    for table in re.findall(r"^\| (?:Message|Line) \|.*\n\|[-| ]+\|\n((?:\|.*\n)+)", text, re.MULTILINE):
        for row in table.splitlines():
            quoted += re.findall(r"`([^`]+)`", row.split(" | ")[0])
    return quoted


def unknown_pieces(message, known):
    """Pieces between `…` of four letters and more that no string of the code has. Numbers are filled in there."""
    pieces = re.split(r"…|;|\b\d+\b|: (?=…|$)", message.replace("dataset/", "…/"))  # that folder's name is a constant
    return [p.strip() for p in pieces if len(re.findall("[a-z]", p)) >= 4 and p.strip(" ;,:)(") not in known]


@pytest.mark.parametrize("name", ["stages.md", "recipes.md", "modules.md"])
def test_catalogue_is_up_to_date(name):
    stale = (ROOT / "docs" / name).read_text() != generated()[name]
    assert not stale, f"docs/{name} is out of date: run `.venv/bin/python tools/make_catalogue.py`"


def test_catalogue_has_every_recipe_and_every_setting_of_it():
    page = generated()["recipes.md"]
    for name in RECIPES:
        assert f"\n## {name}\n" in page
        assert [s for s in find_recipe(name).model_fields if not re.search(rf"^\| `{s}[`.]", page, re.MULTILINE)] == []


def test_settings_of_recipes_and_editors_have_types():
    cells = re.findall(r"^\| `[\w.]+` \| (.*?) \|", generated()["recipes.md"], re.MULTILINE)
    assert len(cells) > 30
    assert all(cells)


def test_catalogue_marks_the_settings_that_only_decide_speed():
    marked = re.findall(r"^\| `([\w.]+)` .*Speed only: not in the fingerprint\. \|$", catalogue(), re.MULTILINE)
    assert marked
    sections = [stage_class(name).model_fields.get(SPEED) for name in stage_names()]
    assert sorted(marked) == sorted(f"{SPEED}.{s}" for one in sections if one for s in one.annotation.model_fields)


def test_types_of_settings_name_no_code_that_checks_them():
    types = re.findall(r"^\| `(?:allowed_hosts|user_agent)` \| ([^|]*) \|", catalogue(), re.MULTILINE)
    assert types == ["str", "tuple[str, ...]"]
    assert "Annotated" not in catalogue()


def test_catalogue_has_every_stage():
    assert re.findall(r"^## ([a-z_]+)$", catalogue(), re.MULTILINE) == stage_names()


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_manifest_names_stages_that_exist(path):
    used = [stage["use"] for stage in tomllib.loads(path.read_text())["stage"]]
    assert set(used) <= set(stage_names())


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_manifest_has_a_chain_that_can_be_planned(path, monkeypatch):
    """Checkpoints of others need not be on this machine. Their ids must be pinned and well-formed."""
    monkeypatch.setattr("pipeline.plan.plan.model_missing", lambda *_: [])
    manifest = load_manifest(path)
    assert [stage.name for stage in plan_stages(manifest)] == [entry.name for entry in manifest.stages]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_page_names_make_targets_that_exist(page):
    assert targets_named(page.read_text()) - make_targets() == set()


def test_the_check_of_make_targets_can_fail():
    text = "run `make nonsense A=b`, `x` make room `y`, or\n```\nmake more\n```\nand make nothing of it"
    assert targets_named(text) == {"nonsense", "more"}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_commands_of_a_page_have_options_that_exist(page):
    assert unknown_options(page.read_text()) == []


def test_the_check_of_options_can_fail():
    text = "    .venv/bin/editloom train --recipe x \\\n --colour red  # --not-one\n\n```\neditloom bild M --out x\n```"
    assert unknown_options(text) == ["train --colour", "bild"]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page):
    assert dead_links(page, page.read_text()) == []


def test_the_check_of_links_can_fail():
    text = "# A b\n[1](#a-b) [2](#c) [3](nowhere.md) [4](https://example.org/x) [5](docs/glossary.md#data)"
    assert dead_links(ROOT / "page.md", text) == ["#c", "nowhere.md"]


def test_runbook_quotes_messages_that_the_code_has():
    known = messages_of_the_code()
    quoted = quoted_messages((ROOT / "docs" / "runbook.md").read_text())
    assert len(quoted) > 30
    assert {m: unknown_pieces(m, known) for m in quoted if unknown_pieces(m, known)} == {}


def test_the_check_of_messages_can_fail():
    text = "| Message | Meaning |\n| --- | --- |\n| `the moon … is of green cheese` | no |\n"
    assert unknown_pieces(quoted_messages(text)[0], messages_of_the_code()) == ["the moon", "is of green cheese"]
