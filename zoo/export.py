"""Writes trained models into zoo/weights: half-precision safetensors beside their configuration."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

WEIGHTS = Path(os.environ.get("EDITLOOM_ZOO_WEIGHTS", Path(__file__).parent / "weights"))


def export(name: str, *parts: Any, into: Path | None = None) -> Path:
    """Saves every part (model, tokenizer, processor) with its own `save_pretrained` into one folder; models in fp16.

    The folder replaces an older one; a README there is kept.
    """
    folder = into or WEIGHTS / name
    beside = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(beside, ignore_errors=True)
    for part in parts:
        if hasattr(part, "parameters"):
            part.half()
        part.save_pretrained(beside)
    card = folder / "README.md"
    if card.exists():
        shutil.copy(card, beside / "README.md")
    shutil.rmtree(folder, ignore_errors=True)
    beside.rename(folder)
    print("wrote", folder, f"{sum(f.stat().st_size for f in folder.rglob('*')) / 1e6:.1f} MB")
    return folder
