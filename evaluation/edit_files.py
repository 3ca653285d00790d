"""Edits image files, for `editloom edit`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from core.errors import EvaluationError, UsageError
from evaluation.benchmark import EditCase
from evaluation.images import open_rgb
from evaluation.masks import PhraseMasks, given_masks
from evaluation.requests import has_field, requests_of
from models.placement import Placement

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from evaluation.editors import EditorChoice

SAVE_ARGUMENTS: dict[str, dict[str, Any]] = {
    ".png": {}, ".jpg": {"quality": 95, "subsampling": 0}, ".jpeg": {"quality": 95, "subsampling": 0},
    ".webp": {"quality": 95},
}  # fmt: skip
"""Suffixes that a single output may have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEdit:
    """The edit that each image gets. An absent part is "" or None."""

    text: str
    """The instruction or the target caption, whichever the editor takes; the instruction where both are given."""
    source_caption: str = ""
    target_caption: str = ""
    mask: Path | None = None
    phrase: str = ""
    examples: tuple[tuple[Path, Path], ...] = ()
    """Images before and after of other edits that follow the same instruction."""
    seeds: tuple[int, ...] = (0,)
    """One for all images, or one an image."""


def edit_files(
    paths: Sequence[Path], edit: FileEdit, out: Path, choice: EditorChoice, placement: Placement | None = None
) -> list[Path]:
    """Edit each image and return the files written, one for each image.

    `out` is the file to write when there is one image and the name ends in .png, .jpg, .jpeg or .webp; else a folder,
    in which `<name of the image>.png` is written. An image depends on its own seed and not on the others. They share
    the mask file; by phrase each gets a mask of its own. Raises UsageError for an editor that takes no such edit and
    for a wrong number of seeds, EvaluationError for files that cannot be read, ModelError for models.
    """
    targets = _targets(paths, out)
    cases = _cases(paths, edit, choice)
    seeds = _seeds(paths, edit)
    images = [open_rgb(path) for path in paths]
    masks = given_masks(cases, images) if choice.masks_used == "given" else None
    if masks is not None and not any(mask_HW.any() for mask_HW in masks):
        raise EvaluationError(f"mask {edit.mask} lets nothing change; expected white or transparent pixels somewhere")
    choice.note_whole_images()
    editor = choice.load(placement or Placement())  # refuses a checkpoint before the segmenter's weights are read
    if isinstance(choice.masks_used, PhraseMasks):
        masks = choice.masks_used.load(placement)(_masked_by(edit, cases, choice), images)
    edited = editor.edit(requests_of(cases, images, masks, choice), seeds=seeds)
    for image, target in zip(edited, targets, strict=True):
        target.parent.mkdir(parents=True, exist_ok=True)
        image.save(target, **SAVE_ARGUMENTS[target.suffix.lower()])
    return targets


def _cases(paths: Sequence[Path], edit: FileEdit, choice: EditorChoice) -> list[EditCase]:
    """One case for each image. Raises UsageError for a field that the editor needs and lacks, or does not take."""
    text_field = "instruction" if edit.target_caption else _text_field(choice)
    if text_field not in choice.fields:
        raise UsageError(
            f"editor {choice.name} takes no instruction; leave the target caption out, and give it as text"
        )
    texts = {"source_caption": edit.source_caption, "target_caption": edit.target_caption, text_field: edit.text}
    for field, text in texts.items():
        if text and field not in choice.fields:
            raise UsageError(
                f"editor {choice.name} takes no {field} (it takes {', '.join(sorted(choice.fields))}); leave it out"
            )
    if edit.examples and "examples" not in choice.fields:
        raise UsageError(f"editor {choice.name} takes no examples; leave them out, or name a visual-prompt editor")
    more: dict[str, Any] = {"mask": edit.mask, "phrase": edit.phrase, "examples": edit.examples, **texts}
    cases = [EditCase(key=path.stem, source=path, **more) for path in paths]
    for field in sorted(choice.needs):
        if not all(has_field(case, field, choice.masks_used) for case in cases):
            raise UsageError(f"editor {choice.name} needs {field}, and the edit has none; give it")
    return cases


def _masked_by(edit: FileEdit, cases: list[EditCase], choice: EditorChoice) -> list[EditCase]:
    """The cases as a segmenter is asked: a phrase that was given wins. Raises UsageError where there is no text."""
    if edit.phrase:
        return [replace(case, instruction="") for case in cases]
    if not all(case.instruction for case in cases):
        raise UsageError(f"editor {choice.name} takes no instruction to look for; say by --phrase what to mask")
    return cases


def _text_field(choice: EditorChoice) -> str:
    """The field of a request that receives the text of the edit."""
    for fields in (choice.needs, choice.uses):
        for name in ("instruction", "target_caption"):
            if name in fields:
                return name
    raise UsageError(f"editor {choice.name} takes neither instruction nor target_caption; name another editor")


def _seeds(paths: Sequence[Path], edit: FileEdit) -> list[int]:
    """One seed an image. Raises UsageError for another number of them than one and that of the images."""
    if len(edit.seeds) not in (1, len(paths)):
        raise UsageError(f"{len(edit.seeds)} seeds for {len(paths)} images; give one for all, or one an image")
    return list(edit.seeds if len(edit.seeds) == len(paths) else edit.seeds * len(paths))


def _targets(paths: Sequence[Path], out: Path) -> list[Path]:
    if len(paths) == 1 and out.suffix.lower() in SAVE_ARGUMENTS and not out.is_dir():
        targets = [out]
    else:
        targets = [out / f"{path.stem}.png" for path in paths]
    twice = sorted({str(target) for target in targets if targets.count(target) > 1})
    if twice:
        raise EvaluationError(f"several images would be written to {twice[0]}; edit them in separate calls")
    sources = {path.resolve() for path in paths}
    for target in targets:
        if target.resolve() in sources:
            raise EvaluationError(f"{target} is one of the images to edit; name another place with --out")
    return targets
