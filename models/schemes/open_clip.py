"""`open_clip:ARCH/TAG`: an architecture of open_clip and one of its published tags, as safetensors from the Hub.

Tags that are only a pickle are refused, since a pickle runs code when it is opened. A tag means the last commit of
its repository that this machine has fetched. All functions but `find` and `pin` import open_clip, and torch with it:
nothing else knows the tags.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.errors import ModelError
from models.schemes.hub_answers import answers_about, describe_repository
from models.schemes.weights import Offer, Weights, hub_cache, not_in_cache

if TYPE_CHECKING:
    from core.missing import Missing

FORM = "open_clip:ARCH/TAG"
KIND = "open_clip"
PACKAGES = ("open_clip",)


def find(model_id: str, name: str) -> Weights:
    """The tag, which is never a local folder. Raises ModelError for an id without architecture or tag."""
    architecture, _, tag = name.partition("/")
    if not architecture or not tag:
        raise ModelError(f"model {model_id!r} is malformed; expected {FORM}, such as ViT-L-14/openai")
    return Weights(model_id, "open_clip", name, tag, is_local=False)


def missing(weights: Weights) -> Missing | None:
    """The tag's file, where it is not in the local cache. Raises ModelError for a tag that cannot be served."""
    return None if _cached(*_hub_file(weights)) else not_in_cache(weights.model_id)


def offer(weights: Weights) -> Offer:
    """The size and the licence that the Hub states. Raises ModelError for a pickle, OSError for the network."""
    repository, file = _hub_file(weights)
    sizes, licence = describe_repository(repository)
    if file not in sizes:
        raise _only_pickled(weights, f"from {repository}, which has no {file}")
    return Offer(num_bytes=sizes[file], licence=licence)


def fetch(weights: Weights) -> Weights:
    """Download the tag's file, which `checkpoint` finds. Raises ModelError, OSError."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import RemoteEntryNotFoundError

    repository, file = _hub_file(weights)
    if not _cached(repository, file):
        try:
            with answers_about(repository):
                hf_hub_download(repository, file, cache_dir=hub_cache())
        except RemoteEntryNotFoundError as error:
            raise _only_pickled(weights, f"from {repository}, which has no {file}") from error
    return weights


def pin(weights: Weights) -> str:
    """The tag."""
    return str(weights.revision)


def checkpoint(weights: Weights) -> str:
    """The tag's safetensors in the local cache. Raises ModelError where it was not fetched."""
    path = _cached(*_hub_file(weights))
    if path is None:
        raise ModelError(not_in_cache(weights.model_id).message)
    return path


def known_tag(weights: Weights) -> dict[str, Any]:
    """The settings that open_clip has for a tag. Raises ModelError for a tag that it does not know."""
    from open_clip import get_pretrained_cfg, list_models, list_pretrained_tags_by_model

    name, _, tag = weights.location.partition("/")
    known: dict[str, Any] = get_pretrained_cfg(name, tag)
    if not known:
        tags = ", ".join(list_pretrained_tags_by_model(name))
        hint = f"its tags for {name}: {tags}" if name in list_models() else f"no architecture is called {name!r}"
        raise ModelError(f"open_clip has no weights {weights.location!r} ({hint}); correct the model id")
    return known


def _hub_file(weights: Weights) -> tuple[str, str]:
    """Repository and name of a tag's safetensors, by open_clip's own rule for names. Raises ModelError."""
    from open_clip.constants import HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME

    repository, _, file = known_tag(weights).get("hf_hub", "").rpartition("/")
    if not repository:
        raise _only_pickled(weights, "from a web address")
    if file in ("", HF_WEIGHTS_NAME):
        return repository, HF_SAFE_WEIGHTS_NAME
    return repository, f"{file.rpartition('.')[0]}.safetensors"


def _cached(repository: str, file: str) -> str | None:
    """The file in the local cache of the Hub, or None when it is not there."""
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(repository, file, cache_dir=hub_cache())
    return path if isinstance(path, str) else None


def _only_pickled(weights: Weights, place: str) -> ModelError:
    return ModelError(
        f"model {weights.model_id!r}: open_clip has these weights {place}, as a pickle, which runs code when it is "
        "opened; name another tag, or a checkpoint in safetensors by hf: or path:"
    )
