"""Files of a checkpoint: which hold weights, what a folder lacks, what pins its content."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from core.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

WEIGHT_SUFFIXES = frozenset({".safetensors", ".gguf"})
PICKLE_SUFFIXES = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl"})
PINNED_SUFFIXES = WEIGHT_SUFFIXES | {".json", ".txt", ".jinja", ".model"}
"""Files that decide a result: weights, configurations, vocabularies, chat templates."""
SHOWN_DIGITS = 16
ENTRY_FILES = ("config.json", "model_index.json", "open_clip_config.json")
"""One of them says what a folder holds, unless a GGUF file does."""
WITHOUT_WEIGHTS = ("Scheduler", "Tokenizer", "TokenizerFast", "FeatureExtractor", "Processor")
"""Endings of classes that are components of a diffusers pipeline and no models."""
COPIES = (".fp16.", ".non_ema.")
"""In names of weights that a diffusers repository holds once more, and that are not loaded."""


def files_in(folder: Path, suffixes: frozenset[str]) -> list[Path]:
    """All files below `folder` with one of the suffixes, sorted."""
    return sorted(p for p in folder.rglob("*") if p.suffix in suffixes and p.is_file())


def check_weights(model_id: str, path: Path) -> None:
    """Refuse a folder without weights that can be read without running code. Raises ModelError."""
    if path.is_file() or files_in(path, WEIGHT_SUFFIXES):
        return
    pickled = files_in(path, PICKLE_SUFFIXES)
    if pickled:
        raise ModelError(
            f"model {model_id!r}: {path} holds pickled weights only ({pickled[0].name}), which run code when they are "
            "opened; expected safetensors only: take a revision that has them, or convert with save_pretrained"
        )
    raise ModelError(f"model {model_id!r}: {path} holds no weights; expected *.safetensors or a *.gguf file")


def content_pin(root: Path) -> str:
    """A hash over the files of a folder, or over one file, that decide a result."""
    files = [root] if root.is_file() else files_in(root, PINNED_SUFFIXES)
    total = hashlib.sha256()
    for file in files:
        stat = file.stat()
        name = file.name if file == root else file.relative_to(root).as_posix()
        total.update(f"{name} {stat.st_size} {_sha256(file, stat.st_size, stat.st_mtime_ns)}\n".encode())
    return f"sha256:{total.hexdigest()[:SHOWN_DIGITS]}"


@lru_cache(maxsize=4096)
def _sha256(file: Path, _size_bytes: int, _mtime_ns: int) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def gaps(folder: Path) -> list[str]:
    """Names of the parts that a snapshot lacks: an entry file, weights, parts of split weights, models of a pipeline.

    Pickles count as the weights of a folder, so that the refusal can name them, but not as those of a component.
    """
    if not any((folder / name).is_file() for name in ENTRY_FILES) and not any(folder.glob("*.gguf")):
        return [" or ".join(ENTRY_FILES)]
    lacking = [] if files_in(folder, WEIGHT_SUFFIXES | PICKLE_SUFFIXES) else ["weights"]
    for index in sorted(folder.rglob("*.safetensors.index.json")):
        names = (_described(index) or {}).get("weight_map")
        if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
            lacking.append(index.relative_to(folder).as_posix())
            continue
        parts = [index.parent / part for part in sorted(set(names.values()))]
        lacking += [part.relative_to(folder).as_posix() for part in parts if not part.is_file()]
    pipeline = folder / "model_index.json"
    components = _described(pipeline) if pipeline.is_file() else {}
    if components is None:
        return [*lacking, pipeline.name]
    return lacking + [
        f"{name}/*.safetensors"
        for name, kind in components.items()
        if _is_model(kind) and all(_is_copy(path.name) for path in (folder / name).glob("*.safetensors"))
    ]


def _described(file: Path) -> dict[str, Any] | None:
    """The object in a JSON file, or None where there is no such object in it."""
    try:
        found = json.loads(file.read_bytes())
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def unwanted(names: Sequence[str]) -> list[str]:
    """Patterns of weights that a repository with these files holds twice.

    In a diffusers repository those are the single-file checkpoints at the root and the copies, in others GGUF next to
    safetensors.
    """
    if "model_index.json" in names:
        at_root = [name for name in names if "/" not in name and name.endswith(tuple(WEIGHT_SUFFIXES))]
        return [*(f"*{copy}*" for copy in COPIES), *at_root]
    return ["*.gguf"] if any(name.endswith(".safetensors") for name in names) else []


def _is_model(component: Any) -> bool:
    """True for an entry of model_index.json, `[library, class]`, that is a model."""
    if not isinstance(component, list) or not all(isinstance(name, str) for name in component):
        return False
    return not component[-1].endswith(WITHOUT_WEIGHTS)


def _is_copy(name: str) -> bool:
    return any(copy in name for copy in COPIES)
