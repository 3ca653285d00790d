"""Counts what each way wrote against the labels, and says what does not reach the bar."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Mapping, Sequence

    from benchmarks.reverse_instructions.labels import Label, Reverse

LEAST_UNDONE_FRAC = 0.9


@dataclass(frozen=True, kw_only=True, slots=True)
class Way:
    """What one way wrote. `without` counts the edits that got no reverse instruction, by reason."""

    name: str
    reverses: tuple[Reverse, ...]
    without: Counter[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Read:
    """A reverse instruction with its label, None where nobody read it, and its words that no text of the edit has."""

    reverse: Reverse
    label: Label | None
    new_words: tuple[str, ...]

    @property
    def absent(self) -> tuple[str, ...]:
        """New words of which no reader said that they name nothing absent."""
        read = frozenset[str]() if self.label is None else self.label.new_words
        return tuple(word for word in self.new_words if word not in read)

    @property
    def undoes(self) -> bool:
        """True where a reader said so."""
        return self.label is not None and self.label.undoes


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgedWay:
    """The reverse instructions of one way as they were read."""

    way: Way
    reads: tuple[Read, ...]

    @property
    def undone_frac(self) -> float:
        """Share of the reverse instructions that undo their edit, 0 where there are none."""
        return sum(read.undoes for read in self.reads) / len(self.reads) if self.reads else 0.0

    def row(self) -> str:
        """The row of the table in Markdown."""
        num_without, number = self.way.without.total(), len(self.reads)
        num_absent = sum(bool(read.absent) for read in self.reads)
        num_undone = sum(read.undoes for read in self.reads)
        cells = (self.way.name, number + num_without, num_without, number, num_absent, num_undone)
        return f"| {' | '.join(map(str, cells))} | {100 * self.undone_frac:.1f} % |"

    def problems(self) -> list[str]:
        """One line for each rule of the benchmark that the way breaks."""
        name, found = self.way.name, []
        if unread := sum(read.label is None for read in self.reads):
            found.append(f"{name}: {unread} reverse instructions have no label; read them and add the lines above")
        for read in self.reads:
            if read.label is not None and read.absent:
                text, absent = read.reverse.reverse_instruction, ", ".join(read.absent)
                found.append(f"{name}: {text!r} names {absent}; expected words of the captions or the instruction")
        if self.undone_frac < LEAST_UNDONE_FRAC:
            found.append(f"{name}: {self.undone_frac:.1%} undo the edit; expected at least {LEAST_UNDONE_FRAC:.0%}")
        return found


HEADER = """\
| way | edits | without a reverse | reverse instructions | name what is not there | undo the edit | share |
|---|---|---|---|---|---|---|"""


def judged(
    ways: Sequence[Way], labels: Mapping[Reverse, Label], new_words: Callable[[Reverse], tuple[str, ...]]
) -> list[JudgedWay]:
    """Each way with the labels of what it wrote."""
    return [
        JudgedWay(
            way=way,
            reads=tuple(Read(reverse=one, label=labels.get(one), new_words=new_words(one)) for one in way.reverses),
        )
        for way in ways
    ]
