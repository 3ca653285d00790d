"""The objective of UIP2P: the losses of a cycle, and the denoising loss of samples that lose a condition.

Owns which sample has which loss. `cycle` makes the passes, `losses` has the equations.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

import torch

from core.errors import UsageError
from models.diffusion.instruct_pix2pix import InstructPix2Pix as Editor
from models.diffusion.text_conditions import without_text
from trainer.diffusion.attention import AttentionRecorder, cross_attentions
from trainer.diffusion.dropout import Dropout
from trainer.diffusion.editors import EditorObjective
from trainer.diffusion.schedule import noised
from trainer.recipes.uip2p import losses
from trainer.recipes.uip2p.cycle import Noise, denoised, one_step, straight_through
from trainer.recipes.uip2p.early_gradient import early_gradient
from trainer.recipes.uip2p.image_losses import ImageLosses

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from torch import Tensor

    from models.diffusion.text_conditions import TextCondition
    from models.loss_protocols import DifferentiableImageText
    from trainer.batch import Batch
    from trainer.diffusion.dropout import Dropped
    from trainer.diffusion.editors import OpenedEditor
    from trainer.draws import Draws
    from trainer.recipes.uip2p.cycle import OneStep
    from trainer.recipes.uip2p.settings import Uip2pSettings

# B rows, C channels, H W pixels, h w cells of a latent, L tokens, D embedding

MAX_QUERIES = 32 * 32
"""Places of the largest feature map whose attention is compared."""


class Uip2pObjective(EditorObjective):
    """The losses, and the editor over the weights as they are. It is the `Networks` of its cycles."""

    def __init__(self, settings: Uip2pSettings, opened: OpenedEditor, clip: DifferentiableImageText | None) -> None:
        """`clip` is None where no loss needs it.

        Raises UsageError where attention is compared and no layer is small enough for it.
        """
        super().__init__(settings, opened, Editor)
        self._settings, self._clip = settings, clip
        self._dropout = Dropout(settings.text_dropout, settings.image_dropout, settings.both_dropout)
        self._recorder = AttentionRecorder(self._checkpoint.unet, layers) if (layers := self._layers()) else None
        self._no_text = self._checkpoint.no_text()
        self.schedule = self._checkpoint.schedule

    def loss(self, batch: Batch, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum of all losses.

        Each part is the mean over all samples, where a sample that has no such loss counts as 0.
        """
        dropped = self._dropout.dropped(draws.uniform("dropout").cpu())
        has_cycle_B = ~(dropped.text_B | dropped.image_B)
        zero = torch.zeros(1, device=self._checkpoint.device)
        found: dict[str, Tensor] = {}
        carrier_B = zero
        if has_cycle_B.any():
            rows = has_cycle_B.nonzero()[:, 0].tolist()
            found, carrier_B = self._cycle(batch.select(rows), draws.select(rows))
        if not has_cycle_B.all():
            rows = (~has_cycle_B).nonzero()[:, 0].tolist()
            found["dropped"] = self._denoising(batch.select(rows), draws.select(rows), dropped.select(rows))
        weights = self._settings.loss_weights()
        parts = {name: found.get(name, zero).sum() / len(batch) for name in weights}
        total = torch.stack([weight * parts[name] for name, weight in weights.items()]).sum()
        total = total + carrier_B.sum() / len(batch)
        return total, {name: part.detach() for name, part in parts.items()}

    def predict(self, input_BChw: Tensor, timestep_B: Tensor, texts: TextCondition) -> Tensor:
        """The UNet's output."""
        return self._checkpoint.predict(input_BChw, timestep_B, texts)

    def unscaled(self, latent_BChw: Tensor) -> Tensor:
        """Latents as the autoencoder's encoder gives them, from scaled ones."""
        return self._checkpoint.latents.unscaled(latent_BChw)

    def recording(self) -> AbstractContextManager[Mapping[str, Tensor]]:
        """Maps of the passes within; none where no loss compares them."""
        return self._recorder.recording() if self._recorder else nullcontext({})

    def _layers(self) -> tuple[str, ...]:
        """Names of the layers whose attention is compared. Raises UsageError where no layer is small enough."""
        settings, checkpoint = self._settings, self._checkpoint
        if not settings.lambda_attn:
            return ()
        layers = cross_attentions(checkpoint.unet, settings.size_px // checkpoint.latents.factor, MAX_QUERIES)
        if not layers:
            raise UsageError(
                f"at size_px {settings.size_px} all cross-attentions of model {settings.model!r} have more than "
                f"{MAX_QUERIES} places, so their maps are not compared; set a smaller size_px, or lambda_attn=0"
            )
        return layers

    def _cycle(self, batch: Batch, draws: Draws) -> tuple[dict[str, Tensor], Tensor]:
        """The losses (B,) of samples that lose no condition, and what carries the gradient of those without graph."""
        settings, source_BChw = self._settings, self._source(batch)
        instruction, undo = (self._checkpoint.encode_texts(batch[n]) for n in ("instruction", "reverse_instruction"))
        noise = self._noise(draws, "", source_BChw)
        forward = one_step(self, source_BChw, source_BChw, noise, instruction)
        images = ImageLosses(settings, self._clip, self._checkpoint.latents.decode, batch) if self._clip else None
        parts: dict[str, Tensor] = {}
        carrier_B = torch.zeros(len(batch), device=source_BChw.device)
        if images and (settings.lambda_clip or settings.lambda_sim):
            parts, carrier_B = early_gradient(forward.clean_BChw, images.of_edit, settings.loss_weights())
        if settings.needs_reverse:
            reverse = self._reverse(draws, forward, noise, source_BChw, (instruction, undo))
            if settings.lambda_attn:
                parts["attention"] = self._attention_loss(batch, forward, reverse)
            if images and settings.lambda_recon:
                weights, of_latent = settings.loss_weights(), images.of_reconstruction
                found, further_B = early_gradient(reverse.clean_BChw, of_latent, weights)
                parts, carrier_B = parts | found, carrier_B + further_B
        if settings.identity_loss and settings.lambda_identity:
            own = self._noise(draws, "identity_", source_BChw)
            parts["identity"] = self._error(source_BChw, self.unscaled(source_BChw), own, undo)
        return parts, carrier_B

    def _reverse(
        self,
        draws: Draws,
        forward: OneStep,
        noise: Noise,
        source_BChw: Tensor,
        texts: tuple[TextCondition, TextCondition],
    ) -> OneStep:
        """The pass back by the second text of `texts`, which sees the edit of the forward pass by the first."""
        settings, (instruction, undo), seen_BChw = self._settings, texts, forward.clean_BChw
        if settings.clean_cycle_condition:
            start_BChw, steps = forward.noisy_BChw, settings.clean_steps
            clean_BChw = denoised(self, start_BChw, source_BChw, noise.timestep_B, instruction, steps)
            seen_BChw = straight_through(clean_BChw, forward.clean_BChw)
        return one_step(self, forward.clean_BChw, seen_BChw, self._noise(draws, "reverse_", source_BChw), undo)

    def _attention_loss(self, batch: Batch, forward: OneStep, reverse: OneStep) -> Tensor:
        instruction_BL, undo_BL = (
            self._checkpoint.word_tokens(batch[name]) for name in ("instruction", "reverse_instruction")
        )
        return losses.attention_loss(forward.maps, reverse.maps, instruction_BL, undo_BL, self._settings.norm)

    def _denoising(self, batch: Batch, draws: Draws, dropped: Dropped) -> Tensor:
        """The error (B,) of samples that lose a condition: the source is what is denoised, and what is seen."""
        source_BChw = self._source(batch)
        text_B, image_B = (one.to(source_BChw.device) for one in dropped)
        seen_BChw = self.unscaled(source_BChw).masked_fill(image_B[:, None, None, None], 0.0)
        undo = self._checkpoint.encode_texts(batch["reverse_instruction"])
        texts = without_text(undo, self._no_text, text_B)
        return self._error(source_BChw, seen_BChw, self._noise(draws, "", source_BChw), texts)

    def _error(self, latent_BChw: Tensor, seen_BChw: Tensor, noise: Noise, texts: TextCondition) -> Tensor:
        """The mean squared error (B,) of the output for `latent_BChw` with noise. `seen_BChw` is not scaled."""
        noisy_BChw = noised(latent_BChw, noise.noise_BChw, self.schedule.alpha(noise.timestep_B))
        out_BChw = self.predict(torch.cat([noisy_BChw, seen_BChw], 1), noise.timestep_B, texts)
        wanted_BChw = self.schedule.target(latent_BChw, noise.noise_BChw, noise.timestep_B)
        return (out_BChw - wanted_BChw).square().mean((1, 2, 3))

    def _source(self, batch: Batch) -> Tensor:
        """Scaled latents of the sources: the posterior's mode, from the dataset where it has them."""
        image_BCHW = batch["source_images"][0]
        return batch.completed("source_latent", lambda rows: self._checkpoint.latents.encode(image_BCHW[rows]))

    def _noise(self, draws: Draws, prefix: str, latent_BChw: Tensor) -> Noise:
        """Timestep and noise of one pass; each pass has a prefix of its own."""
        timestep_B = draws.integers(f"{prefix}timestep", self.schedule.num_timesteps)
        noise_BChw = draws.normal(f"{prefix}noise", latent_BChw.shape[1:])
        return Noise(timestep_B.to(latent_BChw.device), noise_BChw.to(latent_BChw.device))
