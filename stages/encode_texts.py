"""Encode each instruction once, so that a trainer need not run the text encoders at every step.

Reads   instruction (string)
Writes  instruction_emb (binary, npy), instruction_pooled_emb (binary, npy), text_model (string),
        text_revision (string)
Drops   nothing: a row without instruction has no embeddings
Source  Rombach et al. 2022, Latent Diffusion; Podell et al. 2023, SDXL. Half precision, at full length: the UNet of a
        trained model attends to the padding, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

import pyarrow as pa

from models.protocols import TextConditioner
from models.registry import revision
from pipeline.stage import MapStage, Serves
from samples.stored_arrays import npy

if TYPE_CHECKING:
    from pipeline.context import Context
    from pipeline.stage import BatchFn


class EncodeTexts(MapStage):
    """The instruction as the UNet of a checkpoint is conditioned on it. Only SDXL has pooled embeddings."""

    version: ClassVar[int] = 1
    reads: ClassVar = ("instruction",)
    writes: ClassVar = ("instruction_emb", "instruction_pooled_emb", "text_model", "text_revision")

    model: Annotated[str, Serves(TextConditioner)]
    """A diffusers checkpoint with its text encoders, the one that will be trained: `zoo:sd`, `hf:…`."""

    def open(self, ctx: Context) -> BatchFn:
        """Load the text encoders once."""
        conditioner = ctx.load(TextConditioner, self.model)
        pinned = revision(self.model)

        def encode(batch: pa.Table) -> pa.Table:
            texts = batch["instruction"].to_pylist()
            distinct = list(dict.fromkeys(text for text in texts if text is not None))
            found = zip(distinct, conditioner.encode_prompts(distinct), strict=True)
            stored = {text: [None if one is None else npy(one) for one in both] for text, both in found}
            values = {
                "instruction_emb": [None if text is None else stored[text][0] for text in texts],
                "instruction_pooled_emb": [None if text is None else stored[text][1] for text in texts],
            }
            for name, arrays in values.items():
                batch = batch.append_column(name, pa.array(arrays, pa.binary()))
            for name, value in (("text_model", self.model), ("text_revision", pinned)):
                batch = batch.append_column(name, pa.array([value] * batch.num_rows, pa.string()))
            return batch

        return encode
