"""A catalogue folder holds its entries and nothing else, and nothing general knows one of them."""

import ast
import re
from pathlib import PurePosixPath

import pytest
from _sources import ROOT, imports, lies_below, sources, texts

from evaluation import benchmarks
from models.registry import WRAPPERS
from pipeline.plan.plugins import stage_names
from trainer import recipes

RECIPES = "trainer/recipes"
BENCHMARKS = "evaluation/benchmarks"
PLAIN_WORDS = {"pairs"}
"""Names of entries that are words of their own: only a text that is nothing else names the entry."""
TABLES = {f"{RECIPES}/__init__.py", f"{BENCHMARKS}/__init__.py", "models/registry.py"}
"""Where entries are declared by name."""
DATA = {"models.hash_lists", "models.language.wordnet", "models.language.example_sets"}
"""Data with one reader rather than one wrapper of many: settings of stages are typed by it."""


def modules_in(folder):
    """Names of the modules right in a folder, `__init__` left out."""
    return sorted(path.stem for path in (ROOT / folder).glob("*.py") if path.stem != "__init__")


def folders_in(folder):
    return sorted(path.name for path in (ROOT / folder).iterdir() if path.is_dir() and path.name != "__pycache__")


def wrong_stage(name, source):
    """The fault of a module of stages/ that is not one stage named after it, or empty."""
    wanted = "".join(part.capitalize() for part in name.split("_"))
    public = [n.name for n in ast.parse(source).body if isinstance(n, ast.ClassDef) and is_stage(n)]
    return "" if public == [wanted] else f"stages/{name}.py: stages {public}, expected [{wanted!r}]"


def is_stage(node):
    """True for a class that derives from a base named like a kind of stage."""
    return any(isinstance(base, ast.Name) and base.id.endswith("Stage") for base in node.bases)


def entries():
    """(kind, name, import path, folder that may know it) of every recipe and benchmark."""
    for name in folders_in(RECIPES):
        yield "recipe", name, f"trainer.recipes.{name}", f"{RECIPES}/{name}"
    for name in modules_in(BENCHMARKS):
        yield "benchmark", name, f"evaluation.benchmarks.{name}", f"{BENCHMARKS}/{name}.py"


def names_entry(text, name):
    if name in PLAIN_WORDS:
        return text == name
    return re.search(rf"(?<![A-Za-z0-9]){name}(?![A-Za-z0-9])", text) is not None


def known_entries(path, source):
    """Lines of a module that import or name a recipe or a benchmark, of those that may not."""
    if path in TABLES:
        return []
    found = []
    for kind, name, dotted, own in entries():
        if PurePosixPath(path).is_relative_to(own):
            continue
        found += [f"{path}:{line}: imports {kind} {name}" for line, i in imports(source) if lies_below(i, {dotted})]
        found += [f"{path}:{line}: names {kind} {name}" for line, text in texts(source) if names_entry(text, name)]
    return found


def wrapper_modules():
    return {target.partition(":")[0] for kinds in WRAPPERS.values() for target in kinds.values()}


def known_wrappers(path, source):
    """Lines of a module that import or name a model's wrapper, of those that may not.

    Wrappers of one folder may build on each other, and an entry of a catalogue may need a model of one kind.
    """
    wrappers = wrapper_modules() - DATA
    if path in TABLES or path.startswith(f"{RECIPES}/"):
        return []
    folder = path.rpartition("/")[0].replace("/", ".")
    elsewhere = {wrapper for wrapper in wrappers if wrapper.rpartition(".")[0] != folder}
    found = [f"{path}:{line}: imports {name}" for line, name in imports(source) if lies_below(name, elsewhere)]
    return found + [
        f"{path}:{line}: names {text}" for line, text in texts(source) if lies_below(text.replace(":", "."), wrappers)
    ]


def general_sources():
    """Sources of what is general: of all packages but the miniature world, whose scripts train one model each."""
    return [(path, text) for path, text in sources() if not path.startswith("zoo/")]


def test_every_module_of_stages_is_one_stage_named_after_it():
    names = modules_in("stages")
    assert names == sorted(stage_names())
    sources_of = {name: (ROOT / f"stages/{name}.py").read_text(encoding="utf-8") for name in names}
    assert [wrong for name, source in sources_of.items() if (wrong := wrong_stage(name, source))] == []


def test_recipes_are_packages_one_each_and_all_declared():
    assert modules_in(RECIPES) == []
    assert folders_in(RECIPES) == sorted(recipes.RECIPES)
    assert all((ROOT / RECIPES / name / "__init__.py").is_file() for name in folders_in(RECIPES))


def test_benchmarks_are_modules_one_each_and_all_declared():
    assert folders_in(BENCHMARKS) == []
    assert modules_in(BENCHMARKS) == sorted(benchmarks.BENCHMARKS)


def test_no_module_has_a_name_with_a_leading_underscore():
    hidden = [path for path, _ in sources() if re.search(r"(^|/)_(?!_init__\.py$|_main__\.py$)", path)]
    assert hidden == []


def test_nothing_general_knows_a_recipe_or_a_benchmark():
    checked = general_sources()
    assert {kind for kind, *_ in entries()} == {"recipe", "benchmark"}
    assert [line for path, source in checked for line in known_entries(path, source)] == []


def test_nothing_general_knows_a_wrapper():
    assert len(wrapper_modules()) > 15
    assert [line for path, source in general_sources() for line in known_wrappers(path, source)] == []


@pytest.mark.parametrize(
    ("path", "source", "expected"),
    [
        ("trainer/loop.py", "from trainer.recipes.iedit.losses import f", "imports recipe iedit"),
        ("trainer/loop.py", "def f():\n    import trainer.recipes.iedit", "imports recipe iedit"),
        ("trainer/loop.py", "if kind == 'iedit': pass", "names recipe iedit"),
        ("cli/train.py", "help = f'one of iedit, {x}'", "names recipe iedit"),
        ("cli/train.py", "x = 'runs/tiny-iedit'", "names recipe iedit"),
        ("evaluation/run.py", "from evaluation.benchmarks.pairs import read", "imports benchmark pairs"),
        ("cli/evaluate.py", "if name == 'pairs': pass", "names benchmark pairs"),
        ("evaluation/benchmarks/pairs.py", "x = 'like emu_edit'", "names benchmark emu_edit"),
        ("evaluation/scores.py", "x = 'magicbrush'", "names benchmark magicbrush"),
    ],
)
def test_a_module_that_knows_an_entry_is_found(path, source, expected):
    (found,) = known_entries(path, source)
    assert found.endswith(expected)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("trainer/recipes/iedit/recipe.py", "from trainer.recipes.iedit.losses import f\nname = 'iedit'"),
        ("trainer/recipes/__init__.py", "RECIPES = {'iedit': 'trainer.recipes.iedit.recipe:IEdit'}"),
        ("trainer/loop.py", '"""After iedit."""\nx = 1\n"""As iedit says."""'),
        ("stages/retrieve.py", "x = 'pairs of images'"),
    ],
)
def test_a_module_that_may_know_an_entry_passes(path, source):
    assert known_entries(path, source) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("trainer/preview.py", "from models.diffusion.sdedit import SdEdit"),
        ("stages/caption.py", "def open():\n    import models.captioners.blip"),
        ("models/fetch.py", "from models.encoders import open_clip_encoder"),
        ("evaluation/judges.py", "x = 'models.encoders.clip:Clip'"),
        ("models/encoders/tagger.py", "from models.captioners.chat import PROMPT"),
    ],
)
def test_a_module_that_knows_a_wrapper_is_found(path, source):
    assert len(known_wrappers(path, source)) == 1


def test_wrappers_of_one_folder_may_build_on_each_other():
    assert (
        known_wrappers("models/diffusion/inpaint.py", "from models.diffusion.text_to_image import StableDiffusion")
        == []
    )


@pytest.mark.parametrize(
    "source", ["class Other(Stage): pass", "x = 1", "class ScorePair(Stage): pass\nclass ScoreOther(ExpandStage): pass"]
)
def test_a_module_that_is_no_single_stage_is_found(source):
    assert wrong_stage("score_pair", source).startswith("stages/score_pair.py: stages [")
    assert wrong_stage("score_pair", "class Half: pass\nclass ScorePair(MapStage): pass") == ""
