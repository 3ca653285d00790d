"""The other side: the training loop that diffusers documents for InstructPix2Pix, made anew from its description.

Written from the guide https://huggingface.co/docs/diffusers/training/instructpix2pix and the paper it follows, without
code of the example. At each step: both images through the autoencoder in float32 (the target's latent is drawn and
scaled, the source's is the mode, unscaled), the text and the empty text through the text encoder, noise, the three
dropouts of one uniform number, mean squared error, backward pass, clipping, AdamW, a constant schedule of the learning
rate. The parts that wrap it are accelerate's. Texts are tokenised when a sample is read. There is no average of
weights, an option that is off. With a precision other than `no` the UNet alone runs in it.
"""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from accelerate import Accelerator  # type: ignore[import-untyped]
from diffusers import DDPMScheduler, StableDiffusionPipeline
from diffusers.optimization import get_scheduler
from PIL import Image
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from models.model_ids import find
from trainer.diffusion.conv_in import widen_conv_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.train_step.side import Task

# B rows, C channels, H W pixels, h w cells of a latent, L tokens, D embedding

DROPOUT = 0.05
MAX_GRAD_NORM = 1.0
Row = dict[str, Any]


class Edits(Dataset[Row]):
    """The samples of a dataset's tars, encoded in memory; images and tokens are made when a sample is read."""

    def __init__(self, folder: Path, size_px: int, tokenizer: Any) -> None:
        self._rows = list(_rows(folder))
        self._size_px, self._tokenizer = size_px, tokenizer

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, row: int) -> Row:
        found = self._rows[row]
        source_CHW, target_CHW = (self._pixels(found[f"{side}.png"]) for side in ("source", "target"))
        ids_1L = tokens_of(self._tokenizer, [json.loads(found["json"])["instruction"]])
        return {"source": source_CHW, "target": target_CHW, "ids": ids_1L[0]}

    def _pixels(self, encoded: bytes) -> torch.Tensor:
        """-1 to 1."""
        image = Image.open(io.BytesIO(encoded)).convert("RGB").resize((self._size_px, self._size_px))
        return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 127.5 - 1


def tokens_of(tokenizer: Any, texts: list[str]) -> Any:
    """Token numbers (B, L), padded to the full length."""
    return tokenizer(
        texts, max_length=tokenizer.model_max_length, padding="max_length", truncation=True, return_tensors="pt"
    ).input_ids


class Loop:
    """The parts of the training, on accelerate's device."""

    def __init__(self, task: Task) -> None:
        folder = find(task.model).location
        pipeline: Any = StableDiffusionPipeline.from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, local_files_only=True
        )
        accelerator = Accelerator(mixed_precision=task.precision, cpu=not torch.cuda.is_available())
        self._accelerator, self._tokenizer = accelerator, pipeline.tokenizer
        self._scheduler = DDPMScheduler.from_config(pipeline.scheduler.config)
        unet = pipeline.unet
        widen_conv_in(unet, 8)
        unet.train()
        self._vae, self._text_encoder = (
            part.requires_grad_(requires_grad=False).to(accelerator.device)
            for part in (pipeline.vae, pipeline.text_encoder)
        )
        optimiser = torch.optim.AdamW(unet.parameters(), lr=task.learning_rate)
        loader = DataLoader(
            Edits(Path(task.data), task.size_px, self._tokenizer), batch_size=task.batch_size, shuffle=True,
            drop_last=True,
        )  # fmt: skip
        schedule = get_scheduler("constant", optimizer=optimiser)
        self._unet, self._optimiser, self._loader, self._schedule = accelerator.prepare(
            unet, optimiser, loader, schedule
        )
        self._batches = self._endless()

    def step(self) -> float:
        """One optimiser step, and its loss."""
        batch = next(self._batches)
        latent_BChw = self._vae.encode(batch["target"]).latent_dist.sample() * self._vae.config.scaling_factor
        noise_BChw = torch.randn_like(latent_BChw)
        num_rows, device = len(latent_BChw), latent_BChw.device
        timestep_B = torch.randint(self._scheduler.config.num_train_timesteps, (num_rows,), device=device)
        noisy_BChw = self._scheduler.add_noise(latent_BChw, noise_BChw, timestep_B)
        text_BLD = self._text_encoder(batch["ids"])[0]
        source_BChw = self._vae.encode(batch["source"]).latent_dist.mode()
        uniform_B = torch.rand(num_rows, device=device)
        empty_1LD = self._text_encoder(tokens_of(self._tokenizer, [""]).to(device))[0]
        text_BLD = torch.where((uniform_B < 2 * DROPOUT)[:, None, None], empty_1LD, text_BLD)
        keeps_image_B = (uniform_B < DROPOUT) | (uniform_B >= 3 * DROPOUT)
        source_BChw = source_BChw * keeps_image_B[:, None, None, None]
        if self._scheduler.config.prediction_type == "v_prediction":
            wanted_BChw = self._scheduler.get_velocity(latent_BChw, noise_BChw, timestep_B)
        else:
            wanted_BChw = noise_BChw
        out_BChw = self._unet(torch.cat([noisy_BChw, source_BChw], 1), timestep_B, text_BLD).sample
        loss = functional.mse_loss(out_BChw.float(), wanted_BChw.float())
        mean = self._accelerator.gather(loss.detach().repeat(num_rows)).mean()
        self._accelerator.backward(loss)
        self._accelerator.clip_grad_norm_(self._unet.parameters(), MAX_GRAD_NORM)
        self._optimiser.step()
        self._schedule.step()
        self._optimiser.zero_grad()
        return float(mean)

    def _endless(self) -> Iterator[Row]:
        while True:
            yield from self._loader


def open_theirs(task: Task) -> Callable[[], Any]:
    """A call that does one step, with everything loaded."""
    return Loop(task).step


def _rows(folder: Path) -> Iterator[dict[str, bytes]]:
    """The members of each sample, by suffix."""
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            found: dict[str, dict[str, bytes]] = {}
            for entry in tar:
                key, _, suffix = entry.name.partition(".")
                content = tar.extractfile(entry)
                assert content is not None
                found.setdefault(key, {})[suffix] = content.read()
        yield from found.values()
