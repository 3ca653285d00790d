"""The edits of a table as they are put to a judge, each with a hash over all that the judge is shown."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.protocols import JudgeRequest
from pipeline.plan.fingerprint import canonical
from samples.stored_images import first_encoded, made_image, mask_array

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownEdit:
    """One edit: images and region encoded, as the dataset stores them, and texts."""

    source: bytes
    edited: bytes
    instruction: str
    source_caption: str | None
    target_caption: str | None
    region: bytes | None

    @property
    def sha256(self) -> str:
        """64 hex digits over both images, the texts and the region."""
        texts = [self.instruction, self.source_caption, self.target_caption]
        parts = [self.source, self.edited, canonical(texts).encode(), self.region or b""]
        return hashlib.sha256("".join(hashlib.sha256(part).hexdigest() for part in parts).encode()).hexdigest()

    def request(self) -> JudgeRequest:
        """The same with images decoded. A region of another size than the source is left out."""
        source = made_image(self.source)
        region = None if self.region is None else mask_array(self.region)
        return JudgeRequest(
            source=source, edited=made_image(self.edited), instruction=self.instruction,
            source_caption=self.source_caption, target_caption=self.target_caption,
            region=region if region is not None and region.shape == source.size[::-1] else None,
        )  # fmt: skip


def shown_edits(batch: pa.Table) -> list[ShownEdit | None]:
    """The edit of each row, or None where there is no instruction to judge it by."""
    names = ("instruction", "source_caption", "target_caption", "region_mask_png")
    columns = {
        name: batch[name].to_pylist() if name in batch.column_names else [None] * batch.num_rows for name in names
    }
    rows = zip(first_encoded(batch["source_images"]), batch["target_image"].to_pylist(), *columns.values(), strict=True)
    return [
        ShownEdit(
            source=source, edited=edited, instruction=instruction, source_caption=before, target_caption=after,
            region=region,
        ) if instruction and instruction.strip() else None
        for source, edited, instruction, before, after, region in rows
    ]  # fmt: skip
