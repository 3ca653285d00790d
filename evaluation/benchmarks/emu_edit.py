"""The benchmark `emu_edit`: Emu Edit's test set, which compares edited images with their sources.

Sheynin et al. 2024. There are no true results. A folder of Parquet files as the Hub has them
(`facebook/emu_edit_test_set`), or a `metadata.jsonl` with `file_name` next to the images; columns image, instruction,
task, split, idx, hash, input_caption, output_caption.
Outputs are named `<idx>.png`. The published measures by their names here: L1 `l1`, CLIPimg `clip_i`, DINO `dino`,
CLIPout `clip_t`, CLIPdir `clip_direction`. UltraEdit's table is with CLIP ViT-B/32 and DINO ViT-S/16, others are with
CLIP ViT-L/14, and the same images differ by .05 in CLIPout between the two: take both. The size at which L1 was taken
is not published; here the edited image is resized to the source.

Some rows have captions that cannot be scored: equal before and after, or a placeholder. UltraEdit leaves them out and
does not list them; here they are listed in the notes, the first section is without them, `undropped` is with them.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, ClassVar

from core.errors import EvaluationError
from evaluation.benchmark import Benchmark, BenchmarkReader, EditCase, Sample
from evaluation.images import ParquetCell, existing, inside
from evaluation.json_files import read_lines, text_in
from evaluation.views import centre_224

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from evaluation.benchmark import Measure
    from evaluation.images import StoredImage
    from evaluation.views import View

_log = logging.getLogger(__name__)

METADATA_FILE = "metadata.jsonl"
TEXTS = ("instruction", "task", "input_caption", "output_caption")
READ = ("idx", "hash", "split", *TEXTS)
PLACEHOLDER = "a train station in city"
KEPT, UNDROPPED = "kept", "undropped"


class EmuEdit(BenchmarkReader):
    """Emu Edit's test set."""

    name: ClassVar[str] = "emu_edit"

    split: str = "test"
    """Only rows of this split are read: `test` or `validation`."""

    def read(self, folder: Path, limit: int | None = None) -> Benchmark:
        """The rows of the split in `folder`, or the first `limit`. Raises EvaluationError for another layout."""
        cases: list[EditCase] = []
        samples: list[Sample] = []
        seen: set[str] = set()
        for where, row, image in _rows(folder, self.split):
            if len(cases) == limit:
                break
            case, sample = _read_row(folder, row, image, where)
            if row.get("idx") is None or case.key in seen:
                raise EvaluationError(f"{where}: idx is {row.get('idx')!r}; expected a number that no other row has")
            seen.add(case.key)
            cases.append(case)
            samples.append(sample)
        if not cases:
            raise EvaluationError(f"{folder} holds no row of the split {self.split!r}; set another split")
        dropped = [one.key for one in samples if KEPT not in one.sections]
        if dropped:
            listed = ", ".join(dropped)
            _log.warning("%d of %d rows dropped for their captions: idx %s", len(dropped), len(cases), listed)
        notes: dict[str, str | int | list[str]] = {
            "split": self.split, "num_rows": len(cases), "num_dropped": len(dropped), "dropped_idx": dropped,
        }  # fmt: skip
        # kept first: the section that is read when none is named
        samples.sort(key=lambda one: KEPT not in one.sections)
        views: dict[Measure, View] = {"dino": centre_224}
        return Benchmark(name=self.name, cases=tuple(cases), samples=tuple(samples), notes=notes, views=views)


def is_unusable(input_caption: str, output_caption: str) -> bool:
    """True for captions that say nothing of an edit: blank, a placeholder, or equal but for case and punctuation."""
    before, after = (" ".join(one.casefold().split()).rstrip(" .!") for one in (input_caption, output_caption))
    return not before or not after or before == after or PLACEHOLDER in before or PLACEHOLDER in after


def _read_row(folder: Path, row: dict[str, Any], image: StoredImage, where: str) -> tuple[EditCase, Sample]:
    key, texts = str(row.get("idx")), {name: text_in(row, name, where, default="") for name in TEXTS}
    inside(folder, key, f"{where}, idx,")
    before, after = texts["input_caption"], texts["output_caption"]
    case = EditCase(
        key=key, source=image, instruction=texts["instruction"], source_caption=before, target_caption=after
    )
    sample = Sample(
        key=key,
        sections=(UNDROPPED,) if is_unusable(before, after) else (KEPT, UNDROPPED, f"task:{texts['task']}"),
        reference=image,
        source=image,
        source_text=before,
        target_text=after,
        facts={"task": texts["task"], "hash": str(row.get("hash") or "")},
    )
    return case, sample


def _rows(folder: Path, split: str) -> Iterator[tuple[str, dict[str, Any], StoredImage]]:
    """(where, columns without the image, image) of each row of the split."""
    files = sorted(folder.rglob("*.parquet"))
    if files:
        for file in files:
            yield from _parquet_rows(file, split)
        return
    for where, row in read_lines(folder / METADATA_FILE):
        if text_in(row, "split", where, default=split) == split:
            yield where, row, existing(folder, row.get("file_name"), f"{where}, file_name,")


def _parquet_rows(path: Path, split: str) -> Iterator[tuple[str, dict[str, Any], StoredImage]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        missing = {"image", "idx", *TEXTS} - set(file.schema_arrow.names)
        if missing:
            raise EvaluationError(f"{path} has no column {', '.join(sorted(missing))}; expected the Emu Edit test set")
        light = [name for name in file.schema_arrow.names if name in READ]
        for group in range(file.num_row_groups):
            for number, row in enumerate(file.read_row_group(group, columns=light).to_pylist()):
                where = f"{path} row group {group} row {number}"
                if text_in(row, "split", where, default=split) == split:
                    yield where, row, ParquetCell(path, group, number, "image")
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:  # the last two for values of no Python
        raise EvaluationError(f"{path} cannot be read as Parquet ({' '.join(str(error).split())[:200]})") from error
