"""`path:FOLDER` and `path:FILE`: a folder written by `save_pretrained`, a GGUF file, or data.

Data are example edits (`.jsonl`) and lists of hashes of images (`.hashes.parquet`).
"""

from __future__ import annotations

from pathlib import Path

from core.errors import ModelError
from models.hash_lists import HASHES_SUFFIX
from models.schemes import on_disk
from models.schemes.snapshot import check_weights
from models.schemes.weights import TRANSFORMERS, Weights

FORM = "path:FOLDER"
KIND = ""
PACKAGES = TRANSFORMERS
FILE_SUFFIXES = (".gguf", ".jsonl", HASHES_SUFFIX)

missing, offer, fetch, pin = on_disk.missing, on_disk.offer, on_disk.fetch, on_disk.pin


def find(model_id: str, name: str) -> Weights:
    """The folder or file. Raises ModelError where it does not exist or holds no weights."""
    path = Path(name).expanduser()
    if not path.exists():
        raise ModelError(f"model {model_id!r}: {path} does not exist; correct the path in the manifest")
    if path.is_file() and not path.name.endswith(FILE_SUFFIXES):
        raise ModelError(
            f"model {model_id!r} is a file; expected a folder written by save_pretrained, or a file "
            f"{', '.join(FILE_SUFFIXES)}"
        )
    check_weights(model_id, path)
    return Weights(model_id, "path", str(path), None, is_local=True)
