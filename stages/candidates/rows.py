"""The rows that come of a search: a row for each kept pair, or one reject, with all candidates on the first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from samples.columns import CANDIDATE, PARENT_ID, REJECT_DETAIL, REJECT_REASON, SAMPLE_ID
from samples.stored_images import MAX_MADE_PIXELS, rgb_image

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stages.candidates.trials import Edit, Trial

Row = dict[str, Any]
ROOT_DIGITS_END = "-"
"""Ends the part of a sample_id that names the image; what follows names edits and candidates."""


def anchor_columns(parent: Mapping[str, Any], *, is_stored: bool) -> Row:
    """The anchor of the pairs: the source image of the parent."""
    found: Row = {"anchor_id": parent[SAMPLE_ID].partition(ROOT_DIGITS_END)[0]}
    if is_stored:
        found |= {"anchor_image": parent["source_images"][0], "anchor_format": parent["source_format"]}
    return found


def pair_rows(parent_id: str, edit: Edit, *, source_format: str, target_format: str) -> list[tuple[Row, Trial]]:
    """A row for each kept pair, and its trial. The first has the column `candidates`."""
    found: list[tuple[Row, Trial]] = []
    for trial in edit.kept:
        row = _pair(parent_id, trial)
        row |= {"source_format": source_format, "target_format": target_format}
        row["candidates"] = None if found else candidate_records(edit)
        found.append((row, trial))
    return found


def rejected_row(parent_id: str, edit: Edit, reason: str) -> Row:
    """The row of an edit of which no candidate passed."""
    detail = f"{len(edit.trials)} candidates: {edit.failures}"
    return {
        SAMPLE_ID: parent_id, "candidates": candidate_records(edit), REJECT_REASON: reason, REJECT_DETAIL: detail,
    }  # fmt: skip


def candidate_records(edit: Edit) -> list[Row]:
    """Settings and scores of each candidate, as the column `candidates` has them."""
    return [_record(trial) for trial in edit.trials]


def _record(trial: Trial) -> Row:
    drawn = trial.candidate
    settings: Row = {
        "number": trial.number, "is_kept": trial.failed is None, "seed": drawn.seed, "num_steps": drawn.num_steps,
        "strength": drawn.strength, "guidance_scale": drawn.guidance_scale,
        "attention_frac": drawn.cross_attention_frac, "ring_frac": drawn.ring_frac,
    }  # fmt: skip
    names = (CANDIDATE.field(place).name for place in range(CANDIDATE.num_fields))
    return {name: settings.get(name, trial.scores.get(name)) for name in names}


def _pair(parent_id: str, trial: Trial) -> Row:
    import imagehash

    assert trial.files is not None
    source_file, target_file = trial.files
    source, drawn = rgb_image(source_file, MAX_MADE_PIXELS), trial.candidate
    return {
        SAMPLE_ID: f"{parent_id}-c{trial.number}",
        PARENT_ID: parent_id,
        "source_images": [source_file],
        "target_image": target_file,
        "source_dhash": int(str(imagehash.dhash(source)), 16),
        "width_px": source.width,
        "height_px": source.height,
        "candidate_number": trial.number,
        "synthesis_seed": drawn.seed,
        "synthesis_num_steps": drawn.num_steps_run,
        "synthesis_strength": drawn.strength,
        "synthesis_guidance_scale": drawn.guidance_scale,
        "attention_frac": drawn.cross_attention_frac,
        **trial.scores,
    }
