"""The weights that a model id names: a value shared by all schemes and wrappers, and the permission to download.

Nothing is downloaded unless EDITLOOM_DOWNLOAD=1 or `editloom fetch` is run, so that a build does not fetch gigabytes on
each worker by surprise. `models.model_ids` declares the schemes.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.missing import Missing
from models.schemes.model_card import licence_of_readme

DOWNLOAD_VARIABLE = "EDITLOOM_DOWNLOAD"
OFFLINE_VARIABLE = "HF_HUB_OFFLINE"
TRANSFORMERS = ("torch", "transformers")
"""Packages that load a checkpoint of transformers."""


@dataclass(frozen=True, slots=True)
class Weights:
    """The weights of one model id, and their place.

    `location` is a local folder or file where `is_local`, else a repository of the Hub, `ARCH/TAG` of open_clip or the
    address of an endpoint. `revision` is the commit of a repository, the tag of open_clip, the model's name at an
    endpoint; None where the content itself is the pin. `stated_licence` is for weights without a README.md. An id that
    names its own wrapper has it in `wrapper`, as `module:Class`, and the protocols that this states in `serves`.
    """

    model_id: str
    scheme: str
    location: str
    revision: str | None
    is_local: bool
    stated_licence: str | None = None
    wrapper: str = ""
    serves: tuple[str, ...] = ()

    def pretrained_arguments(self) -> dict[str, Any]:
        """Keyword arguments for every `from_pretrained`: this revision, safetensors only, and no look at the Hub."""
        pinned = {} if self.is_local else {"revision": self.revision}
        return {**pinned, "use_safetensors": True, "local_files_only": self.is_local or not downloads_allowed()}

    def licence(self) -> str | None:
        """The licence that came with the weights, or None when none is stated or they are not on this machine."""
        if self.stated_licence is not None or not self.is_local:
            return self.stated_licence
        root = Path(self.location)
        return licence_of_readme((root.parent if root.is_file() else root) / "README.md")


@dataclass(frozen=True, kw_only=True, slots=True)
class Offer:
    """The size of a download in bytes, and the licence that its source states."""

    num_bytes: int
    licence: str | None


def downloads_allowed() -> bool:
    """True when the operator lets workers download weights."""
    return _is_set(DOWNLOAD_VARIABLE) and not _is_set(OFFLINE_VARIABLE)


def hub_cache() -> Path:
    """The folder where the Hub's client keeps repositories, by the same variables as that client."""
    home = os.environ.get("HF_HOME") or f"{os.environ.get('XDG_CACHE_HOME') or '~/.cache'}/huggingface"
    return Path(os.environ.get("HF_HUB_CACHE") or f"{home}/hub").expanduser()


def not_in_cache(model_id: str) -> Missing:
    """A model of the Hub that has to be downloaded."""
    line = f"get it with `editloom fetch {model_id}`"
    if _is_set(OFFLINE_VARIABLE):
        remedy = f"{line} where {OFFLINE_VARIABLE} is not set, and copy the cache here"
    else:
        remedy = f"{line}, or set {DOWNLOAD_VARIABLE}=1 to let workers do so"
    return Missing(what=f"model {model_id!r} is not in the local cache {hub_cache()}", remedy=remedy, model_id=model_id)


def _is_set(variable: str) -> bool:
    return os.environ.get(variable, "").lower() in ("1", "true", "yes", "on")
