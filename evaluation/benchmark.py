"""Benchmarks as data: the edits to be made, and the images and texts that their outputs are compared with.

The readers in `evaluation/benchmarks/` read a folder into this; `run` edits and scores it and knows none of them.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

from core.errors import EvaluationError
from core.settings import Settings
from evaluation.images import sha256_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from evaluation.images import StoredImage
    from evaluation.views import View

Measure = Literal["clip", "dino", "fid"]
"""The measures that judges take, as in `evaluation.judges`."""


class Output(NamedTuple):
    """The image that an editor made for another case of the same benchmark."""

    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EditCase:
    """One edit to be made, with all texts that the benchmark has for it. An absent text is "".

    `key` names its output: `<key>.png` below the folder of outputs. Which of the texts an editor is given depends on
    the editor.
    """

    key: str
    source: StoredImage | Output
    instruction: str = ""
    source_caption: str = ""
    target_caption: str = ""
    mask: StoredImage | None = None
    examples: tuple[tuple[StoredImage, StoredImage], ...] = ()
    """Images before and after of other edits that follow the same instruction."""
    noise: str = ""
    """Names the noise of the edit; cases of one name share theirs. "": the key."""
    phrase: str = ""
    """The phrase that a segmenter looks for: the part that the edit changes; "" when unknown or the whole image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One output and what it is compared with. Unknown parts are None or "", and their scores are left out."""

    key: str
    sections: tuple[str, ...]
    """The means that the sample counts in."""
    reference: StoredImage | None = None
    """Compared with the output by L1, L2, CLIP-I and DINO: the true target, or the source in some benchmarks."""
    source: StoredImage | None = None
    mask: StoredImage | None = None
    source_text: str = ""
    target_text: str | None = None
    facts: dict[str, str] = field(default_factory=dict)
    """Further columns of `samples.parquet`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """Edits and comparisons as read from a folder."""

    name: str
    cases: tuple[EditCase, ...]
    """A case that starts from the output of another comes after it."""
    samples: tuple[Sample, ...]
    notes: dict[str, str | int | list[str]] = field(default_factory=dict)
    """Facts for readers of the scores: counts, what was dropped."""
    views: Mapping[Measure, View] = field(default_factory=dict)
    """The part of each image that the judges of a measure are shown; the whole image where there is none."""

    def fingerprint(self) -> str:
        """The sha256 of everything but the outputs that scores depend on: keys, sections, texts, images, masks."""
        total = hashlib.sha256()
        for case in self.cases:
            source = case.source if isinstance(case.source, Output) else sha256_of(case.source)
            examples = [tuple(map(sha256_of, pair)) for pair in case.examples]
            known = (case.key, source, *_texts(case), case.phrase, _sha(case.mask))
            total.update(repr((*known, examples) if examples else known).encode())
        for one in self.samples:
            images = [_sha(image) for image in (one.reference, one.source, one.mask)]
            total.update(repr((one.key, one.sections, one.source_text, one.target_text, images)).encode())
        return f"sha256:{total.hexdigest()[:16]}"

    def only(self, sections: Sequence[str]) -> Benchmark:
        """The samples of some sections, with the edits that they need. Raises EvaluationError for unknown sections."""
        known = dict.fromkeys(section for one in self.samples for section in one.sections)
        for name in sections:
            if name not in known:
                raise EvaluationError(f"{self.name} has no section {name!r} (known: {', '.join(known)})")
        kept = [replace(one, sections=tuple(name for name in one.sections if name in sections)) for one in self.samples]
        samples = tuple(one for one in kept if one.sections)
        needed = {one.key for one in samples}
        cases: list[EditCase] = []
        for case in reversed(self.cases):  # so that a case comes before those it starts from
            if case.key in needed:
                cases.append(case)
                needed |= {case.source.key} if isinstance(case.source, Output) else set()
        return replace(self, cases=tuple(reversed(cases)), samples=samples)


class BenchmarkReader(Settings, ABC):
    """The settings of one benchmark, and the code that reads a folder of it."""

    name: ClassVar[str]

    @abstractmethod
    def read(self, folder: Path, limit: int | None = None) -> Benchmark:
        """The benchmark in `folder`, or its first `limit` cases or sessions.

        Raises EvaluationError for a folder that is not in the benchmark's layout.
        """


def _texts(case: EditCase) -> tuple[str, str, str]:
    return case.instruction, case.source_caption, case.target_caption


def _sha(image: StoredImage | None) -> str | None:
    return None if image is None else sha256_of(image)
