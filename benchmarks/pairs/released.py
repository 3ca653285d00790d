"""Draws candidates in the way of UltraEdit's released script: the loop that `synthesise_pair` is measured against.

One record at a time, one candidate at a time, and everything anew for each: the image is decoded, cropped and encoded,
both captions are encoded, the controller is built, every attention map is held. Each candidate is decoded and scored,
image by image and caption by caption. Nothing stops early. Only the fault of the released controller is not repeated:
here the target has the source's attention without guidance too, so that both sides find about as many good pairs.
"""

from __future__ import annotations

import io
import random
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

if TYPE_CHECKING:
    from benchmarks.pairs.records import Record, Search

ATTENTION_FRAC_OF_SIDE = 4
"""Self-attention is transferred up to (side of the latents / 4) squared places: 16 x 16 of 64 x 64."""


class Controller:
    """Gives the target of each pair the source's attention maps. Rows are source, target, source, target."""

    def __init__(self, tokenizer: Any, captions: tuple[str, str], num_steps: int, frac: float, side: int) -> None:
        source, target = (tokenizer(text).input_ids for text in captions)
        length = tokenizer.model_max_length
        self.mapper_L, self.alpha_L = torch.arange(length), torch.ones(length)
        self.alpha_L[: len(target)] = 0
        for source_at, target_at, size in SequenceMatcher(None, source, target, autojunk=False).get_matching_blocks():
            self.mapper_L[target_at : target_at + size] = torch.arange(source_at, source_at + size)
            self.alpha_L[target_at : target_at + size] = 1
        self.cross_steps, self.self_steps = int(frac * (num_steps + 1)), int(frac * num_steps)
        self.most_places = (side // ATTENTION_FRAC_OF_SIDE) ** 2
        self.step = 0

    def edit(self, map_BHTL: Any, *, is_cross: bool) -> Any:
        """The maps with those of the targets replaced, where the step and the layer are meant."""
        source_BHTL, target_BHTL = map_BHTL[0::2], map_BHTL[1::2]
        if is_cross and self.step < self.cross_steps:
            alpha_L = self.alpha_L.to(map_BHTL)
            mapped_BHTL = source_BHTL[..., self.mapper_L.to(map_BHTL.device)]
            map_BHTL[1::2] = mapped_BHTL * alpha_L + target_BHTL * (1 - alpha_L)
        elif not is_cross and self.step < self.self_steps and map_BHTL.shape[2] <= self.most_places:
            map_BHTL[1::2] = source_BHTL.clone()
        return map_BHTL


class MapProcessor:
    """Attention with every map written out, edited by the controller."""

    def __init__(self, controller: Controller) -> None:
        self.controller = controller

    def __call__(self, attn: Any, hidden_states: Any, encoder_hidden_states: Any = None, **_: Any) -> Any:
        """(B, T, D) to (B, T, D)."""
        read = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = (
            attn.head_to_batch_dim(part) for part in (attn.to_q(hidden_states), attn.to_k(read), attn.to_v(read))
        )
        maps = attn.get_attention_scores(query, key).unflatten(0, (len(hidden_states), -1))
        maps = self.controller.edit(maps, is_cross=encoder_hidden_states is not None).flatten(0, 1)
        joined = attn.batch_to_head_dim(torch.bmm(maps, value))
        return attn.to_out[1](attn.to_out[0](joined))


class ReleasedLoop:
    """The pipeline, the two encoders that score, and the loop over them."""

    def __init__(self, pipeline: Any, clip: Any, dino: Any, search: Search) -> None:
        self.pipeline, self.clip, self.dino, self.search = pipeline, clip, dino, search

    def accepted(self, record: Record, seed: int) -> list[dict[str, float]]:
        """The scores of the pairs of a record that are kept: the best of those that pass, `keep` at most."""
        rng = random.Random(seed)
        scored = [self._candidate(record, rng) for _ in range(self.search.max_candidates)]
        passed = [scores for scores in scored if self.search.passes(scores)]
        return sorted(passed, key=lambda scores: -scores["pair_direction_cos"])[: self.search.keep]

    def _candidate(self, record: Record, rng: random.Random) -> dict[str, float]:
        torch.manual_seed(rng.randrange(2**32))
        num_steps = rng.choice(self.search.num_steps)
        frac = rng.uniform(*self.search.attention_frac)
        images = self._draw(record, num_steps, frac)
        return self._scores(images, record)

    @torch.no_grad()
    def _draw(self, record: Record, num_steps: int, frac: float) -> list[Image.Image]:
        pipeline, captions = self.pipeline, (record.source_caption, record.target_caption)
        pixels_BCHW = pipeline.image_processor.preprocess([_cropped(record.anchor, self.search.size_px)] * 2)
        pixels_BCHW = pixels_BCHW.to(pipeline.vae.device)
        latent_BCHW = pipeline.vae.encode(pixels_BCHW).latent_dist.sample() * pipeline.vae.config.scaling_factor
        text_BLD = pipeline.encode_prompt(list(captions), latent_BCHW.device, 1, do_classifier_free_guidance=False)[0]
        pipeline.scheduler.set_timesteps(num_steps, device=latent_BCHW.device)
        num_run = int(num_steps * self.search.strength)
        timesteps = pipeline.scheduler.timesteps[num_steps - num_run :]
        controller = Controller(pipeline.tokenizer, captions, num_run, frac, latent_BCHW.shape[-1])
        pipeline.unet.set_attn_processor(MapProcessor(controller))
        latent_BCHW = pipeline.scheduler.add_noise(latent_BCHW, torch.randn_like(latent_BCHW), timesteps[:1])
        latent_BCHW[1::2] = latent_BCHW[::2]
        for step, timestep in enumerate(timesteps):
            controller.step = step
            scaled_BCHW = pipeline.scheduler.scale_model_input(latent_BCHW, timestep)
            noise_BCHW = pipeline.unet(scaled_BCHW, timestep, encoder_hidden_states=text_BLD).sample
            latent_BCHW = pipeline.scheduler.step(noise_BCHW, timestep, latent_BCHW).prev_sample
        decoded_BCHW = pipeline.vae.decode(latent_BCHW / pipeline.vae.config.scaling_factor).sample
        drawn: list[Image.Image] = pipeline.image_processor.postprocess(decoded_BCHW)
        return drawn

    def _scores(self, images: list[Image.Image], record: Record) -> dict[str, float]:
        source, target = (self.clip.encode_images([image])[0] for image in images)
        said, asked = (self.clip.encode_texts([text])[0] for text in (record.source_caption, record.target_caption))
        one, other = (self.dino.encode_images([image])[0] for image in images)
        seen, meant = target - source, asked - said
        lengths = max(float(np.linalg.norm(seen) * np.linalg.norm(meant)), 1e-12)
        return {
            "source_caption_cos": float(source @ said), "target_caption_cos": float(target @ asked),
            "pair_image_cos": float(source @ target), "pair_direction_cos": float(seen @ meant) / lengths,
            "pair_dino_cos": float(one @ other),
        }  # fmt: skip


def _cropped(encoded: bytes, size_px: int) -> Image.Image:
    """The shorter side scaled to `size_px`, then the middle."""
    image = Image.open(io.BytesIO(encoded)).convert("RGB")
    scale = size_px / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)))
    left, top = (image.width - size_px) // 2, (image.height - size_px) // 2
    return image.crop((left, top, left + size_px, top + size_px))
