"""Fetch source and target image of each example of a pair, wherever they lie, so that they are stored beside it.

It comes right after `group_by_instruction`: every example is a pair that was kept there, and a stage in between could
reject one. The images are those of the last stages before it that wrote them. Examples may be of another size than the
pair; the trainer cuts all to one size.

Reads   example_ids (list<string>)
Writes  example_source_images (list<binary>), example_source_formats (list<string>),
        example_target_images (list<binary>), example_target_formats (list<string>): in the order of example_ids, of
        each pair its first source image; empty where a row has no examples
Drops   pairs of which an example has no source or no target image (no_example_image)
Source  InstructGIE (Meng et al. 2024, arXiv 2403.05018): an example's two images are shown beside the query.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.stage import MapStage
from samples.columns import REJECT_DETAIL, REJECT_REASON

if TYPE_CHECKING:
    from pipeline.context import Context
    from pipeline.stage import BatchFn


class NoExampleImage(StrEnum):
    """Why a pair cannot be shown with its examples."""

    NO_EXAMPLE_IMAGE = "no_example_image"


class AttachExamples(MapStage):
    """Pixels of the pairs `example_ids`."""

    version: ClassVar[int] = 1
    reads: ClassVar = ("example_ids",)
    gathers: ClassVar = ("source_images", "source_format", "target_image", "target_format")
    gathers_from_parents: ClassVar[bool] = True
    writes: ClassVar = (
        "example_source_images", "example_source_formats", "example_target_images", "example_target_formats",
    )  # fmt: skip
    rejects: ClassVar = NoExampleImage

    def open(self, ctx: Context) -> BatchFn:
        """A function that gathers the examples of a batch at once. Large batches read each row group once."""

        def attach(batch: pa.Table) -> pa.Table:
            lists = [own or [] for own in batch["example_ids"].to_pylist()]
            ids = [example for own in lists for example in own]
            found = ctx.gather(ids)
            images = {
                "example_source_images": pc.list_element(found["source_images"], 0),
                "example_source_formats": found["source_format"],
                "example_target_images": found["target_image"],
                "example_target_formats": found["target_format"],
            }
            places = _places(lists)
            for name in self.writes:
                listed = pa.ListArray.from_arrays(places, images[name].combine_chunks())
                batch = batch.append_column(name, listed)
            return _with_rejects(batch, lists, _lacking(ids, images))

        return attach


def _places(lists: list[list[str]]) -> pa.Array:
    """Where each row's examples begin among all, and where the last ends."""
    places = [0]
    for own in lists:
        places.append(places[-1] + len(own))
    return pa.array(places, pa.int32())


def _lacking(ids: list[str], images: dict[str, pa.ChunkedArray]) -> dict[str, str]:
    """Example without an image -> which one it lacks."""
    found: dict[str, str] = {}
    for side in ("target", "source"):
        absent = pc.is_null(images[f"example_{side}_images"]).to_pylist()
        found |= {example: side for example, is_absent in zip(ids, absent, strict=True) if is_absent}
    return found


def _with_rejects(batch: pa.Table, lists: list[list[str]], lacking: dict[str, str]) -> pa.Table:
    first = [next((example for example in own if example in lacking), None) for own in lists]
    reasons = [None if example is None else NoExampleImage.NO_EXAMPLE_IMAGE.value for example in first]
    details = [None if example is None else f"example {example} has no {lacking[example]} image" for example in first]
    batch = batch.append_column(REJECT_REASON, pa.array(reasons, pa.string()))
    return batch.append_column(REJECT_DETAIL, pa.array(details, pa.string()))
