"""From a model id to the weights that it names: the table of schemes, and the five functions of each.

An id is `scheme:name`; the module of each scheme in `models/schemes` describes its names. A new scheme is one module
there and one line of SCHEMES.

Weights are safetensors or GGUF, never pickles. `find`, `missing` and `pin` are light, no torch and no network; but of
an `open_clip:` id `missing` imports open_clip.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from core.errors import ModelError
from models.schemes import code, examples, folder, hub, open_clip, openai, smollm2, vllm, wordnet, zoo
from models.schemes.weights import downloads_allowed

if TYPE_CHECKING:
    from core.missing import Missing
    from models.schemes.weights import Offer, Weights


class Scheme(Protocol):
    """The interface of a module in `models/schemes`."""

    @property
    def FORM(self) -> str:  # noqa: N802  a constant of a module
        """The form of an id, for messages."""
        ...

    @property
    def KIND(self) -> str:  # noqa: N802
        """The kind of all its models, for the registry, or empty where the files of each model say it."""
        ...

    @property
    def PACKAGES(self) -> tuple[str, ...]:  # noqa: N802
        """Packages that load its models."""
        ...

    def find(self, model_id: str, name: str, /) -> Weights:
        """The weights behind an id, `name` being the part after the scheme. Raises ModelError for a wrong id.

        Weights that have to be downloaded are no error: they have `is_local` false.
        """
        ...

    def missing(self, weights: Weights, /) -> Missing | None:
        """The download that the weights need before they can be loaded, found without a look at the network."""
        ...

    def offer(self, weights: Weights, /) -> Offer:
        """The size and the licence of that download, asked of its source. Raises ModelError or OSError."""
        ...

    def fetch(self, weights: Weights, /) -> Weights:
        """The same weights, downloaded where they are missing. Raises ModelError or OSError."""
        ...

    def pin(self, weights: Weights, /) -> str:
        """The identity of the content, for fingerprints: a commit, a hash, or a name where there is no more."""
        ...


SCHEMES: dict[str, Scheme] = {
    "hf": hub,
    "path": folder,
    "zoo": zoo,
    "open_clip": open_clip,
    "openai": openai,
    "vllm": vllm,
    "smollm2": smollm2,
    "wordnet": wordnet,
    "examples": examples,
    "code": code,
}


def find(model_id: str) -> Weights:
    """The weights that `model_id` names, looked up on this machine. Raises ModelError for a wrong id."""
    scheme, _, name = model_id.partition(":")
    if scheme not in SCHEMES or not name:
        forms = ", ".join(known.FORM for known in SCHEMES.values())
        raise ModelError(f"no model is called {model_id!r} (known: {forms}); correct the id in the manifest")
    return SCHEMES[scheme].find(model_id, name)


def missing(weights: Weights) -> Missing | None:
    """The download that the weights need, or None, also where workers may download and the revision is known."""
    lack = SCHEMES[weights.scheme].missing(weights)
    return None if downloads_allowed() and weights.revision is not None else lack


def offer(weights: Weights) -> Offer | None:
    """The download that the weights need, or None where they are on this machine. Raises ModelError or OSError."""
    scheme = SCHEMES[weights.scheme]
    return None if scheme.missing(weights) is None else scheme.offer(weights)


def fetch(weights: Weights) -> Weights:
    """The weights on this machine, downloaded only where workers may do so. Raises ModelError or OSError."""
    lack = missing(weights)
    if lack is not None:
        raise ModelError(lack.message)
    return download(weights)


def download(weights: Weights) -> Weights:
    """The weights on this machine, downloaded where they are missing. Raises ModelError or OSError."""
    return SCHEMES[weights.scheme].fetch(weights)


def pin(weights: Weights) -> str:
    """The identity of the content, for fingerprints."""
    return SCHEMES[weights.scheme].pin(weights)
