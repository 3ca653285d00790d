"""`path:FOLDER` and `path:FILE`: a folder written by `save_pretrained`, a GGUF file, or example edits as JSON lines."""

from __future__ import annotations

from pathlib import Path

from core.errors import ModelError
from models.schemes import on_disk
from models.schemes.snapshot import check_weights
from models.schemes.weights import TRANSFORMERS, Weights

FORM = "path:FOLDER"
KIND = ""
PACKAGES = TRANSFORMERS
FILE_SUFFIXES = frozenset({".gguf", ".jsonl"})

missing, offer, fetch, pin = on_disk.missing, on_disk.offer, on_disk.fetch, on_disk.pin


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
