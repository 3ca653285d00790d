"""`wordnet:3.0`: the WordNet database, in the first of nltk's data folders that has it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from core.errors import ModelError
from core.missing import Missing
from models.language import fetch_wordnet, wordnet
from models.schemes.weights import Offer, Weights

if TYPE_CHECKING:
    from pathlib import Path

FORM = wordnet.MODEL_ID
KIND = "wordnet"
PACKAGES = ()
LICENCE = "WordNet 3.0"


def find(model_id: str, _name: str) -> Weights:
    """The database. `is_local` is false where it is not found. Raises ModelError for another version."""
    if model_id != wordnet.MODEL_ID:
        raise ModelError(f"no model is called {model_id!r} (known: {FORM}); correct the id in the manifest")
    return _at(Weights(model_id, "wordnet", "", None, is_local=False, stated_licence=LICENCE), wordnet.wordnet_folder())


def missing(weights: Weights) -> Missing | None:
    """The database, where it is nowhere."""
    if weights.is_local:
        return None
    return Missing(what=wordnet.not_found(), remedy=wordnet.REMEDY, model_id=weights.model_id)


def offer(_weights: Weights) -> Offer:
    """The size of nltk's archive. Debian's packages are about as large."""
    return Offer(num_bytes=fetch_wordnet.ARCHIVE_BYTES, licence=LICENCE)


def fetch(weights: Weights) -> Weights:
    """Download the database. Raises ModelError when no source has it."""
    return weights if weights.is_local else _at(weights, fetch_wordnet.fetch(wordnet.data_folder()))


def pin(_weights: Weights) -> str:
    """The version and a hash over the files. Raises MissingDataError."""
    return wordnet.wordnet_revision()


def _at(weights: Weights, place: Path | None) -> Weights:
    return weights if place is None else replace(weights, location=str(place), is_local=True)
