"""Beyond Editing Pairs: trains a head that says where an instruction changes an image, without edited images.

A sample is an image, its description, an instruction and the description of the edited image. A frozen generator
repaints the predicted region, and a frozen CLIP judges the result. Any generator then edits with the trained head.

Source  Beyond Editing Pairs (arXiv 2505.19352); `settings` says what is from the paper and what is chosen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from core.errors import MissingDependencyError, UsageError
from core.missing import refusal
from models import registry
from models.model_ids import find
from models.placement import Placement
from models.regions.head_file import PINNED_SCHEMES, REGION_HEAD, RegionConfig, load_head, make_head
from trainer.recipes.regions.generated import GeneratedImages, Generator
from trainer.recipes.regions.objective import Networks, RegionsObjective
from trainer.recipes.regions.settings import RegionsSettings

if TYPE_CHECKING:
    from models.protocols import EditSynthesizer
    from models.regions.head import RegionHead
    from trainer.recipe import TrainContext

GENERATOR = "EditSynthesizer"
TOKENS = "ImageTextTokens"


class Regions(RegionsSettings):
    """Settings of the recipe `regions`. It trains a new region head, or goes on from a trained one."""

    recipe: ClassVar[str] = "regions"

    def open(self, ctx: TrainContext) -> RegionsObjective:
        """The objective on the training's device.

        Raises UsageError for a model that cannot inpaint, a CLIP without tokens, sizes that do not fit together and
        buckets of other shapes; ModelError for a model that is not on this machine.
        """
        self._check()
        placement = Placement(device=str(ctx.device), dtype="float32")
        tokens: Any = ctx.load(TOKENS, self.clip_model, patch_layer=self.patch_layer)
        config = self._config(tokens.dim)
        head = self._head(config, placement).to(ctx.device)
        generator: EditSynthesizer | None = None
        if self.uses_generator:
            generator = ctx.load(GENERATOR, self.generator, batch_size=self.run_on.generator_batch_size)
        generated = None
        if self.needs_generator and generator is not None:
            identity = f"{self.generator} {registry.revision(self.generator)} {ctx.frozen_dtype}"
            folder = self.run_on.cache or self.out / "generated"
            generated = GeneratedImages(
                Generator(
                    generator, identity, self.generator_steps, self.generator_guidance_scale,
                    self.run_on.generator_batch_size,
                ), folder,
            )  # fmt: skip
        return RegionsObjective(self, Networks(head, config, tokens, generator, generated, ctx.autocast))

    def _check(self) -> None:
        """Raise UsageError for models that cannot do their part or that nothing pins, before any is loaded."""
        used = [("clip_model", self.clip_model, TOKENS)]
        if self.uses_generator:
            used.append(("generator", self.generator, GENERATOR))
        for name, model_id, protocol in used:
            if model_id.partition(":")[0] not in PINNED_SCHEMES:
                raise UsageError(
                    f"{name} {model_id!r} is a server, whose images nothing pins; a training needs weights "
                    f"({', '.join(PINNED_SCHEMES)})"
                )
            if lacking := registry.missing(model_id, protocol):
                raise MissingDependencyError(f"{name}: {refusal([('', one) for one in lacking])}")
            if clause := registry.cannot_serve(protocol, model_id):
                raise UsageError(f"{name} {model_id!r} {clause}; name another model")
        if self.aspect_buckets:
            raise UsageError("recipe regions trains on squares; set aspect_buckets=false")

    def _config(self, dim: int) -> RegionConfig:
        if dim % self.num_heads:
            raise UsageError(
                f"num_heads is {self.num_heads}, which does not divide the {dim} channels of {self.clip_model}"
            )
        return RegionConfig(
            dim=dim, num_heads=self.num_heads, hidden=self.hidden, clip_model=self.clip_model,
            clip_revision=registry.revision(self.clip_model), patch_layer=self.patch_layer, generator=self.generator,
            threshold=self.threshold,
        )  # fmt: skip

    def _head(self, config: RegionConfig, placement: Placement) -> RegionHead:
        """A new head, or the trained one to start from. Raises UsageError for one of other sizes or another CLIP."""
        if self.model is None:
            return make_head(config)
        weights = find(self.model)
        if (kind := registry.kind_of(weights)) != REGION_HEAD:
            raise UsageError(f"model {self.model!r} is of kind {kind!r}; name a region head, or leave it out")
        head, known = load_head(weights, placement)
        for name in ("dim", "num_heads", "hidden", "clip_revision", "patch_layer"):
            has, asked = getattr(known, name), getattr(config, name)
            if has != asked:
                raise UsageError(f"model {self.model!r} has {name} {has}; the settings ask for {asked}")
        return head
