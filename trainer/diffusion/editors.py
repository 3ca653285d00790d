"""Opens a checkpoint as an instruction editor, whose UNet takes the latent of the source beside the noisy one.

Owns kinds, widths, parameter groups, and all of an objective but its loss. Conditions and losses are the recipes'.

Source  Brooks et al. 2023, InstructPix2Pix, section 3.2; Zhao et al. 2024, UltraEdit, appendix A.4, for regions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, NamedTuple

from core.errors import UsageError
from models.diffusion.editor_kinds import PIX2PIX, PIX2PIX_XL, REGION_OF, REGION_PIX2PIX, REGION_PIX2PIX_XL
from trainer.diffusion.checkpoint import TEXT_TO_IMAGE, Checkpoint
from trainer.diffusion.conv_in import widen_conv_in
from trainer.diffusion.lora import PARAMETER
from trainer.diffusion.start import read_start
from trainer.recipe import ParameterGroup

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from trainer.arrays import ArraySpec
    from trainer.batch import Batch
    from trainer.diffusion.settings import EditorRecipe
    from trainer.diffusion.start import Start
    from trainer.draws import Draws
    from trainer.recipe import TrainContext

TEXT_TO_IMAGE_XL = "StableDiffusionXLPipeline"
EDITOR_OF = {TEXT_TO_IMAGE: PIX2PIX, PIX2PIX: PIX2PIX, TEXT_TO_IMAGE_XL: PIX2PIX_XL, PIX2PIX_XL: PIX2PIX_XL}
"""Kind of the checkpoint to start from -> kind of the editor without region."""
REGION_EDITOR_OF = {**EDITOR_OF, REGION_PIX2PIX: PIX2PIX, REGION_PIX2PIX_XL: PIX2PIX_XL}
"""The same with the checkpoints that take a region."""
LATENTS_TAKEN = {
    TEXT_TO_IMAGE: 1,
    TEXT_TO_IMAGE_XL: 1,
    PIX2PIX: 2,
    PIX2PIX_XL: 2,
    REGION_PIX2PIX: 3,
    REGION_PIX2PIX_XL: 3,
}
"""Kind -> latents that its UNet takes: the noisy one, that of the source, that of the region."""
CONV_IN = "unet.conv_in."


class OpenedEditor(NamedTuple):
    """A checkpoint with a UNet of the editor's width, and the kind of the pipeline that it is saved as."""

    checkpoint: Checkpoint
    kind: str


def open_editor(
    recipe: EditorRecipe, ctx: TrainContext, *, region: bool | None = None, prediction: str | None = None
) -> OpenedEditor:
    """Load the checkpoint that `recipe` names, widen its UNet, and add adapters where they are trained.

    `region` says whether the editor takes a region, None that the recipe knows no regions. `prediction` is what the
    UNet is to predict, where that is not what the checkpoint says. Raises UsageError for a model of another kind or
    width, and for a size that it cannot take, before weights load.
    """
    kinds = EDITOR_OF if region is None else REGION_EDITOR_OF
    start = read_start(recipe.model, tuple(kinds))
    in_channels = _in_channels(start, takes_region=bool(region))
    start.check_size(recipe.size_px, aspect_buckets=recipe.aspect_buckets)
    checkpoint = Checkpoint(recipe.model, ctx, tuple(kinds), prediction=prediction)
    widen_conv_in(checkpoint.unet, in_channels)
    if recipe.trained == "lora":
        checkpoint.add_lora(recipe.lora_rank)
    kind = kinds[start.kind]
    return OpenedEditor(checkpoint, REGION_OF[kind] if region else kind)


class EditorObjective(ABC):
    """An objective over an editor's UNet: what is trained, the editor of previews, and how it is saved."""

    def __init__(self, recipe: EditorRecipe, opened: OpenedEditor, editor_class: Any) -> None:
        """`editor_class` is the class of the editor that previews are made with."""
        checkpoint, run_on = opened.checkpoint, recipe.run_on
        self._checkpoint, self._kind, self._save_dtype = checkpoint, opened.kind, run_on.save_dtype
        self.modules = {"unet": checkpoint.unet}
        self.groups = parameter_groups(recipe, checkpoint)
        self._trained = frozenset(name for group in self.groups for name in group.names)
        latents = checkpoint.latent_spec(recipe.size_px, aspect_buckets=recipe.aspect_buckets)
        self.arrays: tuple[ArraySpec, ...] = (latents,) if recipe.use_latents else ()
        preview = recipe.preview_settings()
        self.editor = editor_class.over(checkpoint.pipeline, preview, batch_size=run_on.preview_samples)
        checkpoint.speed_up(compile_unet=run_on.compile_unet, gradient_checkpointing=run_on.gradient_checkpointing)

    @abstractmethod
    def loss(self, batch: Batch, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        """The scalar to minimise, and its parts, as `trainer.recipe.Objective` has them."""

    def trained_at(self, step: int) -> frozenset[str]:  # noqa: ARG002  all steps are alike
        """Everything in the groups, at every step."""
        return self._trained

    def save(self, folder: Path) -> None:
        """The checkpoint's parts as an editor's pipeline, with the trained UNet, or the adapters beside it."""
        self._checkpoint.save(folder, self._save_dtype, self._kind)


def parameter_groups(recipe: EditorRecipe, checkpoint: Checkpoint) -> tuple[ParameterGroup, ParameterGroup]:
    """The first convolution, whose new channels start at zero, and all else that is trained."""
    names = [f"unet.{name}" for name, _ in checkpoint.unet.named_parameters()]
    first = [name for name in names if name.startswith(CONV_IN)]
    is_lora = recipe.trained == "lora"
    rest = [name for name in names if name not in first and (PARAMETER in name or not is_lora)]
    return (
        ParameterGroup(names=tuple(first), learning_rate=recipe.conv_in_learning_rate),
        ParameterGroup(names=tuple(rest)),
    )


def _in_channels(start: Start, *, takes_region: bool) -> int:
    """Channels of the UNet's input. Raises UsageError where the checkpoint's UNet cannot be widened to that."""
    model_id = start.weights.model_id
    has, latents = LATENTS_TAKEN[start.kind] * start.latent_channels, 3 if takes_region else 2
    if start.in_channels != has:
        raise UsageError(
            f"model {model_id!r} has a UNet of {start.in_channels} input channels; a {start.kind} that can be "
            f"trained has {has}"
        )
    wanted = latents * start.latent_channels
    if wanted < has:
        raise UsageError(
            f"model {model_id!r} takes a region, its UNet has {has} input channels; set region=true, as without "
            f"it {wanted} are trained"
        )
    return wanted
