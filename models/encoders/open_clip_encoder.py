"""CLIP through open_clip: its published weights by architecture and tag, or a local folder in its format.

Of the published tags those that have safetensors on the Hugging Face Hub are served, since a pickle runs code when it
is opened. A tag stands for the last commit of its repository that this machine has fetched.

Source  Radford et al. 2021, CLIP; Cherti et al. 2023, Reproducible scaling laws (OpenCLIP). A transformers checkpoint
becomes such a folder by `python -m models.encoders.convert_clip`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.errors import ModelError
from models.batches import as_rgb, stacked, unit_rows
from models.placement import in_batches

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

    from models.placement import Placement
    from models.protocols import Floats
    from models.schemes.weights import Weights

PRECISIONS = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}
"""torch's names of dtypes to open_clip's."""


class OpenClip:
    """An ImageTextEncoder over open_clip, with the preprocessing and the tokenizer that belong to the weights."""

    dim: int

    def __init__(self, weights: Weights, placement: Placement) -> None:
        """Load the weights. Raises ModelError for a name that open_clip does not know or that is not downloaded."""
        import open_clip

        name, source = _source(weights)
        precision = PRECISIONS[str(placement.torch_dtype()).removeprefix("torch.")]
        self._device = placement.torch_device()
        self._batch_size = placement.batch_size
        made: Any = open_clip.create_model_and_transforms(
            name, precision=precision, device=self._device, require_pretrained=True, **source
        )
        self._model, self._preprocess = made[0].eval(), made[2]
        self._input_dtype = open_clip.get_input_dtype(precision)
        config: Any = open_clip.get_model_config(name)
        self.dim = config["embed_dim"]
        from_hub = config["text_cfg"].get("hf_tokenizer_name")
        local_only = {"local_files_only": weights.pretrained_arguments()["local_files_only"]}
        self._tokenize: Any = open_clip.get_tokenizer(name, **(local_only if from_hub else {}))

    def encode_images(self, images: Sequence[Image]) -> Floats:
        """(B, D), each row of length 1."""
        return stacked(in_batches(self._encode_images, images, self._batch_size), self.dim)

    def encode_texts(self, texts: Sequence[str]) -> Floats:
        """(B, D), each row of length 1; a text longer than the model reads is cut."""
        return stacked(in_batches(self._encode_texts, texts, self._batch_size), self.dim)

    def _encode_images(self, images: Sequence[Image]) -> list[Floats]:
        import torch

        image_BCHW = torch.stack([self._preprocess(image) for image in as_rgb(images)])
        with torch.inference_mode():
            return unit_rows(self._model.encode_image(image_BCHW.to(self._device, self._input_dtype)))

    def _encode_texts(self, texts: Sequence[str]) -> list[Floats]:
        import torch

        ids_BL = self._tokenize(list(texts)).to(self._device)
        with torch.inference_mode():
            return unit_rows(self._model.encode_text(ids_BL))


def _source(weights: Weights) -> tuple[str, dict[str, Any]]:
    """open_clip's name of the model, and what else it must be told to load these weights and no others.

    Of a published tag the checkpoint is found first, so that nothing is downloaded unasked; activation (QuickGELU or
    GELU) and preprocessing are those that the tag was trained with, whatever the architecture's name says.
    """
    if weights.is_local:
        return f"local-dir:{weights.location}", {}
    known = _known(weights)
    return weights.location.partition("/")[0], {
        "pretrained": checkpoint(weights),
        "force_quick_gelu": known.get("quick_gelu", False),
        "image_mean": known.get("mean"),
        "image_std": known.get("std"),
        "image_interpolation": known.get("interpolation"),
        "image_resize_mode": known.get("resize_mode"),
    }


def not_here(weights: Weights) -> str | None:
    """One line saying why a tag cannot be loaded and what to do; None where it is cached or may be downloaded.

    Imports open_clip, and torch with it, since nothing else knows the tags; does not look at the Hub.
    """
    from models.schemes.weights import downloads_allowed, how_to_download

    try:
        repository, file = _hub_file(weights)
    except ModelError as error:
        return str(error)
    if downloads_allowed() or _cached(repository, file):
        return None
    return how_to_download(weights.model_id, f"hf download {repository} {file}")


def _known(weights: Weights) -> dict[str, Any]:
    """What open_clip knows of a tag. Raises ModelError."""
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

    repository, _, file = _known(weights).get("hf_hub", "").rpartition("/")
    if not repository:
        raise _only_pickled(weights, "from a web address")
    if file in ("", HF_WEIGHTS_NAME):
        return repository, HF_SAFE_WEIGHTS_NAME
    return repository, f"{file.rpartition('.')[0]}.safetensors"


def _cached(repository: str, file: str) -> str | None:
    """The file in the local cache of the Hub; None when it is not there."""
    from huggingface_hub import try_to_load_from_cache

    from models.schemes.weights import hub_cache

    path = try_to_load_from_cache(repository, file, cache_dir=hub_cache())
    return path if isinstance(path, str) else None


def checkpoint(weights: Weights) -> str:
    """The tag's safetensors in the local cache; downloaded where that is allowed. Raises ModelError."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import RemoteEntryNotFoundError

    from models.schemes.weights import hub_cache

    message = not_here(weights)
    if message is not None:
        raise ModelError(message)
    repository, file = _hub_file(weights)
    try:
        return _cached(repository, file) or str(hf_hub_download(repository, file, cache_dir=hub_cache()))
    except RemoteEntryNotFoundError as error:
        raise _only_pickled(weights, f"from {repository}, which has no {file}") from error


def _only_pickled(weights: Weights, place: str) -> ModelError:
    return ModelError(
        f"model {weights.model_id!r}: open_clip has these weights {place}, as a pickle, which runs code when it is "
        "opened; name another tag, or a checkpoint in safetensors by hf: or path:"
    )
