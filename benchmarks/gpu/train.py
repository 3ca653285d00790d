"""Training steps of instruction editors: the whole UNets of Stable Diffusion 1.5 and SDXL, in bfloat16.

A step is what the loop does: gradients cleared, loss, backward pass, clipping, AdamW. Batches are made in memory, so no
reading counts. Weights are held in float32. With caches, latents and text embeddings come with the batch; without, the
autoencoder and the text encoder run at each step.
"""

from __future__ import annotations

from contextlib import nullcontext
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any
from unittest import mock

import torch
from accelerate import Accelerator  # type: ignore[import-untyped]
from diffusers import UNet2DConditionModel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.gpu.measure import (
    Case,
    Measured,
    Timed,
    card_name,
    fitting,
    peak_bytes,
    peak_flops,
    release,
    timed,
)
from benchmarks.gpu.pairs import SMALL, checkpoint
from trainer.batch import Batch
from trainer.draws import Draws
from trainer.recipe import TrainContext, make_recipe
from trainer.recipes.ip2p.recipe import InstructPix2Pix
from trainer.state import TrainState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.gpu.measure import Work

# B rows, C channels, h w cells of a latent, L tokens, D embedding

LAYOUTS = {"SD 1.5": "sd15", "SDXL": "sdxl"}
BATCHES = {("SD 1.5", 256): 64, ("SD 1.5", 512): 32, ("SDXL", 256): 32, ("SDXL", 512): 8}
"""Model and pixels -> rows tried first."""
NUM_TOKENS = 77
FACTOR = 8
SMALL_PX = {256: 64, 512: 128}
INSTRUCTION = "turn the red car into a blue house"


class Steps:
    """A training without data: `step(batch)` is one optimiser step."""

    def __init__(self, work: Work, name: str, *, compiled: bool) -> None:
        self._device = torch.device(work.device)
        layout = work.pick(LAYOUTS[name], SMALL["SD 1.5" if name == "SD 1.5" else "SDXL-Turbo"])
        folder = checkpoint(work, layout)
        self._recipe = make_recipe(
            InstructPix2Pix,
            {
                "data": "none", "out": str(work.folder / "out"), "model": f"path:{folder}", "precision": "bf16",
                "size_px": SMALL_PX[256], "horizontal_flip": False, "learning_rate": 1e-6,
                "run_on": {"compile_unet": compiled, "device": "auto" if work.device == "cuda" else "cpu"},
            },
        )  # fmt: skip
        self._accelerator = Accelerator(mixed_precision="bf16", cpu=work.device == "cpu")
        device, autocast = self._accelerator.device, self._accelerator.autocast
        # in small nothing is compiled: tracing alone takes longer than all else
        with mock.patch.object(torch, "compile", lambda module: module) if work.small else nullcontext():
            self._objective = self._recipe.open(TrainContext(device=device, precision="bf16", autocast=autocast))
        self._state = TrainState(self._objective, self._recipe, self._accelerator)
        self._num = 0
        unet: Any = self._objective.modules["unet"]
        self.unet_config = dict(unet.config)

    @cached_property
    def meta_unet(self) -> Any:
        """The UNet without values, to count operations with."""
        with torch.device("meta"):
            return UNet2DConditionModel.from_config(self.unet_config)

    def step(self, batch: Batch) -> None:
        """One optimiser step."""
        self._state.begin(self._objective.trained_at(self._num))
        loss, _ = self._objective.loss(batch, Draws(0, batch.number_B, self._accelerator.device))
        self._accelerator.backward(loss)
        self._state.update(self._num)
        self._num += 1

    def batch(self, size: int, size_px: int, *, with_caches: bool) -> Batch:
        """Random rows on the device."""
        device, side = self._accelerator.device, size_px // FACTOR
        image_BCHW = torch.rand(size, 3, size_px, size_px, device=device) * 2 - 1
        columns: dict[str, Any] = {
            "source_images": (image_BCHW,),
            "target_image": image_BCHW,
            "instruction": (INSTRUCTION,) * size,
        }
        if with_caches:
            config = self.unet_config
            latents = (torch.randn(size, 4, side, side, device=device) for _ in range(2))
            columns |= dict(zip(("source_latent", "target_latent"), latents, strict=True))
            columns["instruction_emb"] = torch.randn(size, NUM_TOKENS, config["cross_attention_dim"], device=device)
            if pooled := pooled_width(config):
                columns["instruction_pooled_emb"] = torch.randn(size, pooled, device=device)
        recipe = self._recipe
        return Batch(
            reader=f"recipe {recipe.recipe}", declared=(*recipe.reads, *recipe.reads_if_present),
            number_B=torch.arange(size), epochs=(0,) * size, keys=tuple(map(str, range(size))), columns=columns,
            partial={},
        )  # fmt: skip


def stable_diffusion(work: Work) -> Iterator[Case]:
    """SD 1.5 as it is, with and without caches."""
    yield from _cases(work, "SD 1.5", compiled=False)


def stable_diffusion_xl(work: Work) -> Iterator[Case]:
    """SDXL as it is."""
    yield from _cases(work, "SDXL", compiled=False)


def stable_diffusion_compiled(work: Work) -> Iterator[Case]:
    """SD 1.5 with its UNet compiled."""
    yield from _cases(work, "SD 1.5", compiled=True)


def stable_diffusion_xl_compiled(work: Work) -> Iterator[Case]:
    """SDXL with its UNet compiled."""
    yield from _cases(work, "SDXL", compiled=True)


def _cases(work: Work, name: str, *, compiled: bool) -> Iterator[Case]:
    """512 px first when compiling, which may not leave time for both. One model serves all."""
    steps = Steps(work, name, compiled=compiled)
    sizes = work.pick((512, 256), (256,)) if compiled else (256, 512)
    for size_px in sizes:
        run = partial(_measured, work, steps, name, size_px, compiled=compiled, with_caches=True)
        yield Case(f"{name}, {size_px} px{', compiled' if compiled else ''}", run)
    if not compiled and name == "SD 1.5":
        run = partial(_measured, work, steps, name, 512, compiled=False, with_caches=False)
        yield Case(f"{name}, 512 px, without caches", run)


def _measured(work: Work, steps: Steps, name: str, size_px: int, *, compiled: bool, with_caches: bool) -> Measured:
    """One size: the largest batch that fits of those tried."""
    px = work.pick(size_px, SMALL_PX[size_px])
    if compiled:
        torch.compiler.reset()  # else a second size is compiled for sizes that change
    else:
        steps.step(steps.batch(1, px, with_caches=with_caches))  # makes the optimiser's state, whatever comes after
    release()

    def run(size: int) -> Timed:
        batch = steps.batch(size, px, with_caches=with_caches)
        return timed(lambda: steps.step(batch), work.seconds)

    size, found = fitting(work.pick(BATCHES[name, size_px], 2), run)
    rate, peak = size / found.seconds, peak_flops(card_name())
    flops = sample_flops(steps.meta_unet, px // FACTOR) if with_caches else None
    return Measured(
        per_second=rate, unit="samples", batch=size, peak_bytes=peak_bytes(),
        mfu=rate * flops / peak if flops and peak else None,
        notes="autoencoder and text encoder at each step" if not with_caches else "",
        more={"step_s": found.seconds, "steps": found.num_calls, "sample_flops": flops},
    )  # fmt: skip


def sample_flops(meta_unet: Any, side: int) -> int:
    """Operations of a UNet's forward and backward pass over one sample, counted without running it."""
    config = meta_unet.config
    with torch.device("meta"):
        more: dict[str, Any] = {}
        if pooled := pooled_width(config):
            more = {"added_cond_kwargs": {"text_embeds": torch.randn(1, pooled), "time_ids": torch.randn(1, 6)}}
        noisy_1Chw = torch.randn(1, config["in_channels"], side, side)
        text_1LD = torch.randn(1, NUM_TOKENS, config["cross_attention_dim"])
        counter = FlopCounterMode(display=False)
        with counter:
            meta_unet(noisy_1Chw, torch.randint(1000, (1,)), text_1LD, **more).sample.sum().backward()
    return int(counter.get_total_flops())


def pooled_width(config: dict[str, Any]) -> int:
    """The width of the pooled text that SDXL's UNet takes, 0 for others."""
    if config["addition_embed_type"] != "text_time":
        return 0
    return int(config["projection_class_embeddings_input_dim"] - 6 * config["addition_time_embed_dim"])
