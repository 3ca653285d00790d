"""`examples:NAME`: a set of example edits that comes with the project, read by `models.language.example_sets`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import ModelError
from models.language.example_sets import BUNDLED
from models.schemes.snapshot import content_pin
from models.schemes.weights import Offer, Weights

if TYPE_CHECKING:
    from core.missing import Missing

FORM = "examples:NAME"
KIND = "edit_examples"
PACKAGES = ()
LICENCE = "apache-2.0"


def find(model_id: str, name: str) -> Weights:
    """The file of the set. Raises ModelError for a name that the project does not have."""
    known = sorted(path.stem for path in BUNDLED.glob("*.jsonl"))
    if name not in known:
        raise ModelError(
            f"no example set is called {model_id!r} (known: {', '.join(f'examples:{one}' for one in known)}); "
            "correct the id in the manifest, or name a file of yours as path:FILE.jsonl"
        )
    location = str(BUNDLED / f"{name}.jsonl")
    return Weights(model_id, "examples", location, None, is_local=True, stated_licence=LICENCE)


def missing(_weights: Weights) -> Missing | None:
    """Nothing: `find` refuses a name that the project does not have."""
    return None


def offer(weights: Weights) -> Offer:
    """Nothing to download."""
    return Offer(num_bytes=0, licence=weights.licence())


def fetch(weights: Weights) -> Weights:
    """The same set."""
    return weights


def pin(weights: Weights) -> str:
    """A hash over the content."""
    return content_pin(Path(weights.location))
