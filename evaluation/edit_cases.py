"""Runs an editor over the cases of a benchmark. A run continues where an earlier one ended."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from evaluation.benchmark import Output
from evaluation.images import inside, open_rgb, sha256_of
from evaluation.masks import masker_of
from evaluation.requests import check_cases, inputs_hash, requests_of
from evaluation.stamps import mask_frac_of, save_stamped, stamp_of
from models.placement import Placement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from evaluation.benchmark import EditCase
    from evaluation.editors import EditorChoice
    from evaluation.images import StoredImage
    from evaluation.masks import Masker
    from models.protocols import Editor

    Progress = Callable[[str, int, int], None]
    """Called with the kind of work, how much of it is done, and of how much."""

CASES_AT_ONCE = 32
"""Outputs are written after so many cases: an interruption costs no more work than that."""


def run_edits(
    cases: Sequence[EditCase],
    folder: Path,
    choice: EditorChoice,
    *,
    placement: Placement | None = None,
    progress: Progress | None = None,
) -> dict[str, str]:
    """Make each `<key>.png` that is missing below `folder`.

    Returns for each key the share of its image that its mask let change, "" without a mask.
    Raises EvaluationError for cases that lack what the editor needs and for an output that something else made,
    ModelError for a model that cannot be loaded.
    """
    check_cases(cases, choice)
    run = _Run(folder, choice, placement or Placement())
    shares: dict[str, str] = {}
    for part in _parts(cases):
        shares |= run.make(part)
        if progress:
            progress("edited", len(shares), len(cases))
    return shares


def seed_of(seed: int, key: str) -> int:
    """The seed of one case: it depends on `seed` and its key (or the name of its noise) alone; each has another."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{key}".encode()).digest()[:7], "big")


class _Run:
    """One editor and one folder of outputs. Models are loaded when the first case needs them."""

    def __init__(self, folder: Path, choice: EditorChoice, placement: Placement) -> None:
        self._folder, self._choice, self._placement = folder, choice, placement
        self._described = choice.described()
        self._editor: Editor | None = None
        self._masker: Masker | None = None

    def make(self, cases: Sequence[EditCase]) -> dict[str, str]:
        stamps = {case.key: self._stamp(case) for case in cases}
        shares: dict[str, str] = {}
        for case in cases:
            path = self._path(case.key)
            if path.is_file():
                shares[case.key] = mask_frac_of(path, stamps[case.key])
        todo = [case for case in cases if case.key not in shares]
        if todo:
            shares |= self._edit(todo, stamps)
        return {case.key: shares[case.key] for case in cases}

    def _edit(self, cases: list[EditCase], stamps: dict[str, str]) -> dict[str, str]:
        if self._editor is None:
            self._choice.note_whole_images()
            self._editor = self._choice.load(self._placement)
            self._masker = masker_of(self._choice.masks_used, self._placement)
        images = [open_rgb(self._source(case)) for case in cases]
        masks = None if self._masker is None else self._masker(cases, images)
        edited = self._editor.edit(
            requests_of(cases, images, masks, self._choice),
            seeds=[seed_of(self._choice.seed, case.noise or case.key) for case in cases],
        )
        shares = ["" if masks is None else f"{masks[row].mean():.6f}" for row in range(len(cases))]
        for case, image, share in zip(cases, edited, shares, strict=True):
            save_stamped(image, self._path(case.key), stamps[case.key], share)
        return {case.key: share for case, share in zip(cases, shares, strict=True)}

    def _stamp(self, case: EditCase) -> str:
        return stamp_of(self._described, inputs_hash(case, sha256_of(self._source(case)), self._choice))

    def _source(self, case: EditCase) -> StoredImage:
        return self._path(case.source.key) if isinstance(case.source, Output) else case.source

    def _path(self, key: str) -> Path:
        return inside(self._folder, f"{key}.png", "the benchmark")


def _parts(cases: Sequence[EditCase]) -> Iterator[list[EditCase]]:
    """The cases in portions, each after those whose outputs it starts from."""
    turns: dict[str, int] = {}
    for case in cases:  # a benchmark lists a case after the one it starts from
        turns[case.key] = turns[case.source.key] + 1 if isinstance(case.source, Output) else 0
    for turn in sorted(set(turns.values())):
        same = [case for case in cases if turns[case.key] == turn]
        for start in range(0, len(same), CASES_AT_ONCE):
            yield same[start : start + CASES_AT_ONCE]
