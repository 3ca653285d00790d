"""Makes requests of cases: an editor is given the fields that it needs or uses, and no others."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from core.errors import EvaluationError
from evaluation.images import open_rgb, sha256_of
from evaluation.masks import PhraseMasks
from models.protocols import EditRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

    from evaluation.benchmark import EditCase
    from evaluation.editors import EditorChoice
    from evaluation.images import StoredImage
    from evaluation.masks import Masks
    from models.protocols import Bools

TEXTS = ("instruction", "source_caption", "target_caption")
"""Names of the texts, the same in EditCase and EditRequest."""


def check_cases(cases: Sequence[EditCase], choice: EditorChoice) -> None:
    """Raise EvaluationError when cases lack what the editor needs, or no case has the masks that were asked for."""
    masks = choice.masks_used
    for field in sorted(choice.needs):
        without = [case.key for case in cases if not has_field(case, field, masks)]
        if without:
            raise EvaluationError(
                f"editor {choice.name} needs {field}, which {len(without)} of {len(cases)} cases lack, the first of "
                f"them {without[0]}; add it to the benchmark's files, or name another editor"
            )
    if isinstance(masks, PhraseMasks) and not any(masks.text_of(case) for case in cases):
        raise EvaluationError("no case says what its edit changes, so nothing can be segmented; use masks from files")
    if masks == "given" and not any(case.mask for case in cases):
        raise EvaluationError("no case comes with a mask; segment by phrase, or edit without masks")


def requests_of(
    cases: Sequence[EditCase], images: Sequence[Image], masks: Sequence[Bools] | None, choice: EditorChoice
) -> list[EditRequest]:
    """One request for each case."""
    requests = []
    for row, (case, image) in enumerate(zip(cases, images, strict=True)):
        mask = None if masks is None else masks[row]
        examples = tuple((open_rgb(before), open_rgb(after)) for before, after in _examples_given(case, choice))
        requests.append(EditRequest(image=image, mask=mask, examples=examples, **_texts_given(case, choice)))
    return requests


def inputs_hash(case: EditCase, source_sha256: str, choice: EditorChoice) -> str:
    """A hash of everything that the case's request holds: source image, texts given, mask or phrase, examples."""
    given: dict[str, Any] = {"source": source_sha256, **_texts_given(case, choice)}
    masks = choice.masks_used
    if isinstance(masks, PhraseMasks):
        given["phrase"] = masks.text_of(case)
    elif masks == "given":
        given["mask"] = case.mask and sha256_of(case.mask)
    if case.noise:
        given["noise"] = case.noise
    if examples := _examples_given(case, choice):
        given["examples"] = [list(map(sha256_of, pair)) for pair in examples]
    return hashlib.sha256(json.dumps(given, sort_keys=True).encode()).hexdigest()[:16]


def has_field(case: EditCase, field: str, masks: Masks) -> bool:
    """True when the case can fill this field of an EditRequest."""
    if field == "mask":
        return case.mask is not None or isinstance(masks, PhraseMasks)
    if field == "image":
        return True
    if field == "examples":
        return bool(case.examples)
    return field in TEXTS and bool(getattr(case, field))


def _examples_given(case: EditCase, choice: EditorChoice) -> tuple[tuple[StoredImage, StoredImage], ...]:
    return case.examples if "examples" in choice.fields else ()


def _texts_given(case: EditCase, choice: EditorChoice) -> dict[str, Any]:
    return {name: text for name in TEXTS if name in choice.fields and (text := getattr(case, name))}
