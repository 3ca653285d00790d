"""CLIP through open_clip: its published weights by architecture and tag, or a local folder in its format.

Source  Radford et al. 2021, CLIP; Cherti et al. 2023, Reproducible scaling laws (OpenCLIP). A transformers checkpoint
becomes such a folder by `python -m models.encoders.convert_clip`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from models.batches import as_rgb, stacked, unit_rows
from models.placement import in_batches
from models.schemes.open_clip import checkpoint, known_tag
from models.shared import shared

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

    from models.placement import Placement
    from models.protocols import Floats
    from models.schemes.weights import Weights

PRECISIONS = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}
"""torch's names of dtypes to open_clip's."""


@dataclass(frozen=True, eq=False)
class LoadedOpenClip:
    """A model of open_clip in evaluation mode, with the preprocessing and the tokenizer that belong to its weights.

    Wrappers of one process share it as long as one of them keeps this value.
    """

    model: Any
    preprocess: Any
    """From a PIL image to the tensor (3, H, W) that the model takes."""
    tokenize: Any
    """From a list of texts to ids (B, L), padded with 0."""
    input_dtype: Any
    dim: int
    """Width of the space of images and texts."""


def load_open_clip(weights: Weights, placement: Placement) -> LoadedOpenClip:
    """The model on its device, shared with the other wrappers of the process: nothing may change it.

    Raises ModelError for a name that open_clip does not know or that is not downloaded.
    """
    return shared(weights, placement, LoadedOpenClip, lambda: _load(weights, placement))


def _load(weights: Weights, placement: Placement) -> LoadedOpenClip:
    import open_clip

    name, source = _source(weights)
    precision = PRECISIONS[str(placement.torch_dtype()).removeprefix("torch.")]
    made: Any = open_clip.create_model_and_transforms(
        name, precision=precision, device=placement.torch_device(), require_pretrained=True, **source
    )
    config: Any = open_clip.get_model_config(name)
    from_hub = config["text_cfg"].get("hf_tokenizer_name")
    local_only = {"local_files_only": weights.pretrained_arguments()["local_files_only"]}
    tokenize: Any = open_clip.get_tokenizer(name, **(local_only if from_hub else {}))
    return LoadedOpenClip(
        made[0].eval(), made[2], tokenize, open_clip.get_input_dtype(precision), config["embed_dim"]
    )  # fmt: skip


class OpenClip:
    """An ImageTextEncoder over open_clip, with the preprocessing and the tokenizer that belong to the weights."""

    dim: int
    scale: float

    def __init__(self, weights: Weights, placement: Placement) -> None:
        """Load the weights. Raises ModelError for a name that open_clip does not know or that is not downloaded."""
        self._loaded = loaded = load_open_clip(weights, placement)
        self._model, self._preprocess, self._tokenize = loaded.model, loaded.preprocess, loaded.tokenize
        self._input_dtype, self.dim = loaded.input_dtype, loaded.dim
        self.scale = float(loaded.model.logit_scale.detach().float().exp())
        self._device, self._batch_size = placement.torch_device(), placement.batch_size

    def prepare_images(self, images: Sequence[Image]) -> Any:
        """(B, C, H, W) of images, or of what was prepared already, in the precision of the model, on the CPU."""
        import torch

        if isinstance(images, torch.Tensor):
            return images
        return torch.stack([self._preprocess(image) for image in as_rgb(images)]).to(self._input_dtype)

    def encode_images(self, images: Sequence[Image]) -> Floats:
        """(B, D), each row of length 1."""
        return stacked(in_batches(self._encode_images, images, self._batch_size), self.dim)

    def encode_texts(self, texts: Sequence[str]) -> Floats:
        """(B, D), each row of length 1. A text longer than the model reads is cut."""
        return stacked(in_batches(self._encode_texts, texts, self._batch_size), self.dim)

    def _encode_images(self, images: Sequence[Image]) -> list[Floats]:
        import torch

        image_BCHW = self.prepare_images(images).to(self._device)
        with torch.inference_mode():
            return unit_rows(self._model.encode_image(image_BCHW))

    def _encode_texts(self, texts: Sequence[str]) -> list[Floats]:
        import torch

        ids_BL = self._tokenize(list(texts)).to(self._device)
        with torch.inference_mode():
            return unit_rows(self._model.encode_text(ids_BL))


def _source(weights: Weights) -> tuple[str, dict[str, Any]]:
    """open_clip's name of the model, and the arguments with which it loads these weights and no others.

    The checkpoint of a published tag is given as a file, so that open_clip downloads nothing. Activation (QuickGELU or
    GELU) and preprocessing are those that the tag was trained with, whatever the architecture's name says.
    """
    if weights.is_local:
        return f"local-dir:{weights.location}", {}
    known = known_tag(weights)
    return weights.location.partition("/")[0], {
        "pretrained": checkpoint(weights),
        "force_quick_gelu": known.get("quick_gelu", False),
        "image_mean": known.get("mean"),
        "image_std": known.get("std"),
        "image_interpolation": known.get("interpolation"),
        "image_resize_mode": known.get("resize_mode"),
    }
