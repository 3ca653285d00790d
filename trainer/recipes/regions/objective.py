"""The objective of the recipe `regions`: semantic losses of features, and losses through CLIP of the composed image.

Source  Beyond Editing Pairs (arXiv 2505.19352), figure 1; `losses` and `composite` say what is chosen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from models.regions.editor import RegionEditor
from models.regions.head_file import save_head
from models.regions.segmenter import RegionSegmenter
from trainer.recipe import ParameterGroup
from trainer.recipes.regions import losses
from trainer.recipes.regions.composite import Box, boxes_of, composed, logistic, straight_through

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path
    from typing import Any

    from torch import Tensor

    from models.loss_protocols import ImageTextTokens, ImageTokens, TextTokens
    from models.protocols import EditSynthesizer
    from models.regions.head import RegionHead
    from models.regions.head_file import RegionConfig
    from trainer.arrays import ArraySpec
    from trainer.batch import Batch
    from trainer.draws import Draws
    from trainer.recipes.regions.generated import GeneratedImages
    from trainer.recipes.regions.settings import RegionsSettings

# B rows, N patches, H W pixels, D embedding


class Networks(NamedTuple):
    """What a training works with. `generator` and `generated` are None where nothing needs them."""

    head: RegionHead
    config: RegionConfig
    tokens: ImageTextTokens
    generator: EditSynthesizer | None
    generated: GeneratedImages | None
    autocast: Callable[[], AbstractContextManager[Any]]


class Known(NamedTuple):
    """What the frozen CLIP says of a batch."""

    source_BCHW: Tensor
    """From 0 to 1."""
    source: ImageTokens
    instruction: TextTokens
    source_text_BD: Tensor
    target_text_BD: Tensor


class RegionsObjective:
    """The losses, and the editor over the weights as they are."""

    arrays: tuple[ArraySpec, ...] = ()

    def __init__(self, settings: RegionsSettings, networks: Networks) -> None:
        self._settings, self._networks = settings, networks
        self.modules = {"head": networks.head}
        self.groups = (ParameterGroup(names=tuple(f"head.{name}" for name, _ in networks.head.named_parameters())),)
        self._trained = frozenset(self.groups[0].names)

    @property
    def editor(self) -> RegionEditor:
        """The editor over the weights as they are, for previews."""
        settings, networks = self._settings, self._networks
        assert networks.generator is not None  # loaded where there are previews
        segmenter = RegionSegmenter.over(
            networks.head, networks.tokens, threshold=settings.threshold, batch_size=settings.run_on.preview_samples
        )
        return RegionEditor.over(segmenter, networks.generator, settings.run_on.preview)

    def trained_at(self, step: int) -> frozenset[str]:  # noqa: ARG002  all steps are alike
        """Everything in the groups, at every step."""
        return self._trained

    def loss(self, batch: Batch, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum of the losses, and each as its mean over the samples, without the weights `lambda`.

        `region_frac`, the mean probability of a patch, is among the parts and not in the sum.
        """
        settings, networks = self._settings, self._networks
        known = self._known(batch)
        with networks.autocast():
            features = networks.head(known.source.patch_BND, known.instruction)
        logit_BN = features.logit_BN.float()
        found: dict[str, tuple[float, Tensor]] = {}
        if settings.lambda_original:
            loss_B = losses.semantic_loss(features.original_BD.float(), known.source_text_BD)
            found["semantic_original"] = settings.lambda_original, loss_B
        if settings.lambda_edited:
            loss_B = losses.semantic_loss(features.edited_BD.float(), known.target_text_BD)
            found["semantic_edited"] = settings.lambda_edited, loss_B
        if networks.generated is not None:
            found |= self._image_losses(logit_BN, known, batch, draws, networks.generated)
        total = logit_BN.sum() * 0
        for weight, loss_B in found.values():
            total = total + weight * loss_B.mean()
        parts = {name: loss_B.detach().mean() for name, (_, loss_B) in found.items()}
        return total, {**parts, "region_frac": logit_BN.detach().sigmoid().mean()}

    def save(self, folder: Path) -> None:
        """The head, and a config that names its CLIP and its generator."""
        save_head(self._networks.head, self._networks.config, folder)

    def _known(self, batch: Batch) -> Known:
        tokens = self._networks.tokens
        source_BCHW = batch["source_images"][0] / 2 + 0.5
        with torch.no_grad():
            return Known(
                source_BCHW,
                tokens.image_tokens(source_BCHW),
                tokens.text_tokens(batch["instruction"]),
                tokens.text_tokens(batch["source_caption"]).emb_BD,
                tokens.text_tokens(batch["target_caption"]).emb_BD,
            )

    def _image_losses(
        self, logit_BN: Tensor, known: Known, batch: Batch, draws: Draws, generated: GeneratedImages
    ) -> dict[str, tuple[float, Tensor]]:
        """Name -> (weight, loss (B,)) of the composed image."""
        settings, grid = self._settings, self._networks.tokens.grid
        size = known.source_BCHW.shape[-2], known.source_BCHW.shape[-1]
        boxes = [Box(0, 0, *size)] * len(batch)
        if settings.generated == "box":
            prob_BN = logit_BN.detach().sigmoid()
            boxes = boxes_of(prob_BN, grid, size, settings.threshold, settings.box_cells)
        seeds = draws.integers("generated", settings.num_seeds).tolist()
        generated_BCHW = generated.images(known.source_BCHW, boxes, batch["target_caption"], seeds)
        noise_BN = settings.noise_scale * logistic(draws.uniform("region", logit_BN.shape[1:])).to(logit_BN)
        mask_B1HW = straight_through(logit_BN, noise_BN, grid, size, settings.threshold)
        result = self._networks.tokens.image_tokens(composed(mask_B1HW, generated_BCHW, known.source_BCHW))
        texts = known.target_text_BD, known.source_text_BD
        found: dict[str, tuple[float, Tensor]] = {}
        if settings.lambda_global:
            found["global"] = settings.lambda_global, losses.global_loss(result.emb_BD, known.target_text_BD)
        if settings.lambda_direction:
            loss_B = losses.direction_loss(result.emb_BD, known.source.emb_BD, *texts)
            found["direction"] = settings.lambda_direction, loss_B
        if settings.lambda_structure:
            loss_B = losses.structure_loss(result.patch_BND, known.source.patch_BND)
            found["structure"] = settings.lambda_structure, loss_B
        return found
