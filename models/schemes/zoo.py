"""`zoo:NAME`: a miniature model of this project, in `zoo/weights/NAME` of the checkout."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import ModelError
from models.schemes.snapshot import check_weights, content_pin
from models.schemes.weights import TRANSFORMERS, Offer, Weights

if TYPE_CHECKING:
    from core.missing import Missing

FORM = "zoo:NAME"
KIND = ""
PACKAGES = TRANSFORMERS
ZOO = Path(__file__).resolve().parents[2] / "zoo" / "weights"


def find(model_id: str, name: str) -> Weights:
    """The folder of the model. Raises ModelError for a name that the zoo does not have."""
    known = sorted(p.name for p in ZOO.iterdir() if p.is_dir()) if ZOO.is_dir() else []
    if name not in known:
        raise ModelError(f"no model is called {model_id!r} (the zoo holds: {', '.join(known) or 'none'}); see {ZOO}")
    check_weights(model_id, ZOO / name)
    return Weights(model_id, "zoo", str(ZOO / name), None, is_local=True)


def missing(_weights: Weights) -> Missing | None:
    """Nothing: `find` refuses a name that the zoo does not have."""
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
