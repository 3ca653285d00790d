"""Edits images by instruction with a generator that was not trained for it: a region head says where it repaints.

The generator is any EditSynthesizer. It repaints the region from the description of the edited image, and the rest of
the image stays as it is.

Source  Beyond Editing Pairs (arXiv 2505.19352), sections 3 and 4: an MLLM describes the image, an LLM the edited image.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from core.errors import UsageError
from models.batches import as_rgb, same_length
from models.diffusion.edit_requests import check_masks, texts_of
from models.language.target_captions import write_target_captions
from models.regions.drawing import contour, heat_map, side_by_side
from models.regions.frozen_clip import load_tokens
from models.regions.head_file import load_head, read_config
from models.regions.region_maps import mask_of, with_margin
from models.regions.segmenter import RegionSegmenter
from models.regions.settings import AS_TRAINED, RegionEditorSettings, RepaintSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

    from models.placement import Placement
    from models.protocols import Bools, Captioner, EditRequest, EditSynthesizer, TextGenerator
    from models.schemes.weights import Weights

log = logging.getLogger(__name__)


class RegionEditor:
    """An Editor over a region head and a generator.

    A request's own mask takes the place of the predicted region. A request without target caption is described by the
    captioner and the language model of the settings.
    """

    Settings: ClassVar = RegionEditorSettings
    needs: frozenset[str] = frozenset({"instruction"})
    uses: frozenset[str] = frozenset({"source_caption", "target_caption", "mask"})
    """An editor whose settings name no language model also needs a target caption: `needs_with`."""
    trained_on: frozenset[str] = frozenset({"target_caption"})

    _captioner: Captioner | None
    _language_model: TextGenerator | None

    def __init__(self, weights: Weights, placement: Placement, settings: RegionEditorSettings) -> None:
        """Load the head, its CLIP, the generator, and the models that write descriptions where they are named.

        Raises ModelError for a head that is damaged, and for a model that is absent or cannot do its part.
        """
        from models.registry import load

        head, config = load_head(weights, placement)
        named = config.generator if settings.generator == AS_TRAINED else settings.generator
        generator = load("EditSynthesizer", named, placement)
        batch_size = placement.batch_size
        segmenter = RegionSegmenter.over(
            head, load_tokens(config, placement), threshold=config.threshold, batch_size=batch_size
        )
        self._take(segmenter, generator, settings)
        captioner, language_model = settings.captioner, settings.language_model
        self._captioner = None if captioner is None else load("Captioner", captioner, placement)
        self._language_model = None if language_model is None else load("TextGenerator", language_model, placement)
        self.needs = self.needs_with(settings)

    @classmethod
    def over(cls, segmenter: RegionSegmenter, generator: EditSynthesizer, settings: RepaintSettings) -> Self:
        """The editor over models in memory, which stay where and as they are. It writes no descriptions."""
        editor = cls.__new__(cls)
        editor._take(segmenter, generator, settings)  # noqa: SLF001  its own class
        editor._captioner = editor._language_model = None  # noqa: SLF001  the same
        editor.needs = cls.needs | {"target_caption"}
        return editor

    def _take(self, segmenter: RegionSegmenter, generator: EditSynthesizer, settings: RepaintSettings) -> None:
        self._segmenter, self._generator, self._settings = segmenter, generator, settings
        self._threshold = segmenter.threshold if settings.threshold is None else settings.threshold

    @classmethod
    def needs_with(cls, settings: RegionEditorSettings) -> frozenset[str]:
        """The fields that every request must have under these settings."""
        return cls.needs | ({"target_caption"} if settings.language_model is None else set())

    @staticmethod
    def further_models(settings: RegionEditorSettings, weights: Weights) -> tuple[str, ...]:
        """Ids of the models besides the head that decide the images."""
        config = read_config(Path(weights.location))
        generator = config.generator if settings.generator == AS_TRAINED else settings.generator
        named = (config.clip_model, generator, settings.captioner, settings.language_model)
        return tuple(one for one in named if one is not None)

    def edit(self, requests: Sequence[EditRequest], *, seeds: Sequence[int]) -> list[Image]:
        """One image a request, RGB, at the image's own size. The noise depends on the request's seed alone.

        Raises ValueError for lists of different length, a request without instruction and a mask of another size,
        UsageError for a request whose descriptions are not given and that no model of the settings writes.
        """
        same_length(requests=requests, seeds=seeds)
        instructions = texts_of(requests, "instruction", "this editor is led by it")
        check_masks(requests)
        images = as_rgb(one.image for one in requests)
        masks = self._masks(requests, images, instructions)
        todo = [row for row, mask_HW in enumerate(masks) if mask_HW.any()]
        prompts = self._target_captions([requests[row] for row in todo], [images[row] for row in todo])
        repainted = self._generator.inpaint(
            [images[row] for row in todo], [masks[row] for row in todo], prompts, seeds=[seeds[row] for row in todo],
            num_steps=self._settings.num_steps, guidance_scale=self._settings.guidance_scale,
        )  # fmt: skip
        found = dict(zip(todo, repainted, strict=True))
        return [found[row] if row in found else image.copy() for row, image in enumerate(images)]

    def pictures(self, requests: Sequence[EditRequest]) -> list[Image]:
        """For each request a picture of its region, twice as wide as the image: probabilities, and outline."""
        images = as_rgb(one.image for one in requests)
        instructions = texts_of(requests, "instruction", "this editor is led by it")
        found = self._segmenter.segment_instructions(images, instructions)
        return [
            side_by_side([heat_map(image, prob_HW), contour(image, mask_of(prob_HW, self._threshold))])
            for image, prob_HW in zip(images, found, strict=True)
        ]

    def _masks(
        self, requests: Sequence[EditRequest], images: Sequence[Image], instructions: Sequence[str]
    ) -> list[Bools]:
        """Where each image is repainted: the request's mask, or the region of its instruction."""
        unknown = [row for row, one in enumerate(requests) if one.mask is None]
        found = self._segmenter.segment_instructions(
            [images[row] for row in unknown], [instructions[row] for row in unknown]
        )
        masks: dict[int, Any] = {row: one.mask for row, one in enumerate(requests)}
        for row, prob_HW in zip(unknown, found, strict=True):
            mask_HW = with_margin(mask_of(prob_HW, self._threshold), self._settings.margin_frac)
            masks[row] = mask_HW if mask_HW.any() else self._empty(instructions[row], mask_HW)
        return [masks[row] for row in range(len(requests))]

    def _empty(self, instruction: str, mask_HW: Bools) -> Bools:
        """The mask of an image on which nothing is likely enough to be in the region."""
        is_whole = self._settings.when_empty == "whole"
        log.warning(
            "%r names nothing on its image at threshold %s: the image is %s",
            instruction, self._threshold, "repainted as a whole" if is_whole else "left as it is",
        )  # fmt: skip
        return np.full(mask_HW.shape, is_whole)

    def _target_captions(self, requests: Sequence[EditRequest], images: Sequence[Image]) -> list[str]:
        """What the edited images show. Raises UsageError where a request does not say it and nobody writes it."""
        lacking = [row for row, one in enumerate(requests) if not one.target_caption]
        written = self._written([requests[row] for row in lacking], [images[row] for row in lacking])
        found = {row: one.target_caption or "" for row, one in enumerate(requests)} | dict(
            zip(lacking, written, strict=True)
        )
        return [found[row] for row in range(len(requests))]

    def _written(self, requests: Sequence[EditRequest], images: Sequence[Image]) -> list[str]:
        """Target captions by the language model, of source captions that are given or by the captioner."""
        if not requests:
            return []
        if self._language_model is None:
            raise UsageError(
                "a request has no target_caption; give it, or set language_model to a TextGenerator that writes it"
            )
        undescribed = [row for row, one in enumerate(requests) if not one.source_caption]
        if undescribed and self._captioner is None:
            raise UsageError("a request has no source_caption; give it, or set captioner to a Captioner")
        captions = {row: one.source_caption or "" for row, one in enumerate(requests)}
        if undescribed and self._captioner is not None:
            described = self._captioner.caption([images[row] for row in undescribed])
            captions |= dict(zip(undescribed, described, strict=True))
        instructions = [one.instruction or "" for one in requests]
        answers = write_target_captions(
            self._language_model, [captions[row] for row in range(len(requests))], instructions
        )
        return [_said(captions[row], instructions[row], answer) for row, answer in enumerate(answers)]


def _said(caption: str, instruction: str, answer: str | None) -> str:
    """The target caption, logged; the instruction where the language model gave none."""
    if answer is None:
        log.warning("no target caption came of %r and %r; the instruction is used in its place", caption, instruction)
        return instruction
    log.info("%r, %r: the edited image shows %r", caption, instruction, answer)
    return answer
