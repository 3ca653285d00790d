"""Prints answers with the faults that the checks found, and where checks and labels differ."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from stages.language_edits.judged import EditFault

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.instructions.answers import LabelledAnswer
    from benchmarks.instructions.recording import GivenAnswer

Judgement = tuple["GivenAnswer", "LabelledAnswer | None"]
"""An answer with its label, None where nobody has read that answer."""


def report(
    title: str, given: Sequence[GivenAnswer], labels: Sequence[LabelledAnswer], *, shows_accepted: bool = False
) -> None:
    """Print every reject, every accepted answer if wished, then the counts. An answer given again counts once."""
    given = list({(one.caption, one.edit_type, one.text): one for one in reversed(given)}.values())[::-1]
    label_of = {(label.caption, label.edit_type, label.text): label for label in labels}
    judged = [(one, label_of.get((one.caption, one.edit_type, one.text))) for one in given]
    accepted = [pair for pair in judged if pair[0].is_accepted]
    rejected = [pair for pair in judged if not pair[0].is_accepted]
    _section(f"{title}: {len(rejected)} rejects of {len(given)} answers", rejected)
    if shows_accepted:
        _section(f"{title}: {len(accepted)} accepted", accepted)
    _count_checks(rejected)
    read = [(one, label) for one, label in judged if label is not None]
    print(f"\nlabelled: {len(read)} of {len(given)}")
    good = [(one, label) for one, label in read if label.is_good]
    bad = [(one, label) for one, label in read if not label.is_good]
    false_rejects = [pair for pair in good if not pair[0].is_accepted and not _is_second(pair[0])]
    false_accepts = [pair for pair in bad if pair[0].is_accepted and not _is_first_of_two(*pair, rejected)]
    _section(f"false rejects: {len(false_rejects)} of {len(good)} good answers", false_rejects)
    _section(f"false accepts: {len(false_accepts)} of {len(bad)} bad answers", false_accepts)
    _count_labels(bad)
    _count_reverse([(one, label) for one, label in read if one.is_accepted])


def _section(title: str, judged: Sequence[Judgement]) -> None:
    print(f"\n== {title}")
    for one, label in judged:
        verdict = "not labelled" if label is None else f"label {label.fault or 'good'}"
        print(f"{one.caption}  [{one.edit_type}]\n    {one.text}\n    {', '.join(one.faults) or 'accepted'}; {verdict}")


def _count_checks(rejected: Sequence[Judgement]) -> None:
    """Of all rejects: how many had each fault, and how many it alone."""
    every = Counter(fault for one, _ in rejected for fault in one.faults)
    alone = Counter(one.faults[0] for one, _ in rejected if len(one.faults) == 1)
    print(f"\n{'check':<24}{'rejects':>9}{'it alone':>10}")
    for fault in EditFault:
        if every[fault]:
            print(f"{fault:<24}{every[fault]:>9}{alone[fault]:>10}")


def _count_labels(bad: Sequence[tuple[GivenAnswer, LabelledAnswer]]) -> None:
    """Of the answers labelled with each fault: how many were rejected, and how many for that fault."""
    print(f"\n{'label':<24}{'answers':>9}{'rejected':>10}{'for it':>8}")
    for fault, number in sorted(Counter(str(label.fault) for _, label in bad).items()):
        own = [one for one, label in bad if label.fault == fault]
        print(
            f"{fault:<24}{number:>9}{sum(not o.is_accepted for o in own):>10}{sum(fault in o.faults for o in own):>8}"
        )


def _count_reverse(accepted: Sequence[tuple[GivenAnswer, LabelledAnswer]]) -> None:
    invents = sum(label.fault == EditFault.REVERSE_INVENTS for _, label in accepted)
    undoes = sum(label.undoes for _, label in accepted)
    print(f"\nreverse instructions of the {len(accepted)} accepted answers that are labelled:")
    print(f"{invents} name something that the caption does not have, {undoes} undo the edit")


def _is_second(one: GivenAnswer) -> bool:
    """True for an answer that is rejected only because its caption has that edit already."""
    return one.faults == [EditFault.DUPLICATE_EDIT]


def _is_first_of_two(one: GivenAnswer, label: LabelledAnswer, rejected: Sequence[Judgement]) -> bool:
    """True for an answer labelled as a duplicate that came before its twin, which was then rejected in its place."""
    return label.fault == EditFault.DUPLICATE_EDIT and any(
        _is_second(other) and other.caption == one.caption for other, _ in rejected
    )
