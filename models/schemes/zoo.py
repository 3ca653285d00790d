"""`zoo:NAME`: a miniature model of this project, in `zoo/weights/NAME` of the checkout."""

from __future__ import annotations

from pathlib import Path

from core.errors import ModelError
from models.schemes import on_disk
from models.schemes.snapshot import check_weights
from models.schemes.weights import TRANSFORMERS, Weights

FORM = "zoo:NAME"
KIND = ""
PACKAGES = TRANSFORMERS
ZOO = Path(__file__).resolve().parents[2] / "zoo" / "weights"

missing, offer, fetch, pin = on_disk.missing, on_disk.offer, on_disk.fetch, on_disk.pin


def find(model_id: str, name: str) -> Weights:
    """The folder of the model. Raises ModelError for a name that the zoo does not have."""
    known = sorted(p.name for p in ZOO.iterdir() if p.is_dir()) if ZOO.is_dir() else []
    if name not in known:
        raise ModelError(f"no model is called {model_id!r} (the zoo holds: {', '.join(known) or 'none'}); see {ZOO}")
    check_weights(model_id, ZOO / name)
    return Weights(model_id, "zoo", str(ZOO / name), None, is_local=True)
