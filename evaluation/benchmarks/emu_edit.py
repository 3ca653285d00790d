"""The protocol of the Emu Edit test set: no true results, so the edited image is compared with its source.

Sheynin et al. 2024. A folder of Parquet files as the Hub has them (`facebook/emu_edit_test_set`), or a `metadata.jsonl`
with `file_name` beside the images; columns image, instruction, task, split, idx, hash, input_caption, output_caption.
Outputs are named `<idx>.png`. The published measures by their names here: L1 `l1`, CLIPimg `clip_i`, DINO `dino`,
CLIPout `clip_t`, CLIPdir `clip_direction`. UltraEdit's table is with CLIP ViT-B/32 and DINO ViT-S/16, others are with
CLIP ViT-L/14, and the same images differ by .05 in CLIPout between the two: take both. The size at which L1 was taken
is not published; here the edited image is resized to the source.

Some rows have captions that cannot be scored: equal before and after, or a placeholder. UltraEdit leaves them out and
does not list them; here they are listed in the notes, the first section is without them, `undropped` is with them.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from core.errors import EvaluationError
from evaluation.benchmark import Benchmark, EditCase, PromptText, Sample
from evaluation.json_files import read_lines, text_in
from evaluation.pictures import ParquetCell, existing, inside

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from evaluation.pictures import Picture

_log = logging.getLogger(__name__)

METADATA_FILE = "metadata.jsonl"
TEXTS = ("instruction", "task", "input_caption", "output_caption")
READ = ("idx", "hash", "split", *TEXTS)
PLACEHOLDER = "a train station in city"
KEPT, UNDROPPED = "kept", "undropped"


def read_emu_edit(
    folder: Path, *, text: PromptText = "instruction", split: str = "test", limit: int | None = None
) -> Benchmark:
    """The rows of one split in `folder`, or the first `limit` of them. Raises EvaluationError for other folders."""
    cases: list[EditCase] = []
    samples: list[Sample] = []
    dropped: list[str] = []
    seen: set[str] = set()
    for where, row, image in _rows(folder, split):
        if len(cases) == limit:
            break
        key, texts = str(row.get("idx")), {name: text_in(row, name, where, default="") for name in TEXTS}
        inside(folder, key, f"{where}, idx,")
        if row.get("idx") is None or key in seen:
            raise EvaluationError(f"{where}: idx is {row.get('idx')!r}; expected a number that no other row has")
        seen.add(key)
        prompt = texts["output_caption" if text == "target_caption" else "instruction"]
        if not prompt:
            raise EvaluationError(f"{where}: the {text} is blank, and goes to the editor; expected text")
        is_bad = is_unusable(texts["input_caption"], texts["output_caption"])
        dropped += [key] if is_bad else []
        cases.append(EditCase(key=key, source=image, prompt=prompt))
        samples.append(_sample(key, row, texts, image, prompt, is_bad=is_bad))
    if not cases:
        raise EvaluationError(f"{folder} holds no row of the split {split!r}; name another with --split")
    if dropped:
        _log.warning("%d of %d rows dropped for their captions: idx %s", len(dropped), len(cases), ", ".join(dropped))
    notes: dict[str, str | int | list[str]] = {
        "prompt_text": text, "split": split, "num_rows": len(cases), "num_dropped": len(dropped),
        "dropped_idx": dropped,
    }  # fmt: skip
    # kept first: the section that is read when none is named
    samples.sort(key=lambda one: KEPT not in one.sections)
    return Benchmark(name="emu_edit", cases=tuple(cases), samples=tuple(samples), notes=notes, is_cropped_for_dino=True)


def is_unusable(input_caption: str, output_caption: str) -> bool:
    """True for captions that say nothing of an edit: blank, a placeholder, or equal but for case and punctuation."""
    before, after = (" ".join(one.casefold().split()).rstrip(" .!") for one in (input_caption, output_caption))
    return not before or not after or before == after or PLACEHOLDER in before or PLACEHOLDER in after


def _sample(
    key: str, row: dict[str, Any], texts: dict[str, str], image: Picture, prompt: str, *, is_bad: bool
) -> Sample:
    return Sample(
        key=key,
        sections=(UNDROPPED,) if is_bad else (KEPT, UNDROPPED, f"task:{texts['task']}"),
        reference=image,
        source=image,
        source_text=texts["input_caption"],
        target_text=texts["output_caption"],
        facts={"task": texts["task"], "hash": str(row.get("hash") or ""), "prompt": prompt},
    )


def _rows(folder: Path, split: str) -> Iterator[tuple[str, dict[str, Any], Picture]]:
    """(where, columns without the image, image) of each row of the split."""
    files = sorted(folder.rglob("*.parquet"))
    if files:
        for file in files:
            yield from _parquet_rows(file, split)
        return
    for where, row in read_lines(folder / METADATA_FILE):
        if text_in(row, "split", where, default=split) == split:
            yield where, row, existing(folder, row.get("file_name"), f"{where}, file_name,")


def _parquet_rows(path: Path, split: str) -> Iterator[tuple[str, dict[str, Any], Picture]]:
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
