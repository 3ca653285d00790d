"""Runs an editor over the cases of a benchmark, outputs on disk: a run goes on where an earlier one ended.

Every output carries in its PNG text what made it: model, revision, settings and a hash over source, prompt and mask;
and a hash of its pixels. One that says the same as this run would is kept; one that says something else, or has other
pixels than were written, stops the run and is not overwritten.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from core.errors import EvaluationError
from core.settings import checked
from evaluation.benchmark import Output
from evaluation.masks import PhraseMasks, given_masks, phrase_masks
from evaluation.models import load_model
from evaluation.pictures import inside, open_rgb, png_texts, save_png, sha256_of
from models import registry
from models.placement import Placement
from models.protocols import EditRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from PIL.Image import Image

    from core.settings import Settings
    from evaluation.benchmark import EditCase
    from evaluation.masks import Masker
    from evaluation.pictures import Picture
    from models.protocols import Bools, Editor

    Progress = Callable[[str, int, int], None]
    """Told what is done, how much of it, and of how much."""

STAMP = "editloom"
MASK_FRAC = "editloom_mask_frac"
PIXELS = "editloom_pixels"
INPUTS = "source, prompt or mask"
CASES_AT_ONCE = 32
"""The most work that an interruption costs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EditorChoice:
    """An editor and all settings that decide what it makes.

    `masks`: "none"; "given", the benchmark's own; or PhraseMasks, drawn by a segmenter. `model_settings` go to the
    wrapper (`size_px`). Each case has a noise of its own, drawn from `seed` and the case's key.
    """

    model: str
    num_steps: int = 50
    guidance_scale: float = 7.5
    sampling_ratio: float = 0.7
    seed: int = 0
    masks: Literal["none", "given"] | PhraseMasks = "none"
    model_settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises EvaluationError for a number out of its range, or that is none."""
        if self.num_steps < 1 or not 0 <= self.sampling_ratio <= 1 or not math.isfinite(self.guidance_scale):
            raise EvaluationError(
                f"an editor with num_steps {self.num_steps}, sampling_ratio {self.sampling_ratio} and guidance_scale "
                f"{self.guidance_scale}; expected at least 1, a share of 0 to 1, and a finite number"
            )

    def settings(self) -> Settings:
        """The settings of the editor itself."""
        values = {
            "num_steps": self.num_steps, "guidance_scale": self.guidance_scale, "sampling_ratio": self.sampling_ratio,
        }  # fmt: skip
        return checked(registry.editor_settings(self.model), values | self.model_settings, f"editor {self.model}")

    def described(self) -> dict[str, Any]:
        """Every setting, with what pins each model. Raises ModelError for a model that is unknown."""
        told = asdict(self) | {"revision": registry.revision(self.model)}
        if isinstance(self.masks, PhraseMasks):
            told["masks"] |= {"revision": registry.revision(self.masks.model)}
        return told


def run_edits(
    cases: Sequence[EditCase],
    folder: Path,
    choice: EditorChoice,
    *,
    placement: Placement | None = None,
    progress: Progress | None = None,
) -> dict[str, str]:
    """Make what is not yet there of `<key>.png` below `folder`; the share of each image that its mask let change.

    A case whose source is the output of another comes after it. The share is "" without masks. Raises EvaluationError
    for an output that other settings made, ModelError for a model that cannot be loaded.
    """
    if isinstance(choice.masks, PhraseMasks) and not any(case.phrase for case in cases):
        raise EvaluationError("no case says what its edit changes, so nothing can be segmented; use masks from files")
    if choice.masks == "given" and not any(case.mask for case in cases):
        raise EvaluationError("no case comes with a mask; segment by phrase, or edit without masks")
    run = _Run(folder, choice, placement or Placement())
    shares: dict[str, str] = {}
    for part in _parts(cases):
        shares |= run.make(part)
        if progress:
            progress("edited", len(shares), len(cases))
    return shares


def requests_of(images: Sequence[Image], prompts: Sequence[str], masks: Sequence[Bools] | None) -> list[EditRequest]:
    """One request an image, with the prompt as either text."""
    masks_of: Sequence[Bools | None] = masks or [None] * len(images)
    return [
        EditRequest(image=image, instruction=prompt, target_caption=prompt, mask=mask)
        for image, prompt, mask in zip(images, prompts, masks_of, strict=True)
    ]


def seed_of(seed: int, key: str) -> int:
    """The seed of one case: the same whatever other cases there are, another for every key."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{key}".encode()).digest()[:7], "big")


class _Run:
    """One editor at work on one folder; models are loaded when the first case needs them."""

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
                shares[case.key] = _share_of_same(path, stamps[case.key])
        todo = [case for case in cases if case.key not in shares]
        if todo:
            shares |= self._edit(todo, stamps)
        return {case.key: shares[case.key] for case in cases}

    def _edit(self, cases: list[EditCase], stamps: dict[str, str]) -> dict[str, str]:
        self._load()
        assert self._editor is not None
        images = [open_rgb(self._source(case)) for case in cases]
        masks = None if self._masker is None else self._masker(cases, images)
        edited = self._editor.edit(
            requests_of(images, [case.prompt for case in cases], masks),
            seeds=[seed_of(self._choice.seed, case.key) for case in cases],
        )
        shares = ["" if masks is None else f"{masks[row].mean():.6f}" for row in range(len(cases))]
        for case, image, share in zip(cases, edited, shares, strict=True):
            texts = {STAMP: stamps[case.key], MASK_FRAC: share, PIXELS: _pixels_of(image)}
            save_png(image, self._path(case.key), texts)
        return {case.key: share for case, share in zip(cases, shares, strict=True)}

    def _load(self) -> None:
        if self._editor is not None:
            return
        choice = self._choice
        self._editor = load_model("Editor", choice.model, self._placement, settings=choice.settings())
        if isinstance(choice.masks, PhraseMasks):
            segmenter = load_model("TextSegmenter", choice.masks.model, self._placement)
            self._masker = phrase_masks(segmenter, choice.masks.threshold)
        elif choice.masks == "given":
            self._masker = given_masks

    def _stamp(self, case: EditCase) -> str:
        masks = self._choice.masks
        seen: list[Any] = [sha256_of(self._source(case)), case.prompt]
        if isinstance(masks, PhraseMasks):
            seen.append(case.phrase)
        elif masks == "given":
            seen.append(case.mask and sha256_of(case.mask))
        inputs = hashlib.sha256(json.dumps(seen).encode()).hexdigest()[:16]
        return json.dumps({**self._described, "inputs": inputs}, sort_keys=True, default=str)

    def _source(self, case: EditCase) -> Picture:
        return self._path(case.source.key) if isinstance(case.source, Output) else case.source

    def _path(self, key: str) -> Path:
        return inside(self._folder, f"{key}.png", "the benchmark")


def _share_of_same(path: Path, stamp: str) -> str:
    """The mask's share of an output that this run would make the same way. Raises EvaluationError for another."""
    texts = png_texts(path)
    if texts.get(STAMP) == stamp:
        share = texts.get(MASK_FRAC, "")
        if texts.get(PIXELS) != _pixels_of(open_rgb(path)) or not _is_share(share):
            raise EvaluationError(f"{path} is not as it was written; remove it, and it is made again")
        return share
    try:
        there = json.loads(texts.get(STAMP, "{}"))
    except (ValueError, RecursionError):
        there = {}
    wanted = json.loads(stamp)
    said = "by something else"
    if isinstance(there, dict) and there:
        differing = [INPUTS if name == "inputs" else name for name in sorted(wanted) if there.get(name) != wanted[name]]
        said = f"with another {', '.join(differing)}" if differing else "with more settings than there are"
    raise EvaluationError(f"{path} was made {said}; name another output folder, or remove this one")


def _pixels_of(image: Image) -> str:
    """A hash of the image's size and pixels in RGB."""
    pixels = image.convert("RGB").tobytes()
    return hashlib.sha256(f"{image.width}x{image.height} ".encode() + pixels).hexdigest()


def _is_share(text: str) -> bool:
    """Whether the text is a share as this module writes it, or empty for an edit without masks."""
    try:
        return not text or 0 <= float(text) <= 1
    except ValueError:
        return False


def _parts(cases: Sequence[EditCase]) -> Iterator[list[EditCase]]:
    """The cases in portions, each after those whose outputs it starts from."""
    turns: dict[str, int] = {}
    for case in cases:  # what a case starts from stands before it in a benchmark
        turns[case.key] = turns[case.source.key] + 1 if isinstance(case.source, Output) else 0
    for turn in sorted(set(turns.values())):
        same = [case for case in cases if turns[case.key] == turn]
        for start in range(0, len(same), CASES_AT_ONCE):
            yield same[start : start + CASES_AT_ONCE]
