"""Asks the Hugging Face Hub about a repository. An answer that is not the Hub's becomes one clear error.

A proxy, a login page or another server may answer in its place.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from core.errors import ModelError, one_line
from models.schemes.model_card import card_licence

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def answers_about(repository: str) -> Iterator[None]:
    """Turn errors of the Hub's client about an answer within the block into ModelError. Those of the network pass."""
    try:
        yield
    except (OSError, ModelError):
        raise
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise ModelError(
            f"the answer about {repository} is not one of the Hub ({one_line(error, 160)}); check HF_ENDPOINT and "
            "the proxies"
        ) from error


def describe_repository(repository: str, revision: str | None = None) -> tuple[dict[str, int], str | None]:
    """(name -> bytes of each file, licence), as the Hub states them. Raises ModelError or OSError."""
    from huggingface_hub import HfApi

    with answers_about(repository):
        info = HfApi().model_info(repository, revision=revision, files_metadata=True)
        sizes = {file.rfilename: int(file.size or 0) for file in info.siblings or ()}
        return sizes, card_licence(info.card_data or {})
