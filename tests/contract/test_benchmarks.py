"""Rules for every benchmark, and that nothing else knows one by name."""

import ast
from pathlib import Path

import pytest

from core.errors import EvaluationError, UsageError
from evaluation.benchmark import BenchmarkReader
from evaluation.benchmarks import BENCHMARKS, find_benchmark

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "evaluation" / "benchmarks"
GENERAL = [
    *sorted(set((ROOT / "evaluation").rglob("*.py")) - set(FOLDER.glob("*.py"))),
    *(ROOT / "cli" / f"{name}.py" for name in ("compare", "curve", "edit", "evaluate")),
]


def test_every_file_of_the_folder_is_a_registered_benchmark():
    files = {path.stem for path in FOLDER.glob("*.py")} - {"__init__"}
    assert files == {target.partition(":")[0].rpartition(".")[2] for target in BENCHMARKS.values()}


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_is_found_by_its_own_name(name):
    kind = find_benchmark(name)
    assert issubclass(kind, BenchmarkReader)
    assert kind.name == name


@pytest.mark.parametrize("name", BENCHMARKS)
def test_settings_of_a_benchmark_have_defaults_and_a_meaning(name):
    kind = find_benchmark(name)
    kind()
    (source,) = (FOLDER / f"{kind.__module__.rpartition('.')[2]}.py",)
    (declared,) = [
        node for node in ast.parse(source.read_text()).body
        if isinstance(node, ast.ClassDef) and node.name == kind.__name__
    ]  # fmt: skip
    documented = [
        one.target.id for one, following in zip(declared.body, declared.body[1:], strict=False)
        if isinstance(one, ast.AnnAssign) and isinstance(following, ast.Expr)
    ]  # fmt: skip
    assert set(kind.model_fields) <= set(documented)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_folder_of_something_else_is_refused_in_one_line(name, tmp_path):
    (tmp_path / "photo.jpg").write_bytes(b"none")
    with pytest.raises(EvaluationError) as caught:
        find_benchmark(name)().read(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_benchmark_is_refused_with_the_nearest_name():
    with pytest.raises(UsageError, match=r"no benchmark is called 'magic_brush' \(did you mean 'magicbrush'\?\)"):
        find_benchmark("magic_brush")


def names_in(source):
    """Benchmarks that code names: modules it imports, and texts other than docstrings."""
    tree = ast.parse(source)
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    texts = {
        node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in docs
    } | {
        f"{node.module}.{alias.name}" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }  # fmt: skip
    modules = {target.replace(":", ".") for target in BENCHMARKS.values()}
    return {text for text in texts if text in BENCHMARKS or text in modules}


def test_nothing_general_names_a_benchmark():
    assert len(GENERAL) > 10
    assert {path.name: found for path in GENERAL if (found := names_in(path.read_text()))} == {}


@pytest.mark.parametrize(
    "source", ["if name == 'emu_edit': pass", "from evaluation.benchmarks.pairs import Pairs", "x = {'magicbrush': 1}"]
)
def test_the_check_for_names_can_fail(source):
    assert names_in(source)
