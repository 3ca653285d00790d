"""`examples:NAME`: a set of example edits that comes with the project, read by `models.language.example_sets`."""

from __future__ import annotations

from core.errors import ModelError
from models.language.example_sets import BUNDLED
from models.schemes import on_disk
from models.schemes.weights import Weights

FORM = "examples:NAME"
KIND = "edit_examples"
PACKAGES = ()
LICENCE = "apache-2.0"

missing, offer, fetch, pin = on_disk.missing, on_disk.offer, on_disk.fetch, on_disk.pin


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
