"""CLIP's patches and word tokens, for heads that are trained over them: through transformers, and through open_clip.

Every token goes through the layer norm and the projection of its tower, so that it lies in the space in which CLIP
compares whole images and texts. Patches are those of one layer, counted from the last, -1. An image is stretched to
the model's square, so that the patches cover all of it. Weights are frozen, and the image gets the gradient.

Source  Radford et al. 2021, CLIP; Cherti et al. 2023, OpenCLIP. Chosen: the projection of single tokens, which CLIP was
trained to give for the class token and the end of the text alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from models.encoders.features import frozen, normalised, resized, unit
from models.encoders.open_clip_encoder import load_open_clip
from models.loss_protocols import ImageTokens, TextTokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from models.placement import Placement
    from models.schemes.weights import Weights

# B rows, N patches, L tokens, D embedding, H W pixels


class ClipTokens:
    """An ImageTextTokens over a `CLIPModel` checkpoint of transformers."""

    dim: int
    grid: tuple[int, int]
    size_px: tuple[int, int]

    def __init__(self, weights: Weights, placement: Placement, *, patch_layer: int = -1) -> None:
        """Load the checkpoint. Raises ValueError for a layer that it does not have."""
        from transformers import AutoProcessor, CLIPModel

        arguments = weights.pretrained_arguments()
        processor: Any = AutoProcessor.from_pretrained(weights.location, **arguments)
        model: Any = CLIPModel.from_pretrained(weights.location, dtype=placement.torch_dtype(), **arguments)
        self._model, self._tokenizer = frozen(model, placement), processor.tokenizer
        self._mean, self._std = processor.image_processor.image_mean, processor.image_processor.image_std
        vision = model.config.vision_config
        self._layer = _checked(patch_layer, vision.num_hidden_layers, weights)
        self.size_px, per_side = (vision.image_size,) * 2, vision.image_size // vision.patch_size
        self.dim, self.grid = model.config.projection_dim, (per_side, per_side)

    def image_tokens(self, image_BCHW: Tensor) -> ImageTokens:
        """Patches (B, N, D) and embeddings (B, D) of images (B, 3, H, W) from 0 to 1, float32, with the gradient."""
        pixels_BCHW = normalised(resized(image_BCHW, *self.size_px), self._mean, self._std)
        vision, project = self._model.vision_model, self._model.visual_projection
        found = vision(pixel_values=pixels_BCHW.to(self._model.dtype), output_hidden_states=True)
        patch_BND = project(vision.post_layernorm(found.hidden_states[self._layer][:, 1:])).float()
        return ImageTokens(patch_BND, unit(project(found.pooler_output).float()))

    def text_tokens(self, texts: Sequence[str]) -> TextTokens:
        """Tokens (B, L, D) and embeddings (B, D) of texts, float32, without gradient."""
        import torch

        length = self._model.config.text_config.max_position_embeddings
        inputs = self._tokenizer(
            list(texts), padding="longest", truncation=True, max_length=length, return_tensors="pt"
        ).to(self._model.device)
        project = self._model.text_projection
        with torch.no_grad():
            found = self._model.text_model(**inputs)  # its hidden states are normalised
            token_BLD, emb_BD = project(found.last_hidden_state).float(), project(found.pooler_output).float()
        return TextTokens(token_BLD, inputs["attention_mask"].bool(), unit(emb_BD))


class OpenClipTokens:
    """An ImageTextTokens over a model of open_clip with a ViT and a text tower of its own."""

    dim: int
    grid: tuple[int, int]
    size_px: tuple[int, int]

    def __init__(self, weights: Weights, placement: Placement, *, patch_layer: int = -1) -> None:
        """Load the weights. Raises ValueError for towers that give no such tokens, ModelError for absent weights."""
        from open_clip.model import CLIP
        from open_clip.transformer import VisionTransformer

        self._loaded = loaded = load_open_clip(weights, placement)
        model = loaded.model
        if not (isinstance(model, CLIP) and isinstance(model.visual, VisionTransformer)):
            raise ValueError(  # noqa: TRY004  a wrong checkpoint, not a wrong type of argument
                f"{weights.model_id} is no CLIP with a ViT and a text tower of its own; name another, such as ViT-L-14"
            )
        self._model, self._tokenize = frozen(model, placement), loaded.tokenize
        num_layers = len(model.visual.transformer.resblocks)
        self._layer = num_layers + _checked(patch_layer, num_layers, weights)
        self._dtype, self.dim = loaded.input_dtype, loaded.dim
        self.size_px, self.grid = tuple(model.visual.image_size), tuple(model.visual.grid_size)
        self._mean, self._std = model.visual.image_mean, model.visual.image_std

    def image_tokens(self, image_BCHW: Tensor) -> ImageTokens:
        """Patches (B, N, D) and embeddings (B, D) of images (B, 3, H, W) from 0 to 1, float32, with the gradient."""
        pixels_BCHW = normalised(resized(image_BCHW, *self.size_px), self._mean, self._std).to(self._dtype)
        found = self._model.forward_intermediates(
            image=pixels_BCHW, image_indices=[self._layer], normalize_intermediates=True, image_output_fmt="NLC"
        )
        patch_BND = (found["image_intermediates"][0] @ self._model.visual.proj).float()
        return ImageTokens(patch_BND, unit(found["image_features"].float()))

    def text_tokens(self, texts: Sequence[str]) -> TextTokens:
        """Tokens (B, L, D) and embeddings (B, D) of texts, float32, without gradient."""
        import torch

        device = self._model.logit_scale.device
        ids_BL = self._tokenize(list(texts)).to(device)
        place_L = torch.arange(ids_BL.shape[1], device=device)
        with torch.no_grad():
            found = self._model.forward_intermediates(text=ids_BL, text_indices=1, normalize_intermediates=True)
            token_BLD = self._projected(found["text_intermediates"][0])
        is_token_BL = place_L <= ids_BL.argmax(-1, keepdim=True)  # the end of the text has the highest id
        return TextTokens(token_BLD.float(), is_token_BL, unit(found["text_features"].float()))

    def _projected(self, token_BLD: Any) -> Any:
        projection = self._model.text_projection
        return projection(token_BLD) if callable(projection) else token_BLD @ projection


def _checked(patch_layer: int, num_layers: int, weights: Weights) -> int:
    """The layer. Raises ValueError for one that the image tower does not have."""
    if not -num_layers <= patch_layer <= -1:
        raise ValueError(
            f"the image tower of {weights.model_id} has {num_layers} layers; expected patch_layer from {-num_layers} "
            f"to -1, got {patch_layer}"
        )
    return patch_layer
