"""What a benchmark is, as data: the edits it asks for and what their outputs are compared with.

Protocols (`pairs`, `magicbrush`, `emu_edit`) read a folder into this; `run` edits and scores it, knowing none of them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, NamedTuple

from core.errors import EvaluationError
from evaluation.pictures import sha256_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evaluation.pictures import Picture

PromptText = Literal["instruction", "target_caption"]
"""Which text an editor is given: what to do, or, for editors led by a description, what is to be seen afterwards."""


class Output(NamedTuple):
    """The image that an editor made for another case of the same benchmark."""

    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EditCase:
    """One edit to be made. `key` names its output: `<key>.png` below the folder of outputs."""

    key: str
    source: Picture | Output
    prompt: str
    mask: Picture | None = None
    phrase: str = ""
    """What the edit changes, as a segmenter is asked for it; "" when that is not known or the whole image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One output and what it is compared with; what is not known is None or "", and its scores are left out."""

    key: str
    sections: tuple[str, ...]
    """The means that it counts in."""
    reference: Picture | None = None
    """What L1, L2, CLIP-I and DINO compare with: the true target, or the source where a protocol says so."""
    source: Picture | None = None
    mask: Picture | None = None
    source_text: str = ""
    target_text: str | None = None
    facts: dict[str, str] = field(default_factory=dict)
    """Further columns of the table of samples."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """Edits and comparisons as read from a folder."""

    name: str
    cases: tuple[EditCase, ...]
    samples: tuple[Sample, ...]
    notes: dict[str, str | int | list[str]] = field(default_factory=dict)
    """What a reader of the scores has to know: counts, what was dropped, which text went to the editor."""
    is_cropped_for_dino: bool = False
    """DINO sees the middle 224 pixels of the image at 256, as MagicBrush's script does, and not the whole."""

    def fingerprint(self) -> str:
        """sha256 over everything that scores depend on but the outputs: keys, sections, texts, images, masks."""
        total = hashlib.sha256()
        for case in self.cases:
            source = case.source if isinstance(case.source, Output) else sha256_of(case.source)
            total.update(repr((case.key, source, case.prompt, case.phrase, _sha(case.mask))).encode())
        for one in self.samples:
            images = [_sha(picture) for picture in (one.reference, one.source, one.mask)]
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
        for case in reversed(self.cases):  # what a case starts from stands before it
            if case.key in needed:
                cases.append(case)
                needed |= {case.source.key} if isinstance(case.source, Output) else set()
        return replace(self, cases=tuple(reversed(cases)), samples=samples)


def _sha(picture: Picture | None) -> str | None:
    return None if picture is None else sha256_of(picture)
