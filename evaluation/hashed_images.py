"""Makes lists of hashes from images: a folder, Parquet files, a finished dataset, or a benchmark as published.

A list is for `check_leakage`, which rejects rows of a build whose images are in it. It holds no image and no text.
Each image is hashed as a whole and, where it is not square, its centre square too: a build may cut images to squares.
An image that cannot be decoded, is too large or too even for its hashes to say which it is, is left out and counted.
"""

from __future__ import annotations

import tarfile
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.errors import DatasetError, EvaluationError, UsageError, one_line
from evaluation.benchmark import Output
from evaluation.benchmarks import find_benchmark
from evaluation.images import read_bytes
from models.hash_lists import HASHES_SUFFIX, is_hash_list, write_hash_list
from samples.image_limits import ImageProblem, Problem
from samples.images import IMAGE_SUFFIXES, open_image
from samples.members import column_of, suffix_of
from samples.perceptual_hashes import GREY_SIDE_PX, image_hash
from samples.shards import SHARD_LIST, read_shards

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from PIL.Image import Image

    from evaluation.images import StoredImage
    from samples.images import ImageFile

MAX_IMAGE_BYTES = 1 << 28
"""A larger file is no photograph; it is left out before it is read."""
ROWS_AT_ONCE = 16
"""Rows of a Parquet file that are held at once: each may be an image of many megabytes."""
DATASET_COLUMNS = ("source_images", "target_image")
UNREADABLE, FLAT = "could not be decoded", "too even to be told apart"


@dataclass(frozen=True, kw_only=True, slots=True)
class HashedImages:
    """What a new list has: its images, its different hashes, and for each reason how many images were left out."""

    num_images: int
    num_hashes: int
    left_out: Counter[str]


def write_list(source: Path, out: Path, *, name: str = "", benchmark: str = "", mirrored: bool = False) -> HashedImages:
    """Hash the images of `source` and write the list. `mirrored` adds the mirror image of each.

    `benchmark` names the reader of the folder: then only the images of its edits are taken, and no masks. Raises
    UsageError for a wrong name of the list, EvaluationError and DatasetError for a source that holds no images.
    """
    if not is_hash_list(out) or out.name == HASHES_SUFFIX:
        raise UsageError(f"--out {out}: the name of a list ends with {HASHES_SUFFIX}; expected NAME{HASHES_SUFFIX}")
    out.parent.mkdir(parents=True, exist_ok=True)  # before the work: a folder that cannot be made ends it at once
    hashes: set[tuple[int, int]] = set()
    left_out: Counter[str] = Counter()
    num_images = 0
    for stored in _of_benchmark(source, benchmark) if benchmark else _stored(source):
        found, reason = _hashes(stored, mirrored=mirrored)
        hashes |= found
        num_images += not reason
        left_out.update([reason] if reason else [])
    if not hashes:
        raise EvaluationError(
            f"{source}: no image that can be hashed ({_counts(left_out)}); expected images "
            f"({', '.join(IMAGE_SUFFIXES)}), Parquet files with images, or a finished dataset"
        )
    num_hashes = write_hash_list(out, name or out.name.removesuffix(HASHES_SUFFIX), hashes, num_images=num_images)
    return HashedImages(num_images=num_images, num_hashes=num_hashes, left_out=left_out)


def views(image: Image, *, mirrored: bool) -> Iterator[Image]:
    """The image, its centre square where it is not square, and the mirror image of each."""
    from PIL import ImageOps

    side = min(image.size)
    for view in [image] if image.width == image.height else [image, ImageOps.fit(image, (side, side))]:
        yield view
        if mirrored:
            yield ImageOps.mirror(view)


def _hashes(stored: StoredImage | None, *, mirrored: bool) -> tuple[set[tuple[int, int]], str]:
    """(hashes of the views of an image, or why it is left out)."""
    if stored is None:
        return set(), UNREADABLE
    try:
        image = _opened(read_bytes(stored)).decode(2 * GREY_SIDE_PX).image
    except ImageProblem:
        return set(), UNREADABLE
    found = [image_hash(view) for view in views(image, mirrored=mirrored)]
    if found[0].is_flat:
        return set(), FLAT
    return {(one.dhash, one.phash) for one in found if not one.is_flat}, ""


def _opened(data: bytes) -> ImageFile:
    try:
        return open_image(data)
    except MemoryError as error:  # a header that asks for too much
        raise ImageProblem(Problem.UNDECODABLE, str(error)) from None


def _of_benchmark(folder: Path, name: str) -> Iterator[StoredImage]:
    """The images of a benchmark's edits, and those that they are compared with."""
    read = find_benchmark(name)().read(folder)
    images = [case.source for case in read.cases if not isinstance(case.source, Output)]
    images += [one for sample in read.samples for one in (sample.source, sample.reference) if one is not None]
    yield from dict.fromkeys(images)


def _stored(source: Path) -> Iterator[StoredImage | None]:
    """The images of a folder, a Parquet file or a dataset; None for one that is too large or absent."""
    if (source / SHARD_LIST).is_file():
        yield from _of_dataset(source)
        return
    if not source.exists():
        raise EvaluationError(f"{source} does not exist; expected a folder, a Parquet file or a finished dataset")
    for path in [source] if source.is_file() else sorted(path for path in source.rglob("*") if path.is_file()):
        if path.suffix.lower() == ".parquet" and not is_hash_list(path):
            yield from _of_parquet(path)
        elif path.suffix.lower().lstrip(".") in IMAGE_SUFFIXES:
            yield path if path.stat().st_size <= MAX_IMAGE_BYTES else None


def _of_dataset(folder: Path) -> Iterator[bytes | None]:
    """The sources and targets of a finished dataset."""
    try:
        dataset = read_shards(folder)
        for shard in dataset.shards:
            with dataset.open(shard) as handle, tarfile.open(fileobj=handle, mode="r|") as tar:
                for info in tar:
                    is_image = info.isfile() and column_of(suffix_of(info.name)) in DATASET_COLUMNS
                    if is_image and (file := tar.extractfile(info)) is not None:
                        yield file.read() if info.size <= MAX_IMAGE_BYTES else None
    except tarfile.TarError as error:
        raise DatasetError(
            f"{folder}: a tar cannot be read ({one_line(error, 200)}); build the dataset again"
        ) from None


def _of_parquet(path: Path) -> Iterator[bytes | None]:
    """The values of all columns of a Parquet file that hold images: bytes, or structs with `bytes`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            columns = [field.name for field in file.schema_arrow if _may_hold_images(field.type)]
            if not columns:
                raise EvaluationError(
                    f"{path} has no column of images (it has {', '.join(file.schema_arrow.names)[:200]}); expected "
                    "bytes, or a struct with `bytes`"
                )
            for batch in file.iter_batches(ROWS_AT_ONCE, columns=columns):
                for column in batch.columns:
                    yield from map(_value, column)
    except (pa.ArrowException, OSError) as error:
        raise EvaluationError(f"{path} cannot be read as Parquet ({one_line(error, 200)}); fetch it again") from error


def _may_hold_images(kind: Any) -> bool:
    import pyarrow as pa

    if pa.types.is_struct(kind):
        return any(field.name == "bytes" and _may_hold_images(field.type) for field in kind)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _value(cell: Any) -> bytes | None:
    value = cell.as_py()
    found = value.get("bytes") if isinstance(value, dict) else value
    return found if isinstance(found, bytes) and len(found) <= MAX_IMAGE_BYTES else None


def _counts(left_out: Counter[str]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in sorted(left_out.items())) or "none is there"
