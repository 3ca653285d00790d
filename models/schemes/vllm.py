"""`vllm:ID`: the weights of an hf:, path: or zoo: id, run by vLLM in the worker.

The inner id is the part `ID`; its own scheme finds, downloads and pins the weights.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from core.errors import ModelError
from models.schemes import folder, hub, zoo

if TYPE_CHECKING:
    from core.missing import Missing
    from models.schemes.weights import Offer, Weights

FORM = "vllm:ID"
KIND = "vllm"
PACKAGES = ("vllm",)
INNER: dict[str, Any] = {"hf": hub, "path": folder, "zoo": zoo}


def find(model_id: str, name: str) -> Weights:
    """The weights of the inner id. Raises ModelError for an id of a scheme that vLLM does not run."""
    scheme, _, inner_name = name.partition(":")
    if scheme not in INNER:
        raise ModelError(f"model {model_id!r}: vLLM runs hf:, path: and zoo: ids, not {scheme}:; name another")
    inner: Weights = INNER[scheme].find(name, inner_name)
    return replace(inner, model_id=model_id, scheme="vllm")


def missing(weights: Weights) -> Missing | None:
    """The download that the inner id needs, or None when its weights are on this machine."""
    found: Missing | None = _inner(weights).missing(weights)
    return found


def offer(weights: Weights) -> Offer:
    """The size and the licence of the inner id's download."""
    found: Offer = _inner(weights).offer(weights)
    return found


def fetch(weights: Weights) -> Weights:
    """Download the weights of the inner id."""
    fetched: Weights = _inner(weights).fetch(weights)
    return fetched


def pin(weights: Weights) -> str:
    """The pin of the inner id."""
    return str(_inner(weights).pin(weights))


def _inner(weights: Weights) -> Any:
    return INNER[weights.model_id.split(":")[1]]
