"""Downloads models by their ids: what each needs, its size and licence before, and the download itself.

Used by `editloom fetch`, which is the permission to download. Sources give safetensors, GGUF and text files only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.errors import ModelError, one_line
from models import model_ids

if TYPE_CHECKING:
    from models.schemes.weights import Offer, Weights


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """One model id, looked up. `offer` is None where nothing has to be downloaded, or nobody could be asked.

    `problem` says in one line why the model cannot be fetched, or why its size is not known.
    """

    model_id: str
    weights: Weights | None = None
    offer: Offer | None = None
    problem: str | None = None

    @property
    def is_here(self) -> bool:
        """True when the model is on this machine already."""
        return self.weights is not None and self.offer is None and self.problem is None


def look_up(model_id: str) -> Wanted:
    """The weights of an id and the download that they need. Problems are in the result, not raised."""
    weights = None
    try:
        weights = model_ids.find(model_id)
        return Wanted(model_id=model_id, weights=weights, offer=model_ids.offer(weights))
    except ModuleNotFoundError as error:
        return Wanted(model_id=model_id, problem=f"the package {error.name} is not installed")
    except ModelError as error:
        return Wanted(model_id=model_id, problem=str(error))
    except network_errors() as error:
        return Wanted(model_id=model_id, weights=weights, problem=one_line(error))


def download(wanted: Wanted) -> str:
    """The place of the model on this machine, after its download. Raises ModelError naming the id and the reason."""
    if wanted.weights is None:
        raise ModelError(f"{wanted.model_id}: {wanted.problem}")
    try:
        return model_ids.download(wanted.weights).location
    except ModelError as error:
        raise ModelError(f"{wanted.model_id}: {error}") from error
    except network_errors() as error:
        raise ModelError(f"{wanted.model_id}: {one_line(error)}") from error


def network_errors() -> tuple[type[Exception], ...]:
    """Errors of the Hub's client and of its connections."""
    import httpx2

    return (OSError, httpx2.HTTPError)
