"""An edit whose pairs are searched for, and its trials: each a candidate, its scores, its images while it passes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from models.protocols import PairCandidate, PairRequest
    from stages.pair_scores.bounds import Bounds
    from stages.pair_scores.scores import Pair, Scores


@dataclass(kw_only=True, slots=True, eq=False)
class Trial:
    """One candidate of one edit. `number` counts from 1."""

    edit: Edit
    number: int
    candidate: PairCandidate
    scores: Scores = field(default_factory=dict)
    failed: str | None = None
    """The bound that the trial is beyond, as `low_pair_image_cos`."""
    pair: Pair | None = None
    """The images while they are judged."""
    files: tuple[bytes, bytes] | None = None
    """Source and target as they are stored, of a trial that passed."""

    def add(self, found: Scores, bounds: Mapping[str, Bounds]) -> None:
        """Note further scores. A trial that is beyond a bound has failed, and loses its images at once."""
        self.scores.update(found)
        for name, value in found.items():
            beyond = bounds[name].failed(value) if name in bounds else None
            if beyond and self.failed is None:
                self.failed, self.pair, self.files = f"{beyond[0]}_{name}", None, None


@dataclass(kw_only=True, slots=True, eq=False)
class Edit:
    """One edit: what all of its candidates share, and its trials in the order of their numbers."""

    request: PairRequest | None
    """None once the search is over."""
    candidates: Iterator[PairCandidate]
    source_file: bytes | None = None
    """The anchor's file, where the anchor is the source of every pair."""
    prepared: Any = None
    """The synthesiser's own, made from the request."""
    text_vectors: Any = None
    """Vectors (D,) of source and target caption."""
    trials: list[Trial] = field(default_factory=list)

    @property
    def kept(self) -> list[Trial]:
        """The trials that have not failed."""
        return [trial for trial in self.trials if trial.failed is None]

    @property
    def failures(self) -> str:
        """How many trials failed at each bound, most first: `21 low_pair_direction_cos, 9 low_pair_image_cos`."""
        counts = Counter(trial.failed for trial in self.trials if trial.failed is not None)
        ordered = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
        return ", ".join(f"{number} {bound}" for bound, number in ordered)

    def next_trials(self, number: int) -> list[Trial]:
        """So many further trials, which are among `trials` from now on."""
        first = len(self.trials) + 1
        made = [Trial(edit=self, number=first + n, candidate=next(self.candidates)) for n in range(number)]
        self.trials += made
        return made

    def settle(self, keep: int, max_candidates: int) -> bool:
        """True when the search is over, as far as the trials say, all of which have been judged.

        The trials after the one that passed as number `keep` are dropped as if they had not been made, so that the
        result does not depend on how many were made at a time.
        """
        kept = self.kept
        if len(kept) >= keep:
            del self.trials[kept[keep - 1].number :]
        is_over = len(kept) >= keep or len(self.trials) >= max_candidates
        if is_over:
            self.request = self.prepared = None
        return is_over
