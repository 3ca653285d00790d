"""One answer for each edit request, whether or not the editor can fail on a single one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.batches import same_length
from models.protocols import EditAnswer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.protocols import Editor, EditRequest


def answers_of(editor: Editor, requests: Sequence[EditRequest], *, seeds: Sequence[int]) -> list[EditAnswer]:
    """What came of each request. Raises what the editor raises, which is about the whole call."""
    same_length(requests=requests, seeds=seeds)
    if hasattr(editor, "answer"):
        found: list[EditAnswer] = editor.answer(requests, seeds=seeds)
        return found
    return [EditAnswer(image=image) for image in editor.edit(requests, seeds=seeds)]
