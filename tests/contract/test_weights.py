"""Weights are data: no pickle is ever opened, and what the zoo ships is safetensors and text of bounded size."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("pipeline", "stages", "models", "trainer", "evaluation", "export", "zoo", "benchmarks", "docs")
RUNS_CODE = {
    "torch.load", "torch.jit.load", "torch.hub.load", "pickle.load", "pickle.loads", "pickle.Unpickler",
    "cloudpickle.load", "cloudpickle.loads", "dill.load", "dill.loads", "joblib.load", "pandas.read_pickle",
    "shelve.open",
}  # fmt: skip
"""Calls that run code found in the file they open."""
MAY_UNPICKLE = {"benchmarks/engine/bare.py"}
"""The bare script of the engine's benchmark reads back what it has just written."""
WITHOUT_WEIGHTS = ("Processor", "Tokenizer", "TokenizerFast", "FeatureExtractor", "Config", "Scheduler")
SAFE_ARGUMENTS = "pretrained_arguments"
"""The method of `Weights` that gives every `from_pretrained` its arguments, `use_safetensors` among them."""

ZOO_WEIGHTS = ROOT / "zoo" / "weights"
ZOO_SUFFIXES = {".safetensors", ".json", ".txt", ".md", ".model"}
ZOO_MAX_BYTES = 60_000_000
"""40 MB for the models of stages; 20 MB for an instruction editor and its early checkpoint, where trainings start."""


def dotted(node):
    """The dotted name of an expression, "" where it has none."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def full_names(tree):
    """Local name -> what was imported under it."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return names


def is_true(call, name):
    """True when the call has the keyword `name` with the constant True."""
    return any(k.arg == name and isinstance(k.value, ast.Constant) and k.value.value is True for k in call.keywords)


def may_load_pickles(call, *, has_safe_arguments):
    """True for a `from_pretrained` that opens weights and does not ask for safetensors."""
    if not isinstance(call.func, ast.Attribute) or call.func.attr != "from_pretrained":
        return False
    if dotted(call.func.value).endswith(WITHOUT_WEIGHTS) or is_true(call, "use_safetensors"):
        return False
    return not (has_safe_arguments and any(keyword.arg is None for keyword in call.keywords))


def unsafe_calls(path, source):
    """Calls of a file that may open a pickle, a line each."""
    tree = ast.parse(source)
    names = full_names(tree)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    has_safe_arguments = any(dotted(call.func).endswith(SAFE_ARGUMENTS) for call in calls)
    wrong = []
    for call in calls:
        first, _, rest = dotted(call.func).partition(".")
        name = f"{names.get(first, first)}{'.' if rest else ''}{rest}"
        if name in RUNS_CODE and path not in MAY_UNPICKLE:
            wrong.append(f"{path}:{call.lineno}: {name} runs code of the file it opens")
        elif is_true(call, "allow_pickle"):
            wrong.append(f"{path}:{call.lineno}: {name} is allowed to unpickle")
        elif may_load_pickles(call, has_safe_arguments=has_safe_arguments):
            wrong.append(f"{path}:{call.lineno}: {name} without use_safetensors=True")
    return wrong


def wrong_weights(folder, max_bytes=ZOO_MAX_BYTES):
    """Yield each fault among the zoo's weights as a line."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    wrong = [f"{path.name} is no kind of file for weights" for path in files if path.suffix not in ZOO_SUFFIXES]
    wrong += [
        f"{path.name} leads out of the folder" for path in files if folder.resolve() not in path.resolve().parents
    ]
    size = sum(path.stat().st_size for path in {path.resolve() for path in files})
    return wrong + ([f"{size} bytes are more than {max_bytes}"] if size > max_bytes else [])


def sources():
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")


def test_no_code_of_ours_opens_a_pickle():
    checked = list(sources())
    assert len(checked) > 50
    assert [line for path, source in checked for line in unsafe_calls(path, source)] == []


@pytest.mark.parametrize(
    "source",
    [
        "import torch\ntorch.load('x.bin')",
        "import torch as t\nt.load('x.bin', weights_only=True)",
        "from torch import load\nload('x.bin')",
        "from pickle import loads as read\nread(b'')",
        "import pickle\npickle.Unpickler(file).load()",
        "import numpy as np\nnp.load('x.npy', allow_pickle=True)",
        "from transformers import CLIPModel\nCLIPModel.from_pretrained('x')",
        "from transformers import CLIPModel\nCLIPModel.from_pretrained('x', use_safetensors=False)",
        "CLIPModel.from_pretrained('x', **arguments)",
    ],
)
def test_a_call_that_may_open_a_pickle_is_found(source):
    assert len(unsafe_calls("models/x.py", source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        "from transformers import CLIPModel\nCLIPModel.from_pretrained('x', use_safetensors=True)",
        "arguments = weights.pretrained_arguments()\nCLIPModel.from_pretrained('x', **arguments)",
        "from transformers import AutoTokenizer\nAutoTokenizer.from_pretrained('x')",
        "from safetensors.torch import load_file\nload_file('x.safetensors')",
        "import numpy as np, json\nnp.load('x.npy')\njson.load(file)",
    ],
)
def test_a_call_that_opens_no_pickle_passes(source):
    assert unsafe_calls("models/x.py", source) == []


def test_the_weights_of_the_zoo_are_safetensors_and_text_of_bounded_size():
    assert wrong_weights(ZOO_WEIGHTS) == []


def test_other_files_and_too_many_bytes_are_found_among_weights(tmp_path):
    (tmp_path / "clip").mkdir()
    (tmp_path / "clip" / "model.safetensors").write_bytes(b"1234")
    assert wrong_weights(tmp_path) == []
    (tmp_path / "clip" / "shared.safetensors").symlink_to("model.safetensors")
    assert wrong_weights(tmp_path, 4) == []
    (tmp_path / "clip" / "optimizer.pt").write_bytes(b"")
    assert wrong_weights(tmp_path, 3) == ["optimizer.pt is no kind of file for weights", "4 bytes are more than 3"]
    (tmp_path / "clip" / "optimizer.pt").unlink()
    assert wrong_weights(tmp_path / "clip", 4) == []
    (tmp_path / "clip" / "far.json").symlink_to(__file__)
    assert wrong_weights(tmp_path / "clip", 10**6) == ["far.json leads out of the folder"]
