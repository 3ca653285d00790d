"""One answer for each edit request, whether or not the editor can fail on a single one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.errors import ContractError
from models.batches import same_length
from models.protocols import EditAnswer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.protocols import Editor, EditRequest


def answers_of(editor: Editor, requests: Sequence[EditRequest], *, seeds: Sequence[int]) -> list[EditAnswer]:
    """What came of each request. Raises what the editor raises, which is about the whole call.

    Raises `ContractError` for an editor that gives another number of answers, or one with neither image nor fault.
    """
    same_length(requests=requests, seeds=seeds)
    found: list[EditAnswer]
    if hasattr(editor, "answer"):
        found = editor.answer(requests, seeds=seeds)
    else:
        found = [EditAnswer(image=image) for image in editor.edit(requests, seeds=seeds)]
    own = f"editor {type(editor).__name__}"
    if len(found) != len(requests):
        raise ContractError(f"{own} gave {len(found)} answers to {len(requests)} requests; expected one for each")
    if any(answer.image is None and answer.fault is None for answer in found):
        raise ContractError(f"{own} gave an answer with neither image nor fault; expected one of them")
    return found
