"""The objective of InstructGIE: the noise of a grid, the shift of the edit, and the selective area of the output.

Source  Meng et al. 2024, InstructGIE (ECCV 2024), section 3; `settings` and `losses` say what is chosen.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from models.diffusion.editor_kinds import CONTROL_FOLDER, VISUAL_PROMPT
from models.diffusion.text_conditions import without_text
from models.diffusion.visual_prompt.control_net import control, save_control_net
from models.diffusion.visual_prompt.editor import VisualPromptEditor
from models.diffusion.visual_prompt.editor_file import TrainedAs, write_editor_file
from models.diffusion.visual_prompt.grid import condition_of, grid_of, output_cell, without_examples
from models.diffusion.visual_prompt.settings import NONE, RULES
from models.language.unification.unifier import Unifier
from trainer.diffusion.dropout import Dropout
from trainer.diffusion.latents import cells_inside
from trainer.diffusion.loss_weights import loss_weights
from trainer.diffusion.schedule import noised
from trainer.recipe import ParameterGroup
from trainer.recipes.instructgie.losses import clean_weight, selective_loss, shift_loss

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from torch import Tensor

    from models.loss_protocols import DifferentiableImageText
    from trainer.arrays import ArraySpec
    from trainer.batch import Batch
    from trainer.diffusion.checkpoint import Checkpoint
    from trainer.draws import Draws
    from trainer.recipes.instructgie.settings import InstructGieSettings

# B rows, C channels, H W pixels of a cell, h w cells of a latent, L tokens, D embedding

log = logging.getLogger(__name__)

WRITER = "instruction_unifier"
"""Column that says whether a model or a rule unified the instruction."""
DECODER = ("up_blocks.", "conv_norm_out.", "conv_out.")
"""Beginnings of the names of parameters in the UNet's second half."""


class Networks(NamedTuple):
    """What a training works with. `clip` is None where no loss needs it."""

    checkpoint: Checkpoint
    net: Any
    """The control network."""
    clip: DifferentiableImageText | None
    autocast: Callable[[], AbstractContextManager[Any]]


class InstructGieObjective:
    """The losses, and the editor over the weights as they are."""

    arrays: tuple[ArraySpec, ...] = ()

    def __init__(self, settings: InstructGieSettings, networks: Networks) -> None:
        self._settings, self._networks, self._checkpoint = settings, networks, networks.checkpoint
        self._dropout = Dropout(settings.text_dropout, settings.example_dropout, settings.both_dropout)
        self._no_text = self._checkpoint.no_text()
        self._is_first = True
        unet, run_on = self._checkpoint.unet, settings.run_on
        self.modules = {"control_net": networks.net, **({} if settings.trained == "control" else {"unet": unet})}
        self.groups = self._groups()
        self._trained = frozenset(name for group in self.groups for name in group.names)
        self.editor = VisualPromptEditor.over(
            self._checkpoint.pipeline, networks.net, settings.preview_settings(), cell_px=settings.size_px,
            batch_size=run_on.preview_samples, unifier=Unifier(None) if settings.are_previews_unified else None,
        )  # fmt: skip
        self._checkpoint.speed_up(compile_unet=False, gradient_checkpointing=run_on.gradient_checkpointing)
        if run_on.gradient_checkpointing:
            networks.net.enable_gradient_checkpointing()

    def trained_at(self, step: int) -> frozenset[str]:  # noqa: ARG002  all steps are alike
        """Everything in the groups, at every step."""
        return self._trained

    def loss(self, batch: Batch, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum of the losses, and each as its mean over the samples, without the weights `lambda`."""
        settings, checkpoint, schedule = self._settings, self._checkpoint, self._checkpoint.schedule
        self._report_first(batch)
        cells = (*(batch[name] for name in settings.one_of), batch["source_images"][0], batch["target_image"])
        latent_BChw = checkpoint.latents.encode(grid_of(*cells))
        timestep_B = draws.integers("timestep", schedule.num_timesteps).to(checkpoint.device)
        noise_BChw = draws.normal("noise", latent_BChw.shape[1:]).to(checkpoint.device)
        dropped = self._dropout.dropped(draws.uniform("dropout").to(checkpoint.device))
        alpha_B = schedule.alpha(timestep_B)
        noisy_BChw = noised(latent_BChw, noise_BChw, alpha_B)
        condition_BCHW = without_examples(condition_of(*cells[:3]), dropped.image_B)
        out_BChw = self._predict(noisy_BChw, timestep_B, batch, condition_BCHW, dropped.text_B)
        wanted_BChw = schedule.target(latent_BChw, noise_BChw, timestep_B)
        error_B = (out_BChw - wanted_BChw).square().mean((1, 2, 3))
        weight_B = loss_weights(settings.loss_weights, alpha_B, schedule.prediction, settings.min_snr_gamma)
        total, parts = (weight_B * error_B).mean(), {"error": error_B.detach().mean()}
        if settings.uses_clean_latent:
            clean_BChw = output_cell(schedule.clean_in(out_BChw, noisy_BChw, timestep_B))
            weight_B = clean_weight(timestep_B, schedule.num_timesteps)
            losses = self._clean_losses(clean_BChw, output_cell(latent_BChw), batch, ~dropped.text_B)
            for name, (factor, loss_B) in losses.items():
                total = total + factor * (weight_B * loss_B).mean()
                parts[name] = loss_B.detach().mean()
        return total, parts

    def save(self, folder: Path) -> None:
        """The checkpoint as a pipeline of a kind of its own, the control network beside it, and how it was trained."""
        settings = self._settings
        self._checkpoint.save(folder, settings.run_on.save_dtype, VISUAL_PROMPT)
        save_control_net(self._networks.net, folder / CONTROL_FOLDER, settings.run_on.save_dtype)
        unifier = settings.unifier if settings.unified else NONE
        write_editor_file(folder, TrainedAs(cell_px=settings.size_px, unifier=unifier))

    def _predict(
        self, noisy_BChw: Tensor, timestep_B: Tensor, batch: Batch, condition_BCHW: Tensor, is_dropped_B: Tensor
    ) -> Tensor:
        """The UNet's output under the control network's residuals; texts are dropped where `is_dropped_B` says so."""
        encoded = self._checkpoint.encode_texts(list(batch[self._settings.text_column]))
        texts = without_text(encoded, self._no_text, is_dropped_B)
        with self._networks.autocast():
            added = control(self._networks.net, noisy_BChw, timestep_B, texts.tokens_BLD, condition_BCHW)
        return self._checkpoint.predict(noisy_BChw, timestep_B, texts, **added.as_conditions())

    def _clean_losses(
        self, clean_BChw: Tensor, wanted_BChw: Tensor, batch: Batch, has_text_B: Tensor
    ) -> dict[str, tuple[float, Tensor]]:
        """Name -> (weight, loss (B,)) of the losses on the output's cell. Without text there is no shift to match."""
        settings, found = self._settings, {}
        if settings.lambda_selective:
            area_B1hw = cells_inside(batch["selective_mask_png"], clean_BChw)
            found["selective"] = settings.lambda_selective, selective_loss(clean_BChw, wanted_BChw, area_B1hw)
        if settings.lambda_shift:
            edited_BD = self._embedded(self._checkpoint.latents.decode(clean_BChw))
            with torch.no_grad():
                source_BD = self._embedded(batch["source_images"][0])
                target_BD = self._embedded(batch["target_image"])
            found["shift"] = settings.lambda_shift, has_text_B * shift_loss(edited_BD, target_BD, source_BD)
        return found

    def _embedded(self, image_BCHW: Tensor) -> Tensor:
        """CLIP's embeddings (B, D) of images from -1 to 1."""
        assert self._networks.clip is not None
        return self._networks.clip.image_emb(image_BCHW / 2 + 0.5)

    def _groups(self) -> tuple[ParameterGroup, ...]:
        settings = self._settings
        groups = [ParameterGroup(names=_names("control_net", self._networks.net, ("",)))]
        if settings.trained != "control":
            starts = DECODER if settings.trained == "decoder" else ("",)
            names = _names("unet", self._checkpoint.unet, starts)
            groups.append(ParameterGroup(names=names, learning_rate=settings.unet_learning_rate))
        return tuple(groups)

    def _report_first(self, batch: Batch) -> None:
        """Say once where the first samples have no selective area, and where a language model unified their texts."""
        if not self._is_first:
            return
        self._is_first, settings = False, self._settings
        if settings.lambda_selective and not bool(batch["selective_mask_png"].any()):
            log.info("the first samples have no selective area, so lambda_selective has no effect on them")
        is_by_rules = settings.unified and settings.unifier == RULES
        if is_by_rules and WRITER in batch and "model" in batch[WRITER]:
            log.warning(
                "instructions of the dataset were unified by a language model; set unifier to its id so that the "
                "result edits with it"
            )


def _names(module_name: str, module: Any, starts: tuple[str, ...]) -> tuple[str, ...]:
    """Full names of the parameters of a module whose own names begin so."""
    return tuple(f"{module_name}.{name}" for name, _ in module.named_parameters() if name.startswith(starts))
