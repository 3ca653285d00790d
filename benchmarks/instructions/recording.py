"""Records every answer that stage `write_edits` gets in this process, with the faults that its checks found."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from unittest import mock

from benchmarks.instructions.answers import asked_for
from stages.language_edits import asking
from stages.language_edits.checks import faults_of
from stages.language_edits.judged import EditFault, Judged
from stages.language_edits.schema import EditAnswer, parse_answer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.instructions.answers import LabelledAnswer


@dataclass(kw_only=True)
class GivenAnswer:
    """One answer of the model, in the order in which the stage judged them."""

    caption: str
    edit_type: str
    text: str
    answer: EditAnswer | None
    faults: list[EditFault] = field(default_factory=list)

    @property
    def is_accepted(self) -> bool:
        """True where no check found a fault."""
        return not self.faults


@contextmanager
def recorded(generator: type) -> Iterator[list[GivenAnswer]]:
    """The answers that models of the class `generator` give in the block."""
    given: list[GivenAnswer] = []
    judged_to: Iterator[GivenAnswer] = iter(())
    generate = generator.generate  # type: ignore[attr-defined]  # a TextGenerator

    def recording_generate(model: object, prompts: Sequence[str], **settings: Any) -> list[str]:
        nonlocal judged_to
        texts: list[str] = generate(model, prompts, **settings)
        new = [_given(prompt, text) for prompt, text in zip(prompts, texts, strict=True)]
        given.extend(new)
        judged_to = iter([one for one in new if one.answer is not None])
        return texts

    def recording_faults_of(judged: Judged) -> list[EditFault]:
        found = faults_of(judged)
        next(judged_to).faults = found
        return found

    with (
        mock.patch.object(generator, "generate", recording_generate),
        mock.patch.object(asking, "faults_of", recording_faults_of),
    ):
        yield given


def judged_alone(labels: Sequence[LabelledAnswer]) -> list[GivenAnswer]:
    """The answers with their faults, each judged as its caption's only one."""
    given = []
    for label in labels:
        answer = parse_answer(label.text)
        faults = [EditFault.UNPARSABLE]
        if answer is not None:
            faults = faults_of(Judged(caption=label.caption, edit_type=label.edit_type, answer=answer))
        given.append(
            GivenAnswer(caption=label.caption, edit_type=label.edit_type, text=label.text, answer=answer, faults=faults)
        )
    return given


def _given(prompt: str, text: str) -> GivenAnswer:
    caption, edit_type = asked_for(prompt)
    answer = parse_answer(text)
    faults = [EditFault.UNPARSABLE] if answer is None else []
    return GivenAnswer(caption=caption, edit_type=edit_type, text=text, answer=answer, faults=faults)
