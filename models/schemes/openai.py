"""`openai:MODEL@http://HOST:PORT/v1`: the model that a server with OpenAI's chat interface calls MODEL.

A server may change the model behind a name without notice; nothing here can see that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from core.errors import ModelError
from models.schemes.weights import Offer, Weights

if TYPE_CHECKING:
    from core.missing import Missing

FORM = "openai:MODEL@URL"
KIND = "openai"
PACKAGES = ("httpx2",)


def find(model_id: str, name: str) -> Weights:
    """The address and the model's name there. Raises ModelError for an id without them, or with a password."""
    model, _, address = name.rpartition("@")
    if "://" in model:  # a user name before the host's own @
        raise ModelError("an openai: id holds a user name or password; a model id is no place for them: remove it")
    url = urlsplit(address)
    if not model or url.scheme not in ("http", "https") or not url.hostname or url.query or url.fragment:
        raise ModelError(f"model {model_id!r} is malformed; expected openai:MODEL@http://HOST:PORT/v1")
    return Weights(model_id, "openai", address.rstrip("/"), model, is_local=False)


def missing(_weights: Weights) -> Missing | None:
    """Nothing: the weights are the server's."""
    return None


def offer(_weights: Weights) -> Offer:
    """Nothing to download."""
    return Offer(num_bytes=0, licence=None)


def fetch(weights: Weights) -> Weights:
    """The same weights."""
    return weights


def pin(weights: Weights) -> str:
    """The model's name at the server."""
    return str(weights.revision)
