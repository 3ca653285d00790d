"""The samples on the report's contact sheet: those that come first in a few shards, with thumbnails of their images.

The steps of these shards make the thumbnails, from the tars that they wrote, and leave them in a file. The last step
takes what is there. Where shards of the choice have no rows, it makes thumbnails from the tars of a few others.
"""

from __future__ import annotations

import io
import tarfile
from itertools import groupby, islice
from typing import IO, TYPE_CHECKING, Any, TypeVar

from core.errors import DamagedFileError, one_line
from samples.columns import SAMPLE_ID
from samples.image_limits import ImageProblem
from samples.members import MEMBERS, values_of
from samples.tar_writer import TarWriter
from stages.report.html import ReportSample
from stages.report.thumbnails import thumbnail

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

    from pipeline.sink import RunSummary, SinkShard

T = TypeVar("T")
Images = dict[str, bytes]
"""Role -> JPEG of one sample."""

SHOWN = (
    "source_images", "anchor_image", "target_image", "rejected_image", "source_mask_png", "target_mask_png",
    "region_mask_png", "soft_mask_png",
)  # fmt: skip
"""Columns of the images on the sheet. Of a list the first is shown."""
THUMBNAIL_PX = 288
MAX_SAMPLE_SHARDS = 12
"""The sheet takes its samples from at most so many shards, evenly spread."""
SUFFIX = ".thumbnails"
"""End of the name of a shard's file of thumbnails: a tar of `<sample_id>.<role>.jpg`."""


def leave_thumbnails(shard: SinkShard, wanted: int) -> None:
    """Write the file of thumbnails where this shard is on the sheet of `wanted` samples."""
    chosen = _spread(range(shard.num_shards), MAX_SAMPLE_SHARDS)
    if not wanted or shard.number not in chosen:
        return
    with TarWriter(shard.further_file(SUFFIX)) as out, shard.file.open("rb") as tar:
        for own, images in _drawn(tar, -(-wanted // len(chosen))):
            for role, image in images.items():
                out.add(f"{own}.{role}.jpg", image)


class ContactSheet:
    """Collects the samples of the sheet while the rows of all shards pass, in the order of shards."""

    def __init__(self, run: RunSummary, wanted: int, suffix: str) -> None:
        """`suffix` ends the names of tars. Files of thumbnails are read when the rows of their shard come."""
        self.samples: list[ReportSample] = []
        self._run, self._left, self._tar_suffix = run, wanted, suffix
        names = sorted(run.shard_files)
        self._ready = frozenset(run.further_files.get(SUFFIX, ()))
        chosen = _spread([name for name in names if name in self._ready], MAX_SAMPLE_SHARDS)
        others = [name for name in names if name not in self._ready]
        chosen += _spread(others, min(MAX_SAMPLE_SHARDS, len(names)) - len(chosen))
        self._chosen = frozenset(chosen if wanted else ())
        self._share = -(-wanted // max(1, len(chosen)))
        self._shard = ""
        self._images: dict[str, Images] = {}

    def add(self, shard: str, rows: pa.Table) -> None:
        """Take samples from the first rows of a shard. The columns of `rows` become the fields of a sample."""
        if shard != self._shard:
            self._shard, self._images = shard, self._images_of(shard)
        for row in rows.slice(0, len(self._images)).to_pylist():
            images = self._images.pop(row[SAMPLE_ID], None)
            if images is None or not self._left:
                continue
            if row.get("candidates") is not None:
                row["candidates"] = _candidates_text(row["candidates"])
            self.samples.append(ReportSample(sample_id=row[SAMPLE_ID], images=images, fields=row))
            self._left -= 1

    def _images_of(self, shard: str) -> dict[str, Images]:
        """Sample -> its thumbnails, of the shard's first samples; empty for a shard that is not on the sheet."""
        if shard not in self._chosen or not self._left:
            return {}
        is_ready = shard in self._ready
        name = f"{shard}{SUFFIX if is_ready else self._tar_suffix}"
        try:
            if is_ready:
                return dict(_stored(io.BytesIO(self._run.read(name)), self._share))
            with self._run.open(name) as tar:
                return dict(_drawn(tar, self._share))
        except (tarfile.TarError, ImageProblem) as error:
            raise DamagedFileError(
                f"{name} has no samples that can be read ({one_line(error, 200)}); remove it and build again"
            ) from None


def _spread(items: Sequence[T], most: int) -> list[T]:
    """At most `most` items, evenly spread."""
    num = min(len(items), most)
    return [items[i * len(items) // num] for i in range(num)]


def _stored(tar: IO[bytes], most: int) -> Iterator[tuple[str, Images]]:
    for own, members in _samples(tar, most):
        yield own, {suffix.removesuffix(".jpg"): image for suffix, image in members.items()}


def _drawn(tar: IO[bytes], most: int) -> Iterator[tuple[str, Images]]:
    for own, members in _samples(tar, most):
        values = {MEMBERS[name].role: values_of(name, members) for name in SHOWN}
        yield own, {role: thumbnail(found[0], THUMBNAIL_PX) for role, found in values.items() if found}


def _samples(tar: IO[bytes], most: int) -> Iterator[tuple[str, dict[str, bytes]]]:
    """(sample, suffix -> content) of the first samples of a tar, whose members are adjacent."""
    with tarfile.open(fileobj=tar, mode="r:") as members:
        for own, group in islice(groupby(members, lambda info: info.name.partition(".")[0]), most):
            files = ((info.name.partition(".")[2], members.extractfile(info)) for info in group)
            yield own, {suffix: file.read() for suffix, file in files if file is not None}


def _candidates_text(candidates: Sequence[dict[str, Any]]) -> str:
    """One line on the candidates of an edit, whose settings and scores would fill the page."""
    kept = ", ".join(str(one["number"]) for one in candidates if one["is_kept"])
    return f"{len(candidates)}, of which the following passed: {kept or 'none'}"
