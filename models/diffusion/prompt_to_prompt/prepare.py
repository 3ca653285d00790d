"""What no candidate changes about a pair, computed once a request: texts, aligned words, latents, masks.

The anchor's latent is the mode of the autoencoder's posterior, in float32, so that all candidates share it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from models.batches import as_rgb
from models.diffusion.inpaint import UNET_CHANNELS
from models.diffusion.prompt_to_prompt.alignment import MapEdit, refined
from models.diffusion.working_size import working_size
from models.placement import in_batches

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

    from models.protocols import Bools, PairRequest

# L tokens, D embedding, C channels, H W pixels of the anchor, h w of its latent; the first axis 2: source, target


@dataclass(frozen=True, slots=True, eq=False)
class TextCondition:
    """Encoded texts: (B, L, D), and for SDXL the pooled ones (B, D)."""

    tokens_BLD: Any
    pooled_BD: Any = None


@dataclass(frozen=True, slots=True, eq=False)
class PreparedPair:
    """All that the candidates of one request share. Tensors lie on the network's device."""

    text: TextCondition
    """Of two rows: source and target."""
    edit: MapEdit
    """As tensors."""
    size_px: tuple[int, int]
    """(height, width) at which the network sees the pair."""
    latent_size: tuple[int, int]
    """(h, w)."""
    latent_Chw: Any = None
    """The anchor's, scaled as the UNet takes it, or None without anchor."""
    region_hw: Any = None
    """Share of each latent pixel that may change, or None where all may."""
    core_hw: Any = None
    """The same of the region without its soft ring."""
    more_channels_Chw: Any = None
    """Mask and masked image for a network that inpaints, else None."""
    anchor: Image | None = None
    region_HW: Bools | None = None


class Preparer:
    """Prepares requests with the parts of a pipeline of diffusers."""

    def __init__(self, pipeline: Any, *, size_px: int | None, batch_size: int) -> None:
        self._pipeline, self._batch_size = pipeline, batch_size
        unet = pipeline.unet.config
        self._factor = 2 ** (len(pipeline.vae.config.block_out_channels) - 1)
        self._multiple_px = self._factor * 2 ** (len(unet.block_out_channels) - 1)
        self._size_px = size_px or unet.sample_size * self._factor
        self._inpaints = unet.in_channels == UNET_CHANNELS
        self._tokenizer = pipeline.tokenizer or pipeline.tokenizer_2

    def prepare(self, requests: Sequence[PairRequest]) -> list[PreparedPair]:
        """One prepared pair a request. Raises ValueError for a mask that is no mask of its anchor."""
        for row, request in enumerate(requests):
            _check(row, request)
        texts = in_batches(self._texts, requests, self._batch_size)
        return [self._prepared(request, text) for request, text in zip(requests, texts, strict=True)]

    def without_text(self) -> TextCondition:
        """One row: what the network sees in place of a text under guidance."""
        import torch

        with torch.inference_mode():
            _, tokens_BLD, *pooled = self._encoded([""], guided=True)
        return TextCondition(tokens_BLD, pooled[1] if pooled else None)

    def _texts(self, requests: Sequence[PairRequest]) -> list[TextCondition]:
        import torch

        captions = [text for one in requests for text in (one.source_caption, one.target_caption)]
        with torch.inference_mode():
            tokens_BLD, _, *pooled = self._encoded(captions, guided=False)
        rows = [slice(start, start + 2) for start in range(0, len(captions), 2)]
        return [TextCondition(tokens_BLD[two], pooled[0][two] if pooled else None) for two in rows]

    def _encoded(self, texts: list[str], *, guided: bool) -> Any:
        """(tokens, tokens without text), for SDXL two pooled ones more."""
        pipeline = self._pipeline
        return pipeline.encode_prompt(
            prompt=texts, device=pipeline.device, num_images_per_prompt=1, do_classifier_free_guidance=guided
        )

    def _prepared(self, request: PairRequest, text: TextCondition) -> PreparedPair:
        import torch

        device, length = self._pipeline.device, text.tokens_BLD.shape[1]
        source, target = (self._ids(caption, length) for caption in (request.source_caption, request.target_caption))
        edit = MapEdit(*(torch.from_numpy(one).to(device) for one in refined(source, target, length)))
        size = request.anchor.size if request.anchor else (self._size_px, self._size_px)
        width, height = working_size(size, self._size_px, self._multiple_px)
        latent_size = (height // self._factor, width // self._factor)
        image = self._fitted(request.anchor, (width, height)) if request.anchor else None
        return PreparedPair(
            text=text,
            edit=edit,
            size_px=(height, width),
            latent_size=latent_size,
            latent_Chw=None if image is None else self._encode(image),
            region_hw=_shrunk(request.region, latent_size, device),
            core_hw=_shrunk(request.core, latent_size, device),
            more_channels_Chw=self._more_channels(image, request.region, latent_size) if self._inpaints else None,
            anchor=request.anchor and as_rgb([request.anchor])[0],
            region_HW=request.region,
        )

    def _ids(self, caption: str, length: int) -> list[int]:
        """Token ids with start and end, cut as the text encoder cuts them."""
        ids: list[int] = self._tokenizer(caption, truncation=True, max_length=length).input_ids
        return ids

    def _fitted(self, anchor: Image, size: tuple[int, int]) -> Any:
        """(1, 3, height, width) from -1 to 1."""
        from PIL import Image

        resized = as_rgb([anchor])[0].resize(size, Image.Resampling.LANCZOS)
        return self._pipeline.image_processor.preprocess(resized)

    def _encode(self, image_1CHW: Any) -> Any:
        """(C, h, w): mode of the posterior, scaled, float32."""
        import torch

        vae = self._pipeline.vae
        with torch.inference_mode():
            latent_1Chw = vae.encode(image_1CHW.to(vae.device, vae.dtype)).latent_dist.mode()
        return latent_1Chw[0].float() * vae.config.scaling_factor

    def _more_channels(self, image_1CHW: Any, region_HW: Bools | None, latent_size: tuple[int, int]) -> Any:
        """(5, h, w): 1 where the network paints anew, and the latent of the image that is grey there."""
        import torch
        from torch.nn.functional import interpolate

        device, pixels = self._pipeline.device, tuple(side * self._factor for side in latent_size)
        mask_11HW = torch.ones(1, 1, *pixels)
        if region_HW is not None:
            mask_11HW = interpolate(torch.from_numpy(region_HW)[None, None].float(), pixels, mode="nearest")
        image = torch.zeros(1, 3, *pixels) if image_1CHW is None else image_1CHW
        mask_hw = interpolate(mask_11HW, latent_size, mode="nearest")[0].to(device)
        return torch.cat([mask_hw, self._encode(image * (1 - mask_11HW))])


def _shrunk(mask_HW: Bools | None, size: tuple[int, int], device: Any) -> Any:
    """A mask at the latent's size, by area, so that a latent pixel on the edge holds a mixture. None for None."""
    import torch
    from torch.nn.functional import interpolate

    if mask_HW is None:
        return None
    return interpolate(torch.from_numpy(mask_HW)[None, None].float(), size, mode="area")[0, 0].to(device)


def _check(row: int, request: PairRequest) -> None:
    for name, mask_HW in (("region", request.region), ("core", request.core)):
        if mask_HW is None:
            continue
        if request.anchor is None:
            raise ValueError(f"request {row} has a {name} and no anchor; pass the image whose part may change")
        size = (request.anchor.height, request.anchor.width)
        if mask_HW.shape != size or mask_HW.dtype != bool:
            raise ValueError(
                f"{name} {row} is {mask_HW.dtype} of shape {mask_HW.shape}, its anchor is {size[1]} x {size[0]} "
                "pixels; pass booleans of (height, width)"
            )
    if request.core is not None and request.region is None:
        raise ValueError(f"request {row} has a core and no region; pass the region that the core lies in")
