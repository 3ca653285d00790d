"""From a model id in a manifest to the loaded model: which wrapper serves it, its revision, and what is missing.

Importing it is light: a wrapper's libraries are imported when a model of its scheme is loaded.
"""

from __future__ import annotations

from typing import Any

from models import wordnet


def load(model_id: str) -> Any:
    """The model behind `model_id`, ready to use. Raises LookupError for an unknown id or absent data."""
    _check(model_id)
    return wordnet.WordNet()


def revision(model_id: str) -> str:
    """What identifies the weights or data behind `model_id`; enters the fingerprint of stages. Raises LookupError."""
    _check(model_id)
    return wordnet.wordnet_revision()


def missing(model_id: str) -> str | None:
    """One line saying why `model_id` cannot be loaded and what to do; None when it can."""
    try:
        _check(model_id)
    except LookupError as error:
        return str(error.args[0])
    return wordnet.missing_message()


def _check(model_id: str) -> None:
    if model_id != wordnet.MODEL_ID:
        raise LookupError(
            f"no model is called {model_id!r} (known: {wordnet.MODEL_ID}); correct the id in the manifest"
        )
