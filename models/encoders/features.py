"""Losses through frozen networks: image tensors in, distances or feature maps out, with gradients to the image.

The wrappers for stages take PIL images and return numpy arrays; a loss needs the same networks on tensors.
Preprocessing is therefore written out here, differentiably, from the numbers of the checkpoint's own processor, and
held against that processor by tests. All images are (B, 3, H, W) from 0 to 1, not clamped: a decoder overshoots a
little, and a clamp would take the gradient away there.

Source  Radford et al. 2021, CLIP; Johnson et al. 2016, perceptual losses; Oquab et al. 2023, DINOv2.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from models.placement import Placement
    from models.schemes.weights import Weights

# B rows, C channels, H W pixels, h w cells of a feature map, D embedding, L tokens

RELU3_3 = 2
"""The third of VGG's taps: timm counts the last activation before each pooling from 0."""


class ClipDistance:
    """A DifferentiableImageText over a `CLIPModel` checkpoint. Its weights are frozen. The image gets the gradient."""

    def __init__(self, weights: Weights, placement: Placement) -> None:
        """Load the checkpoint. Raises ValueError when its processor does more than resize, crop and normalise."""
        from transformers import AutoProcessor, CLIPModel

        arguments = weights.pretrained_arguments()
        self._processor: Any = AutoProcessor.from_pretrained(weights.location, **arguments)
        self._prepare = Preprocess(self._processor.image_processor, weights.model_id)
        model: Any = CLIPModel.from_pretrained(weights.location, dtype=placement.torch_dtype(), **arguments)
        self._model = frozen(model, placement)

    def distance(self, image_BCHW: Tensor, texts: Sequence[str]) -> Tensor:
        """(B,) float32: 1 - cosine of each image with its row's text, 0 to 2. Raises ValueError on lengths."""
        if len(image_BCHW) != len(texts):
            raise ValueError(f"{len(image_BCHW)} images and {len(texts)} texts; pass one text an image")
        distance_B: Tensor = 1 - (self.image_emb(image_BCHW) * self.text_emb(texts)).sum(-1)
        return distance_B

    def image_emb(self, image_BCHW: Tensor) -> Tensor:
        """(B, D) float32, each row of length 1, with the gradient to the image."""
        pixels_BCHW = self._prepare(image_BCHW).to(self._model.dtype)
        return unit(self._model.get_image_features(pixel_values=pixels_BCHW).pooler_output.float())

    def text_emb(self, texts: Sequence[str]) -> Tensor:
        """(B, D) float32, each row of length 1, without gradient. A text longer than the model reads is cut."""
        import torch

        length = self._model.config.text_config.max_position_embeddings
        inputs = self._processor.tokenizer(
            list(texts), padding="longest", truncation=True, max_length=length, return_tensors="pt"
        )
        with torch.no_grad():
            return unit(self._model.get_text_features(**inputs.to(self._model.device)).pooler_output.float())


class TimmFeatures:
    """PerceptualFeatures over a checkpoint that timm saved, by default VGG's relu3_3, for any size of image.

    `taps` counts the model's own feature levels. Layers behind the last one are never loaded onto the device.
    """

    def __init__(self, weights: Weights, placement: Placement, *, taps: tuple[int, ...] = (RELU3_3,)) -> None:
        """Load the checkpoint. Raises ValueError for an architecture without the method, or without such a tap."""
        import timm
        from safetensors.torch import load_file

        folder = Path(weights.location)
        config = json.loads((folder / "config.json").read_bytes())
        arguments = {"num_classes": config.get("num_classes", 1000), **config.get("model_args", {})}
        model: Any = timm.create_model(config["architecture"], pretrained=False, **arguments)
        if not hasattr(model, "forward_intermediates"):
            raise ValueError(
                f"{weights.model_id} is a {config['architecture']}, which gives no feature maps; name a VGG"
            )
        if max(taps) >= len(model.feature_info):
            raise ValueError(f"{weights.model_id} has the taps 0 to {len(model.feature_info) - 1}, not {max(taps)}")
        model.load_state_dict(load_file(folder / "model.safetensors"))
        model.prune_intermediate_layers(list(taps))
        self._model, self._taps = frozen(model.to(placement.torch_dtype()), placement), list(taps)
        given = config.get("pretrained_cfg", config)
        self._mean, self._std = given["mean"], given["std"]

    def features(self, image_BCHW: Tensor) -> list[Tensor]:
        """One (B, C, h, w) map a tap, float32. Images are normalised, not resized."""
        pixels_BCHW = normalised(image_BCHW, self._mean, self._std).to(next(self._model.parameters()).dtype)
        maps = self._model.forward_intermediates(
            pixels_BCHW, indices=self._taps, intermediates_only=True, stop_early=True
        )
        return [one_BChw.float() for one_BChw in maps]


class DinoFeatures:
    """PerceptualFeatures over a `Dinov2Model` checkpoint: patch tokens after some of its blocks.

    `taps` counts hidden states from 1, the output of the first block; by default the one half way, where positions can
    still be distinguished. An image whose sides are no multiples of the patch is resized to the nearest that are.
    """

    def __init__(self, weights: Weights, placement: Placement, *, taps: tuple[int, ...] = ()) -> None:
        """Load the checkpoint. Raises ValueError when it has no such block."""
        from transformers import AutoImageProcessor, Dinov2Model

        arguments = weights.pretrained_arguments()
        processor: Any = AutoImageProcessor.from_pretrained(weights.location, **arguments)
        self._mean, self._std = processor.image_mean, processor.image_std
        model: Any = Dinov2Model.from_pretrained(weights.location, dtype=placement.torch_dtype(), **arguments)
        depth = model.config.num_hidden_layers
        self._taps = taps or ((depth + 1) // 2,)
        if max(self._taps) > depth:
            raise ValueError(f"{weights.model_id} has {depth} blocks, not {max(self._taps)}")
        self._model = frozen(model, placement)

    def features(self, image_BCHW: Tensor) -> list[Tensor]:
        """One (B, D, h, w) map a tap, float32, h and w counting patches."""
        patch_px = self._model.config.patch_size
        height, width = (max(1, round(side / patch_px)) for side in image_BCHW.shape[-2:])
        resized_BCHW = resized(image_BCHW, height * patch_px, width * patch_px)
        pixels_BCHW = normalised(resized_BCHW, self._mean, self._std).to(self._model.dtype)
        states = self._model(pixel_values=pixels_BCHW, output_hidden_states=True).hidden_states
        return [states[tap][:, 1:].transpose(1, 2).unflatten(2, (height, width)).float() for tap in self._taps]


class Preprocess:
    """The steps of an image processor of transformers, with gradients: resize, centre crop, normalise."""

    def __init__(self, processor: Any, model_id: str) -> None:
        """Take the numbers of `processor`. Raises ValueError for steps or a resampling that are not done here."""
        size, crop = processor.size, processor.crop_size
        is_known = size.get("shortest_edge") and processor.do_resize and processor.do_center_crop
        if not (is_known and int(processor.resample) == 3):
            raise ValueError(
                f"the image processor of {model_id} does not resize the shorter side (bicubic) and crop the centre, "
                "which is all that is done with gradients; name a CLIPModel checkpoint"
            )
        self._side_px = int(size["shortest_edge"])
        self._crop_px = int(crop["height"]), int(crop["width"])
        self._mean, self._std = processor.image_mean, processor.image_std

    def __call__(self, image_BCHW: Tensor) -> Tensor:
        """(B, 3, crop height, crop width), normalised. Unlike the library's, it is not rounded to 1/255."""
        height, width = image_BCHW.shape[-2:]
        short = min(height, width)
        scaled_BCHW = resized(image_BCHW, self._side_px * height // short, self._side_px * width // short)
        tall, wide = self._crop_px
        top, left = (scaled_BCHW.shape[-2] - tall) // 2, (scaled_BCHW.shape[-1] - wide) // 2
        return normalised(scaled_BCHW[..., top : top + tall, left : left + wide], self._mean, self._std)


def normalised(image_BCHW: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Compute (image - mean) / std by channel."""
    mean_C11, std_C11 = (image_BCHW.new_tensor(values)[:, None, None] for values in (mean, std))
    return (image_BCHW - mean_C11) / std_C11


def resized(image_BCHW: Tensor, height: int, width: int) -> Tensor:
    """Resize by bicubic interpolation with antialiasing, as PIL does. An image of that size is returned as it is."""
    import torch

    if tuple(image_BCHW.shape[-2:]) == (height, width):
        return image_BCHW
    return torch.nn.functional.interpolate(image_BCHW.float(), (height, width), mode="bicubic", antialias=True)


def frozen(model: Any, placement: Placement) -> Any:
    """The model on its device, in evaluation mode, without gradients of its weights."""
    return model.to(placement.torch_device()).eval().requires_grad_(requires_grad=False)


def unit(emb_BD: Tensor) -> Tensor:
    """Each row divided by its length."""
    unit_BD: Tensor = emb_BD / emb_BD.norm(dim=-1, keepdim=True)
    return unit_BD
