"""Edits images by instruction and by example: a control network shows Stable Diffusion a grid with one cell to draw.

The grid has an example pair above, the image to edit below at the left, and the edited image at the right, which is
read off the sample. Several examples are one grid each: their predictions are averaged where they share cells. Without
an example both its cells are grey.

Source  Meng et al. 2024, InstructGIE, section 3. Chosen, where it does not say: guidance, the average over examples.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from models.batches import alike, as_rgb, same_length
from models.diffusion.decoding import decoded
from models.diffusion.edit_requests import texts_of
from models.diffusion.editor_kinds import CLASS_OF, CONTROL_FOLDER, VISUAL_PROMPT
from models.diffusion.noise import first_noise, generators
from models.diffusion.schedule import GLOBAL_NOISE, Schedule
from models.diffusion.text_conditions import with_and_without
from models.diffusion.visual_prompt.control_net import load_control_net
from models.diffusion.visual_prompt.editor_file import read_editor_file
from models.diffusion.visual_prompt.grid import condition_of, output_cell, query_row
from models.diffusion.visual_prompt.guidance import GuidedControl, PromptConditions
from models.diffusion.visual_prompt.settings import AS_TRAINED, NONE, RULES, VisualPromptSettings
from models.diffusion.working_size import working_size
from models.language.unification.unifier import Unifier
from models.placement import in_batches

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

    from models.placement import Placement
    from models.protocols import EditRequest
    from models.schemes.weights import Weights

# R requests, E examples of each, B = R x E rows, C channels of a latent of h w, H W pixels of a cell

log = logging.getLogger(__name__)


class VisualPromptEditor:
    """An Editor over a pipeline of Stable Diffusion 1 or 2 with a control network beside it.

    The longer side of an image is scaled to `size_px`, its shape kept, both sides rounded to what the network can halve
    and double again. Examples are cut about their centre to the shape of the image. A checkpoint that comes with a
    safety checker keeps it: an image that it rejects is black.
    """

    Settings: ClassVar = VisualPromptSettings
    needs: frozenset[str] = frozenset({"instruction"})
    uses: frozenset[str] = frozenset({"examples"})
    trained_on: frozenset[str] = frozenset({"examples"})

    def __init__(self, weights: Weights, placement: Placement, settings: VisualPromptSettings) -> None:
        """Load the pipeline and its control network. Raises ModelError for files that are absent or damaged."""
        import diffusers

        folder = Path(weights.location)
        trained_as = read_editor_file(folder)
        net = load_control_net(folder / CONTROL_FOLDER, placement.torch_dtype()).to(placement.torch_device())
        pipeline: Any = getattr(diffusers, CLASS_OF[VISUAL_PROMPT]).from_pretrained(
            weights.location, dtype=placement.torch_dtype(), **weights.pretrained_arguments()
        )
        named = trained_as.unifier if settings.unifier == AS_TRAINED else settings.unifier
        self._take(pipeline.to(placement.torch_device()), net, settings, trained_as.cell_px)
        self._unifier, self._batch_size = unifier_of(named, placement), placement.batch_size

    @classmethod
    def over(
        cls,
        pipeline: Any,
        net: Any,
        settings: VisualPromptSettings,
        *,
        cell_px: int,
        batch_size: int,
        unifier: Unifier | None = None,
    ) -> Self:
        """The editor over modules in memory, which stay where and as they are.

        A safety checker is left out: it need not lie on the device that the other modules are on.
        """
        editor = cls.__new__(cls)
        editor._take(pipeline, net, settings, cell_px, checks_safety=False)  # noqa: SLF001  its own class
        editor._unifier, editor._batch_size = unifier, batch_size  # noqa: SLF001  the same
        return editor

    def _take(
        self, pipeline: Any, net: Any, settings: VisualPromptSettings, cell_px: int, *, checks_safety: bool = True
    ) -> None:
        self._pipeline, self._net, self._settings = pipeline, net, settings
        self._checks_safety = checks_safety
        self._scheduler = _scheduler(pipeline.scheduler, settings.scheduler)
        factor = pipeline.vae_scale_factor
        # a grid is two cells wide: half of what the network halves
        self._multiple_px = max(factor, factor * 2 ** (len(pipeline.unet.config.block_out_channels) - 1) // 2)
        self._size_px = settings.size_px or cell_px

    def edit(self, requests: Sequence[EditRequest], *, seeds: Sequence[int]) -> list[Image]:
        """One image a request, RGB, at the image's own size. The noise depends on the request's seed alone.

        Raises ValueError for lists of different length, and a request without instruction.
        """
        same_length(requests=requests, seeds=seeds)
        texts = self._unified(texts_of(requests, "instruction", "this editor is led by it"))
        rgb = as_rgb(one.image for one in requests)
        sizes = [working_size(image.size, self._size_px, self._multiple_px) for image in rgb]
        alike_in = [(size, max(1, len(one.examples))) for size, one in zip(sizes, requests, strict=True)]

        def run(rows: Sequence[int]) -> list[Image]:
            from PIL import Image

            lanczos = Image.Resampling.LANCZOS
            grids = [
                _grids(rgb[row].resize(sizes[row], lanczos), requests[row].examples, sizes[row]) for row in rows
            ]  # fmt: skip
            edited = self._edit(grids, [texts[row] for row in rows], [seeds[row] for row in rows])
            return [image.resize(rgb[row].size, lanczos) for image, row in zip(edited, rows, strict=True)]

        results: dict[int, Image] = {}
        for rows in alike(alike_in):
            results |= zip(rows, in_batches(run, rows, self._batch_size), strict=True)
        return [results[row] for row in range(len(rgb))]

    def _unified(self, instructions: list[str]) -> list[str]:
        """The instructions in canonical words; each that changes is logged."""
        if self._unifier is None:
            return instructions
        texts = [one.text for one in self._unifier.unify(instructions)]
        for before, after in dict(zip(instructions, texts, strict=True)).items():
            if after != before:
                log.info("the instruction %r is read as %r", before, after)
        return texts

    def _edit(self, grids: list[list[Any]], texts: list[str], seeds: list[int]) -> list[Image]:
        import torch

        with torch.inference_mode():
            latent_RChw = self._sample(grids, texts, seeds)
            return decoded(self._pipeline, latent_RChw, checks_safety=self._checks_safety)

    def _sample(self, grids: list[list[Any]], texts: list[str], seeds: list[int]) -> Any:
        """Scaled latents of the output cells (R, C, h, w), float32. `grids` has one grid an example of each request."""
        import torch

        unet, factor, num_examples = self._pipeline.unet, self._pipeline.vae_scale_factor, len(grids[0])
        grid_BCHW = torch.cat([one for of_request in grids for one in of_request]).to(unet.device)
        repeated = [text for text in texts for _ in range(num_examples)]
        conditions = PromptConditions(*with_and_without(self._pipeline, repeated), grid_BCHW)
        guided = GuidedControl(unet, self._net, conditions, self._settings)
        num_steps = self._settings.num_steps
        schedule = Schedule(self._scheduler, num_steps=num_steps, num_run=num_steps, device=unet.device)
        drawn = generators([seed for seed in seeds for _ in range(num_examples)])
        size = (self._pipeline.vae.config.latent_channels, *(side // factor for side in grid_BCHW.shape[-2:]))
        latent_BChw = schedule.pure(first_noise(drawn, size, unet.device))
        for step in range(len(schedule)):
            output_BChw = guided(schedule.scaled(latent_BChw, step), schedule.timesteps[step])
            output_BChw = _averaged(output_BChw, num_examples)
            latent_BChw = schedule.stepped(output_BChw, latent_BChw, step, drawn)
        return output_cell(latent_BChw)[::num_examples]


def unifier_of(name: str, placement: Placement) -> Unifier | None:
    """The unifier of a setting: None for `none`. Raises ModelError for a model that cannot be loaded."""
    if name == NONE:
        return None
    if name == RULES:
        return Unifier(None)
    from models.registry import load

    return Unifier(load("TextGenerator", name, placement))


def _averaged(output_BChw: Any, num_examples: int) -> Any:
    """The output whose lower half, query and edited image, is the mean over the examples of each request."""
    if num_examples == 1:
        return output_BChw
    mean_BChw = output_BChw.unflatten(0, (-1, num_examples)).mean(1).repeat_interleave(num_examples, 0)
    averaged_BChw = output_BChw.clone()
    query_row(averaged_BChw).copy_(query_row(mean_BChw))
    return averaged_BChw


def _grids(image: Image, examples: Sequence[tuple[Image, Image]], size: tuple[int, int]) -> list[Any]:
    """One grid (1, 3, 2 H, 2 W) an example, from -1 to 1, its output cell grey; without any, one with grey cells."""
    import torch

    query_1CHW = _pixels(image)
    if not examples:
        grey_1CHW = torch.zeros_like(query_1CHW)
        return [condition_of(grey_1CHW, grey_1CHW, query_1CHW)]
    cut = [(_pixels(_cut(before, size)), _pixels(_cut(after, size))) for before, after in examples]
    return [condition_of(before, after, query_1CHW) for before, after in cut]


def _cut(image: Image, size: tuple[int, int]) -> Image:
    """The image in RGB at (width, height), cut about its centre where its shape is another."""
    from PIL import Image as Images
    from PIL import ImageOps

    (rgb,) = as_rgb([image])
    if abs(rgb.width * size[1] - rgb.height * size[0]) > max(rgb.size) * max(size) // 16:
        log.info("an example of %d x %d pixels is cut to the shape of its image", *rgb.size)
    return ImageOps.fit(rgb, size, Images.Resampling.LANCZOS)


def _pixels(image: Image) -> Any:
    """The image as (1, 3, H, W), from -1 to 1."""
    import numpy as np
    import torch

    return torch.from_numpy(np.asarray(image, np.float32)).permute(2, 0, 1)[None] / 127.5 - 1


def _scheduler(own: Any, name: str) -> Any:
    """The scheduler of the setting. Raises ValueError for one whose noise no seed of a row decides."""
    import diffusers

    if name == "ddim":
        return diffusers.DDIMScheduler.from_config(own.config, clip_sample=False)  # latents are not -1 to 1
    if (kind := type(own).__name__) in GLOBAL_NOISE:
        raise ValueError(f"{kind} draws noise that no seed of a row decides; set scheduler to ddim")
    return own
