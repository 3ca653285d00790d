"""Describe each image in a short sentence, with a captioning model.

Reads   source_images (list<binary>)
Writes  generated_caption (string)
Drops   rows for which the model says nothing (empty_caption)
Source  Bodur et al. 2023, iEdit (arXiv 2305.05947), section 3.1: captions of the web are noisy, BLIP's are short and
        grounded in the image.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, ClassVar

import pyarrow as pa
from pydantic import Field

from models.batches import prepared
from models.protocols import Captioner
from pipeline.stage import MapStage, Serves, TwoPart
from samples.columns import REJECT_REASON
from samples.stored_images import first_images
from stages.inputs.rows import clean_caption

if TYPE_CHECKING:
    from typing import Any

    from pipeline.context import Context
    from pipeline.stage import BatchFn


class CaptionReject(StrEnum):
    """Why there is no caption."""

    EMPTY = "empty_caption"


class Caption(MapStage):
    """The caption that a model gives the source image."""

    version: ClassVar[int] = 2
    reads: ClassVar = ("source_images",)
    writes: ClassVar = ("generated_caption",)
    rejects: ClassVar = CaptionReject

    model: Annotated[str, Serves(Captioner)]
    """A Captioner: `zoo:blip`, `hf:Salesforce/blip-image-captioning-large@<commit>` …"""
    prompt: str = ""
    """Text that the model continues; whether the caption keeps it depends on the model (models/captioners/)."""
    max_new_tokens: int = Field(default=30, ge=1)
    """Longest caption, in tokens of the model."""

    reduced_jpeg_px: int | None = Field(default=None, ge=1)
    """A JPEG is decoded at 1/2, 1/4 or 1/8 of its size where that leaves its shorter side this long; none: whole. Give
    at least the side that the model sees: 384 px for BLIP."""

    def open(self, ctx: Context) -> BatchFn:
        """Load the model once."""
        settings = {"prompt": self.prompt} if self.prompt else {}
        captioner = ctx.load(Captioner, self.model, max_new_tokens=self.max_new_tokens, **settings)

        def get_ready(batch: pa.Table) -> Any:
            return prepared(captioner, first_images(batch["source_images"], self.reduced_jpeg_px))

        def caption(batch: pa.Table, images: Any) -> pa.Table:
            captions = captioner.caption(images) if batch.num_rows else []
            texts = [clean_caption(" ".join(text.split())) for text in captions]
            reasons = [None if text else CaptionReject.EMPTY.value for text in texts]
            batch = batch.append_column("generated_caption", pa.array(texts, pa.string()))
            return batch.append_column(REJECT_REASON, pa.array(reasons, pa.string()))

        return TwoPart(prepare=get_ready, finish=caption)
