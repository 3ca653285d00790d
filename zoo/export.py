"""Where the miniature models lie, and how a trained one is written there: half-precision safetensors.

They lie in zoo/weights. With EDITLOOM_ZOO_OUTPUT set to a folder, what is trained goes there instead, and is read from
there before zoo/weights: so a model can be trained anew and measured without touching the one in the repository.
"""

from __future__ import annotations

import filecmp
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from torch import nn

WEIGHTS = Path(__file__).parent / "weights"
OUTPUT_VARIABLE = "EDITLOOM_ZOO_OUTPUT"


def output_folder() -> Path:
    """Where trained models are written."""
    return Path(os.environ.get(OUTPUT_VARIABLE) or WEIGHTS)


def folder_of(name: str) -> Path:
    """Where the model `name` is read from."""
    retrained = output_folder() / name
    return retrained if retrained.is_dir() else WEIGHTS / name


def model_id(name: str) -> str:
    """The id by which the wrappers of `models` load the model `name`."""
    folder = folder_of(name)
    return f"zoo:{name}" if folder == WEIGHTS / name else f"path:{folder.resolve()}"


def fingerprint_of(name: str) -> str:
    """A hash of all weights of the model `name`, which differs from that of any others."""
    digest = hashlib.sha256()
    for file in sorted(folder_of(name).rglob("*.safetensors")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def share(name: str, other: str) -> None:
    """Replaces weights of `name` that are, byte by byte, those of `other` in the same place by relative links."""
    folder, owner = output_folder() / name, output_folder() / other
    for file in folder.rglob("*.safetensors"):
        twin = owner / file.relative_to(folder)
        if twin.is_file() and filecmp.cmp(file, twin, shallow=False):
            file.unlink()
            file.symlink_to(os.path.relpath(twin, file.parent))


def export(name: str, *parts: Any) -> Path:
    """Saves every part (model, tokenizer, processor, pipeline) with its `save_pretrained` into one folder, in fp16.

    The folder replaces an older one; a model card there is kept.
    """
    folder = output_folder() / name
    partial = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(partial, ignore_errors=True)
    for part in parts:
        if isinstance(part, nn.Module):  # a pipeline comes in half precision; it has `parameters` too, of another kind
            part.half()
        part.save_pretrained(partial)
    for file in partial.rglob("*.json"):
        _forget_path(file)
    for file in partial.rglob("*"):
        file.chmod(0o755 if file.is_dir() else 0o644)  # safetensors writes for the owner alone
    card = folder / "README.md"
    if card.exists():
        shutil.copy(card, partial / "README.md")
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
    print(f"wrote {folder}, {sum(file.stat().st_size for file in folder.rglob('*')) / 1e6:.1f} MB")
    return folder


def _forget_path(config: Path) -> None:
    """Takes out where a part was read from before, which diffusers writes into its configuration."""
    values = json.loads(config.read_text())
    if isinstance(values, dict) and values.pop("_name_or_path", None) is not None:
        config.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n")
