"""The search: candidates of many edits are drawn in waves and judged at once, until each edit has enough that pass.

A wave is as many pairs as one call of the model draws. The images of one wave are in memory, besides the files of pairs
that passed, however many candidates an edit may have. Every image that is drawn is judged: by cheap scores first, by
dear ones while it passes. The result of an edit depends neither on the other edits nor on the size of the waves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from samples.stored_images import MAX_MADE_PIXELS, image_bytes, rgb_image
from stages.pair_scores.scores import Pair

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from PIL.Image import Image

    from models.protocols import ImageTextEncoder, PairSynthesizer
    from stages.candidates.trials import Edit, Trial
    from stages.pair_scores.bounds import Bounds
    from stages.pair_scores.scores import ScoreStep


@dataclass(frozen=True, kw_only=True, slots=True)
class Search:
    """Searches `keep` pairs within `bounds` for each edit, in at most `max_candidates` trials of it."""

    synthesizer: PairSynthesizer
    encoder: ImageTextEncoder
    steps: Sequence[ScoreStep]
    bounds: Mapping[str, Bounds]
    keep: int
    max_candidates: int
    pairs_per_wave: int
    format: str
    quality: int

    def run(self, edits: Iterable[Edit]) -> None:
        """Fill in the trials of the edits. An edit is taken from the iterable when a wave has room for it."""
        waiting = iter(edits)
        active: list[Edit] = []
        while wave := self._next_wave(active, waiting):
            self._draw(wave)
            self._judge(wave)
            active[:] = [edit for edit in active if not edit.settle(self.keep, self.max_candidates)]
            self._write(wave)

    def _next_wave(self, active: list[Edit], waiting: Iterator[Edit]) -> list[Trial]:
        """Trials that fill a wave: first those without which no edit is done, then those that are probably needed."""
        wave: list[Trial] = []
        for edit in active:
            wave += edit.next_trials(min(self._needed(edit), self.pairs_per_wave - len(wave)))
        opened: list[Edit] = []
        while len(wave) < self.pairs_per_wave and (new := next(waiting, None)) is not None:
            opened.append(new)
            wave += new.next_trials(min(self._needed(new), self.pairs_per_wave - len(wave)))
        self._open(opened)
        active += opened
        for edit in active:
            wave += edit.next_trials(min(self._expected(edit), self.pairs_per_wave - len(wave)))
        return wave

    def _needed(self, edit: Edit) -> int:
        """Trials that the edit takes in any case."""
        return min(self.keep - len(edit.kept), self.max_candidates - len(edit.trials))

    def _expected(self, edit: Edit) -> int:
        """Trials that the edit probably takes besides, by its share of trials that passed so far."""
        judged = [trial for trial in edit.trials if trial.scores]
        passed = sum(trial.failed is None for trial in judged)
        wanted = math.ceil((self.keep - passed) * (len(judged) + 2) / (passed + 1))
        already = len(edit.trials) - len(judged)
        return max(0, min(wanted - already, self.max_candidates - len(edit.trials)))

    def _open(self, edits: Sequence[Edit]) -> None:
        """Compute what all candidates of an edit share."""
        if not edits:
            return
        requests = [edit.request for edit in edits if edit.request is not None]
        captions = [text for one in requests for text in (one.source_caption, one.target_caption)]
        vectors_BD = self.encoder.encode_texts(captions)
        for row, (edit, prepared) in enumerate(zip(edits, self.synthesizer.prepare(requests), strict=True)):
            edit.prepared, edit.text_vectors = prepared, (vectors_BD[2 * row], vectors_BD[2 * row + 1])

    def _draw(self, wave: Sequence[Trial]) -> None:
        """Give each trial its images, as they will be read from their files."""
        drawn = self.synthesizer.synthesise([trial.edit.prepared for trial in wave], [one.candidate for one in wave])
        for trial, (source, target) in zip(wave, drawn, strict=True):
            edit, request = trial.edit, trial.edit.request
            assert request is not None
            if edit.source_file is not None and request.anchor is not None:
                source = request.anchor  # noqa: PLW2901  the same object in every pair, so that it is encoded once
            if self.format != "png":
                source, target = self._reread(trial, source, target)  # noqa: PLW2901  the images as they are stored
            said_D, asked_D = edit.text_vectors
            trial.pair = Pair(
                source=source, target=target, source_text_D=said_D, target_text_D=asked_D, region=request.region
            )

    def _judge(self, wave: Sequence[Trial]) -> None:
        """Score the trials step by step. Scores that no bound asks for come last, for those that pass."""
        for step in sorted(self.steps, key=lambda step: not any(name in self.bounds for name in step.names)):
            left = [(trial, trial.pair) for trial in wave if trial.pair is not None]
            if left:
                found = step.measure([pair for _, pair in left])
                for (trial, _), scores in zip(left, found, strict=True):
                    trial.add(scores, self.bounds)

    def _write(self, wave: Sequence[Trial]) -> None:
        """Make the files of the trials that stay, and drop all images."""
        for trial in wave:
            if trial.pair is not None and trial.files is None and trial.number <= len(trial.edit.trials):
                trial.files = self._files(trial.edit, trial.pair.source, trial.pair.target)
            trial.pair = None

    def _reread(self, trial: Trial, source: Image, target: Image) -> tuple[Image, Image]:
        """The images as they come out of their files, which the trial keeps."""
        trial.files = self._files(trial.edit, source, target)
        stored_target = rgb_image(trial.files[1], MAX_MADE_PIXELS)
        return source if trial.edit.source_file else rgb_image(trial.files[0], MAX_MADE_PIXELS), stored_target

    def _files(self, edit: Edit, source: Image, target: Image) -> tuple[bytes, bytes]:
        source_file = edit.source_file or image_bytes(source, self.format, self.quality)
        return source_file, image_bytes(target, self.format, self.quality)
