"""The benchmark `pairs`: edits whose true result is known, as files in one folder.

`cases.jsonl` has one object a line:

| field | meaning |
|---|---|
| key | name of the case, and of its output |
| source, target, mask | image files below the folder; the mask, white where the image may change, is optional |
| instruction, source_caption, target_caption | texts; each may be absent |
| source_phrase | what the edit changes, for masks by phrase; optional |
| edit_type | section of its own in the scores; optional |
| noise | cases of one name are edited with the same noise; optional, then each has its own |
| examples | list of [before, after], image files of other edits that follow the same instruction; optional |

The edited image is compared with the true target as a whole, within and outside the mask, with the source, and with the
target caption. The first section holds all cases, the others the cases of one edit type each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from core.errors import EvaluationError
from evaluation.benchmark import Benchmark, BenchmarkReader, EditCase, Sample
from evaluation.images import existing, inside
from evaluation.json_files import read_lines, text_in

if TYPE_CHECKING:
    from pathlib import Path

CASES_FILE = "cases.jsonl"
ALL = "all"


class Pairs(BenchmarkReader):
    """Edits with their true results. It has no settings."""

    name: ClassVar[str] = "pairs"

    def read(self, folder: Path, limit: int | None = None) -> Benchmark:
        """The cases of `folder`, or the first `limit` of them. Raises EvaluationError for another layout."""
        cases: list[EditCase] = []
        samples: list[Sample] = []
        keys: set[str] = set()
        for where, row in read_lines(folder / CASES_FILE)[:limit]:
            key = text_in(row, "key", where)
            inside(folder, key, where)
            if key in keys:
                raise EvaluationError(f"{where}: there is another case of the key {key!r}; expected each key once")
            keys.add(key)
            case, sample = _read_case(folder, key, row, where)
            cases.append(case)
            samples.append(sample)
        if not cases:
            raise EvaluationError(f"{folder / CASES_FILE} holds no case")
        return Benchmark(name=self.name, cases=tuple(cases), samples=tuple(samples))


def _read_case(folder: Path, key: str, row: dict[str, Any], where: str) -> tuple[EditCase, Sample]:
    source, target = (existing(folder, row.get(name), f"{where}, {name},") for name in ("source", "target"))
    mask = None if row.get("mask") is None else existing(folder, row["mask"], f"{where}, mask,")
    examples = tuple(_example(folder, pair, where) for pair in _pairs_in(row, where))
    edit_type, instruction, source_caption, target_caption, phrase, noise = (
        text_in(row, name, where, default="")
        for name in ("edit_type", "instruction", "source_caption", "target_caption", "source_phrase", "noise")
    )
    case = EditCase(
        key=key, source=source, instruction=instruction, source_caption=source_caption, target_caption=target_caption,
        mask=mask, phrase=phrase, noise=noise, examples=examples,
    )  # fmt: skip
    sample = Sample(
        key=key,
        sections=(ALL, edit_type) if edit_type and edit_type != ALL else (ALL,),
        reference=target,
        source=source,
        mask=mask,
        source_text=source_caption,
        target_text=target_caption or None,
        facts={"edit_type": edit_type},
    )
    return case, sample


def _pairs_in(row: dict[str, Any], where: str) -> list[list[Any]]:
    """The examples of a case as its line has them. Raises EvaluationError for another shape."""
    found = row.get("examples") or []
    if not (isinstance(found, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in found)):
        raise EvaluationError(f"{where}: examples is no list of [before, after]; expected names of image files")
    return found


def _example(folder: Path, pair: list[Any], where: str) -> tuple[Path, Path]:
    before, after = (existing(folder, name, f"{where}, examples,") for name in pair)
    return before, after
