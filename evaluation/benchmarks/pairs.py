"""The protocol `pairs`: edits whose true result is known, as files in one folder.

`cases.jsonl` has one object a line:

| field | meaning |
|---|---|
| key | name of the case, and of its output |
| source, target, mask | image files below the folder; the mask, white where the image may change, is optional |
| source_caption, target_caption, instruction | texts; the two captions may be absent |
| source_phrase | what the edit changes, for masks by phrase; optional |
| edit_type | section of its own in the scores; optional |

The edited image is compared with the true target as a whole, within and outside the mask, with the source, and with the
target caption. The first section holds all cases, the others the cases of one edit type each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.errors import EvaluationError
from evaluation.benchmark import Benchmark, EditCase, PromptText, Sample
from evaluation.json_files import read_lines, text_in
from evaluation.pictures import existing, inside

if TYPE_CHECKING:
    from pathlib import Path

CASES_FILE = "cases.jsonl"
ALL = "all"


def read_pairs(folder: Path, *, text: PromptText = "target_caption", limit: int | None = None) -> Benchmark:
    """The cases of `folder`, or the first `limit` of them. Raises EvaluationError for a folder that is not as above."""
    cases: list[EditCase] = []
    samples: list[Sample] = []
    keys: set[str] = set()
    for where, row in read_lines(folder / CASES_FILE)[:limit]:
        key = text_in(row, "key", where)
        inside(folder, key, where)
        if key in keys:
            raise EvaluationError(f"{where}: there is another case of the key {key!r}; expected each key once")
        keys.add(key)
        case, sample = _read_case(folder, key, row, where, text)
        cases.append(case)
        samples.append(sample)
    if not cases:
        raise EvaluationError(f"{folder / CASES_FILE} holds no case")
    return Benchmark(name="pairs", cases=tuple(cases), samples=tuple(samples), notes={"prompt_text": text})


def _read_case(folder: Path, key: str, row: dict[str, Any], where: str, text: PromptText) -> tuple[EditCase, Sample]:
    source, target = (existing(folder, row.get(name), f"{where}, {name},") for name in ("source", "target"))
    mask = None if row.get("mask") is None else existing(folder, row["mask"], f"{where}, mask,")
    edit_type = text_in(row, "edit_type", where, default="")
    target_caption = text_in(row, "target_caption", where, default="") or None
    prompt = text_in(row, text, where)
    if not prompt:
        raise EvaluationError(f"{where}: {text} is blank, and goes to the editor; write one, or take the other text")
    case = EditCase(
        key=key, source=source, prompt=prompt, mask=mask,
        phrase=text_in(row, "source_phrase", where, default=""),
    )  # fmt: skip
    sample = Sample(
        key=key,
        sections=(ALL, edit_type) if edit_type and edit_type != ALL else (ALL,),
        reference=target,
        source=source,
        mask=mask,
        source_text=text_in(row, "source_caption", where, default=""),
        target_text=target_caption,
        facts={"edit_type": edit_type, "prompt": prompt},
    )
    return case, sample
