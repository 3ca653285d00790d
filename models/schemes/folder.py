"""`path:FOLDER` and `path:FILE`: a folder written by `save_pretrained`, a GGUF file, or example edits as JSON lines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import ModelError
from models.schemes.snapshot import check_weights, content_pin
from models.schemes.weights import TRANSFORMERS, Offer, Weights

if TYPE_CHECKING:
    from core.missing import Missing

FORM = "path:FOLDER"
KIND = ""
PACKAGES = TRANSFORMERS
FILE_SUFFIXES = frozenset({".gguf", ".jsonl"})


def find(model_id: str, name: str) -> Weights:
    """The folder or file. Raises ModelError where it does not exist or holds no weights."""
    path = Path(name).expanduser()
    if not path.exists():
        raise ModelError(f"model {model_id!r}: {path} does not exist; correct the path in the manifest")
    if path.is_file() and path.suffix not in FILE_SUFFIXES:
        raise ModelError(
            f"model {model_id!r} is a file; expected a folder written by save_pretrained, a .gguf or a .jsonl"
        )
    check_weights(model_id, path)
    return Weights(model_id, "path", str(path), None, is_local=True)


def missing(_weights: Weights) -> Missing | None:
    """Nothing: `find` refuses a path that does not exist."""
    return None


def offer(weights: Weights) -> Offer:
    """Nothing to download."""
    return Offer(num_bytes=0, licence=weights.licence())


def fetch(weights: Weights) -> Weights:
    """The same weights."""
    return weights


def pin(weights: Weights) -> str:
    """A hash over the content."""
    return content_pin(Path(weights.location))
