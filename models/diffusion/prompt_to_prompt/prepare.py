"""What no candidate changes about a pair, computed once a request: texts, aligned words, latents, masks.

The anchor's latent is the mode of the autoencoder's posterior, in float32, so that all candidates share it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from models.batches import as_rgb
from models.diffusion.prompt_to_prompt.alignment import MapEdit
from models.diffusion.prompt_to_prompt.text import blend_tokens, map_edit, token_ids
from models.diffusion.text_conditions import TextCondition
from models.diffusion.unet_inputs import INPAINTING_CHANNELS
from models.diffusion.working_size import working_size
from models.placement import in_batches

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

    from models.diffusion.prompt_to_prompt.settings import PairSettings
    from models.protocols import Bools, PairRequest

# L tokens, D embedding, C channels, H W pixels of the anchor, h w of its latent; the first axis 2: source, target


@dataclass(frozen=True, slots=True, eq=False)
class PreparedPair:
    """All that the candidates of one request share. Tensors lie on the network's device."""

    text: TextCondition
    """Of two rows: source and target."""
    token_ids: tuple[list[int], list[int]]
    """Of source and target, with start and end, without padding."""
    edit: MapEdit
    """As tensors."""
    size_px: tuple[int, int]
    """(height, width) at which the network sees the pair."""
    latent_size: tuple[int, int]
    """(h, w)."""
    blend_words_2L: Any = None
    """1 for tokens of the words that lead the local blend, or None."""
    latent_Chw: Any = None
    """The anchor's, scaled as the UNet takes it, or None without anchor."""
    latent_std_Chw: Any = None
    """Standard deviation of the posterior that `latent_Chw` is the mode of."""
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

    def __init__(self, pipeline: Any, settings: PairSettings, batch_size: int) -> None:
        self._pipeline, self._batch_size = pipeline, batch_size
        self._shrinks_by = "nearest" if settings.as_released else "area"
        unet = pipeline.unet.config
        self._factor = 2 ** (len(pipeline.vae.config.block_out_channels) - 1)
        self._multiple_px = self._factor * 2 ** (len(unet.block_out_channels) - 1)
        self._size_px = settings.size_px or unet.sample_size * self._factor
        self._inpaints = unet.in_channels == INPAINTING_CHANNELS
        self._tokenizer = pipeline.tokenizer or pipeline.tokenizer_2

    def prepare(self, requests: Sequence[PairRequest]) -> list[PreparedPair]:
        """One prepared pair a request. Raises ValueError for a wrong mask and for a word that is not there."""
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
        # copies, so that a pair that stays does not keep the texts of the whole batch in memory
        return [TextCondition(tokens_BLD[two].clone(), pooled[0][two].clone() if pooled else None) for two in rows]

    def _encoded(self, texts: list[str], *, guided: bool) -> Any:
        """(tokens, tokens without text), for SDXL two pooled ones more."""
        pipeline = self._pipeline
        return pipeline.encode_prompt(
            prompt=texts, device=pipeline.device, num_images_per_prompt=1, do_classifier_free_guidance=guided
        )

    def _prepared(self, request: PairRequest, text: TextCondition) -> PreparedPair:
        import torch

        device, length = self._pipeline.device, text.tokens_BLD.shape[1]
        edit = MapEdit(*(torch.from_numpy(one).to(device) for one in map_edit(request, self._tokenizer, length)))
        words_2L = blend_tokens(request, self._tokenizer, length)
        size = request.anchor.size if request.anchor else (self._size_px, self._size_px)
        width, height = working_size(size, self._size_px, self._multiple_px)
        latent_size = (height // self._factor, width // self._factor)
        image = self._fitted(request.anchor, (width, height)) if request.anchor else None
        latent_Chw, std_Chw = (None, None) if image is None else self._encode(image)
        return PreparedPair(
            text=text,
            token_ids=token_ids(request, self._tokenizer, length),
            edit=edit,
            blend_words_2L=None if words_2L is None else torch.from_numpy(words_2L).to(device),
            size_px=(height, width),
            latent_size=latent_size,
            latent_Chw=latent_Chw,
            latent_std_Chw=std_Chw,
            region_hw=self._shrunk(request.region, latent_size),
            core_hw=self._shrunk(request.core, latent_size),
            more_channels_Chw=self._more_channels(image, request.region, latent_size) if self._inpaints else None,
            anchor=request.anchor and as_rgb([request.anchor])[0],
            region_HW=request.region,
        )

    def _fitted(self, anchor: Image, size: tuple[int, int]) -> Any:
        """(1, 3, height, width) from -1 to 1."""
        from PIL import Image

        resized = as_rgb([anchor])[0].resize(size, Image.Resampling.LANCZOS)
        return self._pipeline.image_processor.preprocess(resized)

    def _encode(self, image_1CHW: Any) -> tuple[Any, Any]:
        """Mode and standard deviation of the posterior, (C, h, w) each, scaled, float32."""
        import torch

        vae = self._pipeline.vae
        with torch.inference_mode():
            posterior = vae.encode(image_1CHW.to(vae.device, vae.dtype)).latent_dist
        scale = vae.config.scaling_factor
        return posterior.mode()[0].float() * scale, posterior.std[0].float() * scale

    def _shrunk(self, mask_HW: Bools | None, size: tuple[int, int]) -> Any:
        """A mask at the latent's size, by area, so that a latent pixel on the edge holds a mixture. None for None."""
        import torch
        from torch.nn.functional import interpolate

        if mask_HW is None:
            return None
        mask_11HW = torch.from_numpy(mask_HW)[None, None].float()
        return interpolate(mask_11HW, size, mode=self._shrinks_by)[0, 0].to(self._pipeline.device)

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
        return torch.cat([mask_hw, self._encode(image * (1 - mask_11HW))[0]])


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
