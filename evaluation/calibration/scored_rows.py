"""Read scores and labels: of a finished dataset with its rejects, or of any Parquet or JSON-lines table.

A row without a value, or with NaN, is an abstention. It stays a row: no threshold keeps it, as in `select`.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from core.errors import EvaluationError, UsageError, nearest
from core.locations import connect
from samples.columns import REJECT_REASON, SAMPLE_ID

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pyarrow as pa
    from numpy.typing import NDArray

EDIT_TYPE = "edit_type"
UNTYPED = "untyped"
"""Name of the edits without a type."""
SAMPLES, REJECTS = "samples.parquet", "rejects.parquet"
LABELS = {"good": True, "1": True, "bad": False, "0": False}
"""Words of labels, for edits that should be kept and for those that should not."""
MAX_LABELS_BYTES = 1 << 28
LARGEST = float(np.finfo(np.float32).max)
"""Of a score, which is kept in single precision."""
SHOWN_CHARS = 60
"""Of a value, in a message."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scored:
    """Rows with a score, side by side. `score_N` is NaN where the judge abstained."""

    ids: list[str]
    edit_types: list[str]
    score_N: NDArray[np.float32]
    left_out: dict[str, int] = field(default_factory=dict)
    """Stage -> its rejects in the dataset that do not say their score: rejected before they had one, or unread."""


def read_scored(url: str, score: str) -> Scored:
    """The rows of a dataset's folder or of a table. Of a dataset also the rejects that have a value or an abstention.

    Raises UsageError for a table without the columns, EvaluationError for values that are no numbers and ids that
    occur twice.
    """
    fs, path = connect(url)
    left_out: Counter[str] = Counter()
    if fs.isdir(path):
        rows = _of_dataset(fs, path, score, left_out)
    elif path.endswith((".parquet", ".jsonl")):
        rows = _of_file(fs, path, score)
    else:
        raise UsageError(f"{url} is no folder and no file that ends in .parquet or .jsonl; name a dataset or a table")
    ids, edit_types, values = [], [], []
    for where, row in rows:
        ids.append(_text(row, SAMPLE_ID, where))
        edit_types.append(str(row.get(EDIT_TYPE) or UNTYPED).encode("utf-8", "replace").decode())
        values.append(_number(row.get(score), f"{where}: {score}"))
    if not ids:
        raise UsageError(f"{url} has no row with a column {score!r}; nothing can be calibrated")
    if len(set(ids)) != len(ids):
        twice = Counter(ids).most_common(1)[0][0]
        raise EvaluationError(f"{url}: sample_id {twice!r} occurs twice; expected one row a sample")
    return Scored(
        ids=ids, edit_types=edit_types, score_N=np.array(values, np.float32), left_out=dict(sorted(left_out.items()))
    )


def read_labels(url: str) -> dict[str, bool]:
    """Sample id -> whether the edit is good, of a CSV file with a header or of a JSON-lines file.

    Raises EvaluationError for a label that is not good, bad, 1 or 0, and for a sample that is labelled twice.
    """
    fs, path = connect(url)
    if not path.endswith((".csv", ".jsonl")):
        raise UsageError(f"{url} is no file of labels; expected a name that ends in .csv or .jsonl")
    text = _read_text(fs, path)
    rows = _json_rows(text, path) if path.endswith(".jsonl") else _csv_rows(text, path)
    found: dict[str, bool] = {}
    for where, row in rows:
        sample_id, label = _text(row, SAMPLE_ID, where), row.get("label")
        word = str(int(label)) if isinstance(label, bool | int) else str(label).strip().lower()
        if word not in LABELS:
            raise EvaluationError(f"{where}: label is {label!r}; expected one of {', '.join(LABELS)}")
        if found.setdefault(sample_id, LABELS[word]) != LABELS[word]:
            raise EvaluationError(f"{where}: {sample_id!r} is labelled both good and bad; keep one of the lines")
    if not found:
        raise EvaluationError(f"{url} has no label; expected lines with sample_id and label")
    return found


def _of_dataset(
    fs: Any, folder: str, score: str, left_out: Counter[str]
) -> Iterator[tuple[str, dict[str, Any]]]:  # fmt: skip
    """The samples and the rejects that say their score or an abstention. `left_out` counts the other rejects."""
    yield from _of_file(fs, f"{folder.rstrip('/')}/{SAMPLES}", score)
    rejects = f"{folder.rstrip('/')}/{REJECTS}"
    if not fs.exists(rejects):
        return
    for number, row in enumerate(_parquet(fs, rejects, [SAMPLE_ID, "stage", REJECT_REASON, "row"])):
        where = f"{rejects} row {number}"
        known = _parsed(row["row"] or "{}", where)
        is_judged = score.startswith("judge_") and "judge_status" in known
        if score in known or is_judged or row[REJECT_REASON] in (f"low_{score}", f"high_{score}"):
            yield where, {**known, SAMPLE_ID: row[SAMPLE_ID]}
        else:
            left_out[row["stage"] if str(row["stage"]).isidentifier() else "unnamed"] += 1


def _of_file(fs: Any, path: str, score: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if path.endswith(".jsonl"):
        yield from _with_column(_json_rows(_read_text(fs, path), path), path, score)
        return
    for number, row in enumerate(_parquet(fs, path, [SAMPLE_ID, score], optional=(EDIT_TYPE,))):
        yield f"{path} row {number}", row


def _with_column(
    rows: Iterable[tuple[str, dict[str, Any]]], path: str, score: str
) -> Iterator[tuple[str, dict[str, Any]]]:  # fmt: skip
    """The rows. Raises UsageError at the end where none of them has the column."""
    names: set[str] = set()
    for where, row in rows:
        names.update(row)
        yield where, row
    if score not in names:
        raise UsageError(f"{path} has no column {score!r}{nearest(score, names)}")


def _parquet(fs: Any, path: str, names: list[str], optional: tuple[str, ...] = ()) -> Iterator[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with fs.open(path, "rb") as handle:
            file = pq.ParquetFile(handle)
            known = file.schema_arrow.names
            for name in names:
                if name not in known:
                    raise UsageError(f"{path} has no column {name!r}{nearest(name, known)}")
            batch: pa.RecordBatch
            for batch in file.iter_batches(columns=[*names, *(name for name in optional if name in known)]):
                yield from batch.to_pylist()
    except FileNotFoundError:
        raise UsageError(f"{path} is not there; name a folder that `editloom build` published, or a table") from None
    except pa.ArrowException as error:
        raise EvaluationError(f"{path} cannot be read as Parquet ({error})") from error


def _read_text(fs: Any, path: str) -> str:
    try:
        if (fs.size(path) or 0) > MAX_LABELS_BYTES:
            raise UsageError(f"{path} has more than {MAX_LABELS_BYTES >> 20} MB; write it as Parquet")
        text: str = fs.cat_file(path).decode("utf-8-sig")
    except FileNotFoundError:
        raise UsageError(f"{path} is not there; correct the path") from None
    except UnicodeDecodeError as error:
        raise EvaluationError(f"{path} is not UTF-8 ({error.reason} at byte {error.start}); save it again") from error
    return text


def _json_rows(text: str, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield f"{path} line {number}", _parsed(line, f"{path} line {number}")


def _csv_rows(text: str, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        for row in (reader := csv.DictReader(io.StringIO(text, newline=""))):
            yield f"{path} line {reader.line_num}", row
    except csv.Error as error:
        raise EvaluationError(f"{path} cannot be read as CSV ({error})") from error


def _parsed(text: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(text)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict):
        raise EvaluationError(f"{where} is no JSON object")
    return row


def _text(row: dict[str, Any], name: str, where: str) -> str:
    value = row.get(name)
    if not isinstance(value, str) or not value:
        raise EvaluationError(f"{where}: {name} is {value!r}; expected text")
    return value


def _number(value: Any, where: str) -> float:
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > LARGEST:
        raise EvaluationError(f"{where} is {repr(value)[:SHOWN_CHARS]}; expected a number, or none for an abstention")
    return float(value)
