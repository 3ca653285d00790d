"""`hf:owner/name@<commit>`: a repository of the Hugging Face Hub at one commit, read from the local cache.

Safetensors, GGUF and text files are downloaded; pickles, and weights that the repository holds twice, are not.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import ModelError
from models.schemes.hub_answers import answers_about, describe_repository
from models.schemes.snapshot import PINNED_SUFFIXES, check_weights, gaps, unwanted
from models.schemes.weights import TRANSFORMERS, Offer, Weights, hub_cache, not_in_cache

if TYPE_CHECKING:
    from core.missing import Missing

FORM = "hf:owner/name@<commit>"
KIND = ""
PACKAGES = TRANSFORMERS
WANTED = [*(f"*{suffix}" for suffix in sorted(PINNED_SUFFIXES)), "README.md"]
"""Patterns of the files that are downloaded."""


def find(model_id: str, name: str) -> Weights:
    """The repository in the local cache. `is_local` is false where its snapshot is absent or incomplete."""
    repository, _, commit = name.partition("@")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise ModelError(f"model {model_id!r} is malformed; expected {FORM}")
    if not re.fullmatch(r"[0-9a-f]{40}", commit):
        got = f"{commit!r} can move" if commit else "it can change any day"
        raise ModelError(
            f"model {model_id!r} is not pinned: {got}; add the 40 hex digits of a commit, hf:{repository}@<commit>, "
            f"as shown at https://huggingface.co/{repository}/commits/main"
        )
    folder = hub_cache() / f"models--{repository.replace('/', '--')}" / "snapshots" / commit
    if gaps(folder):
        return Weights(model_id, "hf", repository, commit, is_local=False)
    check_weights(model_id, folder)
    return Weights(model_id, "hf", str(folder), commit, is_local=True)


def missing(weights: Weights) -> Missing | None:
    """The snapshot, where it is not in the local cache."""
    return None if weights.is_local else not_in_cache(weights.model_id)


def offer(weights: Weights) -> Offer:
    """The size and the licence that the Hub states for the files of `fetch`. Raises ModelError or OSError."""
    from huggingface_hub.utils import filter_repo_objects  # type: ignore[attr-defined]  # exported without `__all__`

    sizes, licence = describe_repository(weights.location, weights.revision)
    wanted = filter_repo_objects(sizes, allow_patterns=WANTED, ignore_patterns=unwanted(list(sizes)))
    return Offer(num_bytes=sum(sizes[name] for name in wanted), licence=licence)


def fetch(weights: Weights) -> Weights:
    """Download the snapshot. Raises ModelError for a repository without safetensors, OSError for the network.

    Files of an interrupted download are kept. Processes that fetch the same repository at once wait in turn.
    """
    if weights.is_local:
        return weights
    from huggingface_hub import list_repo_files, snapshot_download

    with answers_about(weights.location):
        twice = unwanted(list_repo_files(weights.location, revision=weights.revision))
        folder = Path(
            snapshot_download(weights.location, revision=weights.revision, allow_patterns=WANTED, ignore_patterns=twice)
        )
    check_weights(weights.model_id, folder)
    if lacking := ", ".join(gaps(folder)):
        raise ModelError(f"model {weights.model_id!r}: the repository has no {lacking}; name one that is complete")
    return replace(weights, location=str(folder), is_local=True)


def pin(weights: Weights) -> str:
    """The commit."""
    return str(weights.revision)
