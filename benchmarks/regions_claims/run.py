"""Beyond Editing Pairs' claims in miniature: its losses, sizes of edits, more data, other masks, other generators.

`make bench-regions-claims`. Trains the heads, masks and repaints held-out edits and judges the claims. Finished cells
are skipped and a stopped one resumes.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.claims import command  # noqa: E402  run from a checkout
from benchmarks.claims.folders import task_folder, training_folder  # noqa: E402
from benchmarks.claims.plain import kept_rows  # noqa: E402
from benchmarks.regions_claims.cells import BY_OTHER, EDITS, LAYOUT, cells  # noqa: E402
from benchmarks.regions_claims.masking import BOX_MODEL, PHRASE_MODEL, SAM_MODEL, masks_by, repainted, sources  # noqa: E402
from benchmarks.regions_claims.measures import group_of, with_regions, with_things  # noqa: E402
from benchmarks.regions_claims.settings import KINDS, Numbers  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.regions_claims.cells import Cell
    from evaluation.benchmark import Benchmark
    from models.protocols import Bools
    from zoo.evaluation.edits import EditScores
    from zoo.world import Edit

OUT = ROOT / "runs" / "bench-regions-claims"
SAMPLES_PER_SHARD = 100
PAIR_EDITOR = "zoo:ip2p"
"""The editor that was trained on pairs."""
REGIONS = "regions"
"""Folder of outlines of the masks, beside the edits."""


def make_data(out: Path, numbers: Numbers) -> None:
    """The held-out edits, unless they are there."""
    held_out(out, numbers)


def train_cell(cell: Cell, seed: int, out: Path, numbers: Numbers) -> str:
    """The model id of the cell's head, which is trained unless it is there; of a way without one, nothing."""
    from trainer.loop import train
    from trainer.recipe import make_recipe
    from trainer.recipes import find_recipe

    if cell.way != "trained":
        return ""
    folder = training_folder(out, cell.name, seed)
    if not (folder / "model" / "editloom.json").is_file():
        _write_data(folder / "data", seed, cell.num_edits or numbers.edits_per_seed, numbers)
        settings = {
            "data": str(folder / "data"), "out": folder, "clip_model": numbers.start, "generator": numbers.generator,
            "seed": seed, "steps": numbers.steps,
            **numbers.training, **cell.settings,
            "run_on": {"batch_size": numbers.batch_size, "preview_every": 0, "checkpoint_every": 300,
                       "keep_checkpoints": 1, "cache": out / f"seed-{seed}" / "generated"},
        }  # fmt: skip
        train(make_recipe(find_recipe("regions"), settings), resume=True)
    return f"path:{folder / 'model'}"


def _write_data(folder: Path, seed: int, count: int, numbers: Numbers) -> None:
    """The dataset of the first `count` edits of a seed, written unless it is there."""
    from samples.shards import SHARD_LIST
    from zoo.dataset_shards import write_shards
    from zoo.write_edit_dataset import samples_of
    from zoo.write_edits import EditOrder

    if not (folder / SHARD_LIST).is_file():
        order = EditOrder(count, seed, KINDS, world_seed=numbers.world_seed)
        write_shards(folder, "edits", samples_of(order, with_regions=False, with_targets=False), SAMPLES_PER_SHARD)


def score_cell(cell: Cell, model: str, seed: int, out: Path, numbers: Numbers) -> dict[str, EditScores]:
    """The scores of a cell's masks and edits by task."""
    edits, cases = held_out(out, numbers)
    folder = training_folder(out, cell.name, seed)
    if cell.way == "pix2pix":
        scores = _score_editor(cases, task_folder(folder, EDITS), PAIR_EDITOR, numbers.pix2pix, seed)
        return {EDITS: with_things(scores)}
    masks = _masks(cell, model, cases, numbers)
    _write_outlines(cases, masks, task_folder(folder, REGIONS))
    generators = {EDITS: numbers.generator, BY_OTHER: numbers.other_generator}
    found: dict[str, EditScores] = {}
    for task in cell.tasks:
        of_task, generator = task_folder(folder, task), generators[task]
        if cell.way == "trained":
            scores = _score_editor(cases, of_task, model, {**numbers.editing, "generator": generator}, seed)
        else:
            scores = _score_masks(cases, of_task, masks, generator, seed, numbers)
        found[task] = with_regions(scores, edits, masks, numbers)
    return found


def _score_editor(cases: Benchmark, folder: Path, model: str, settings: dict[str, Any], seed: int) -> EditScores:
    from evaluation.editors import EditorChoice
    from zoo.evaluation.edits import score_editor

    return score_editor(cases, folder, EditorChoice.of_model(model, settings, seed=seed, masks="none"))


def _score_masks(
    cases: Benchmark, folder: Path, masks: Sequence[Bools], generator: str, seed: int, numbers: Numbers
) -> EditScores:
    from evaluation.edit_cases import seed_of
    from zoo.evaluation.edits import score_images

    seeds = [seed_of(seed, case.key) for case in cases.cases]
    return score_images(cases, folder, repainted(cases, masks, generator, seeds, numbers), generator)


def _masks(cell: Cell, model: str, cases: Benchmark, numbers: Numbers) -> list[Bools]:
    """The cell's masks, without margin; the whole image where a head finds nothing, as its editor has it."""
    import numpy as np

    from models import registry

    if cell.way != "trained":
        return masks_by(cell.way, cases, numbers)
    segmenter = registry.load("InstructionSegmenter", model)
    found = segmenter.segment_instructions(sources(cases), [case.instruction for case in cases.cases])
    masks = [prob_HW > segmenter.threshold for prob_HW in found]
    return [mask_HW if mask_HW.any() else np.ones_like(mask_HW) for mask_HW in masks]


def _write_outlines(cases: Benchmark, masks: Sequence[Bools], folder: Path) -> None:
    from evaluation.images import save_png
    from evaluation.run import OUTPUTS
    from models.regions.drawing import contour

    for case, image, mask_HW in zip(cases.cases, sources(cases), masks, strict=True):
        save_png(contour(image, mask_HW), folder / OUTPUTS / f"{case.key}.png")


def plain_rows(out: Path, numbers: Numbers) -> dict[str, EditScores]:
    """The rows that no cell makes: the source, the truth, and the truth's mask repainted by both generators."""
    from zoo.evaluate_edits import plain_rows as without_editor
    from zoo.world import edit_mask

    def make() -> dict[str, EditScores]:
        edits, cases = held_out(out, numbers)
        rows = {name: with_things(scores) for name, scores in without_editor(cases, out / "plain", []).items()}
        masks = [edit_mask(edit) for edit in edits]
        for generator in (numbers.generator, numbers.other_generator):
            folder = out / "plain" / generator.replace(":", "-")
            scores = _score_masks(cases, folder, masks, generator, 0, numbers)
            rows[f"the true mask, {generator}"] = with_regions(scores, edits, masks, numbers)
        return rows

    return kept_rows(out, numbers, {}, make)


def held_out(out: Path, numbers: Numbers) -> tuple[list[Edit], Benchmark]:
    """The held-out edits, and their cases grouped by size; files are written unless they are there."""
    from zoo.evaluation.edits import write_cases
    from zoo.write_edits import EditOrder

    cases = write_cases(out / "cases", numbers.num_cases, KINDS)
    edits = [edit for _, edit in EditOrder(numbers.num_cases, 0, KINDS).edits()]
    samples = [
        replace(sample, facts={**sample.facts, "edit_type": group_of(edit, numbers)})
        for sample, edit in zip(cases.samples, edits, strict=True)
    ]
    return edits, replace(cases, samples=tuple(samples))


def models(numbers: Numbers) -> tuple[str, ...]:
    """The models that cells use beside the start."""
    return (numbers.generator, numbers.other_generator, PHRASE_MODEL, BOX_MODEL, SAM_MODEL, PAIR_EDITOR)


BENCHMARK = command.ClaimsBenchmark(
    title=str(__doc__).split("\n", 1)[0],
    script=Path(__file__),
    out=OUT,
    numbers=Numbers(),
    layout=LAYOUT,
    cells=cells,
    make_data=make_data,
    train=train_cell,
    score=score_cell,
    plain_rows=plain_rows,
    models=models,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark, some cells of it, or its table alone. Return 0, or 1 where a cell failed."""
    return command.main(BENCHMARK, argv)


if __name__ == "__main__":
    sys.exit(main())
