"""InstructGIE's claims in miniature: each of its four parts removed, InstructPix2Pix without examples, SDEdit.

`make bench-instructgie-claims`. Trains two starts and every cell from one of them, makes held-out edits and judges the
claims. Finished cells are skipped and a stopped one resumes.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.claims import command  # noqa: E402  run from a checkout
from benchmarks.claims.folders import task_folder, training_folder  # noqa: E402
from benchmarks.claims.plain import kept_rows  # noqa: E402
from benchmarks.instructgie_claims.cells import LAYOUT, PARAPHRASES, cells  # noqa: E402
from benchmarks.instructgie_claims.measures import with_further  # noqa: E402
from benchmarks.instructgie_claims.settings import Numbers  # noqa: E402
from benchmarks.instructgie_claims.start import STARTS, TEXT_TO_IMAGE, make_start, start_folder  # noqa: E402
from zoo.write_visual_prompts import TASKS  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.instructgie_claims.cells import Cell
    from evaluation.benchmark import Benchmark
    from zoo.evaluation.edits import EditScores

OUT = ROOT / "runs" / "bench-instructgie-claims"
SAMPLES_PER_SHARD = 50


def make_data(out: Path, numbers: Numbers) -> None:
    """The starts, and the held-out edits of all seeds, unless they are there."""
    for name in STARTS:
        make_start(out, name, numbers)
    for seed in range(numbers.num_seeds):
        for task in TASKS:
            _cases(task, seed, out, numbers)


def train_cell(cell: Cell, seed: int, out: Path, numbers: Numbers) -> str:
    """The model id of the cell's editor, which is trained unless it is there."""
    from trainer.loop import train
    from trainer.recipe import make_recipe
    from trainer.recipes import find_recipe

    if not cell.recipe:
        return TEXT_TO_IMAGE
    folder, start = training_folder(out, cell.name, seed), f"path:{start_folder(out, cell.start)}"
    if not (folder / "model" / "editloom.json").is_file():
        _write_data(folder / "data", seed, numbers)
        further: dict[str, Any] = numbers.instructgie if cell.recipe == "instructgie" else numbers.ip2p
        settings = {
            "data": str(folder / "data"), "model": start, "out": folder, "seed": seed, "steps": numbers.steps,
            "size_px": numbers.cell_px, **numbers.training, **further, **cell.settings,
            "run_on": {"batch_size": numbers.batch_size, "preview_every": 0, "checkpoint_every": 100,
                       "keep_checkpoints": 1},
        }  # fmt: skip
        train(make_recipe(find_recipe(cell.recipe), settings), resume=True)
    return f"path:{folder / 'model'}"


def _write_data(folder: Path, seed: int, numbers: Numbers) -> None:
    from samples.shards import SHARD_LIST
    from zoo.dataset_shards import write_shards
    from zoo.write_visual_prompts import samples_of

    if not (folder / SHARD_LIST).is_file():
        write_shards(folder, "prompts", samples_of(_order(seed, numbers)), SAMPLES_PER_SHARD)


def _order(seed: int, numbers: Numbers) -> Any:
    from zoo.write_visual_prompts import PromptOrder

    return PromptOrder(
        seed=seed, num_requests=numbers.num_requests, pairs_per_request=numbers.pairs_per_request,
        size_px=numbers.cell_px, nouns=numbers.nouns,
    )  # fmt: skip


def score_cell(cell: Cell, model: str, seed: int, out: Path, numbers: Numbers) -> dict[str, EditScores]:
    """The scores of a cell's editor by task. Requests are those of the seed's data, and held-out ones."""
    from evaluation.editors import EditorChoice
    from zoo.evaluation.edits import score_editor

    folder = training_folder(out, cell.name, seed)
    trained = {**numbers.editing, "size_px": numbers.cell_px}
    editing = trained if cell.recipe else numbers.sdedit
    found: dict[str, EditScores] = {}
    for task in TASKS:
        folder_of_cases, cases = _cases(task, seed, out, numbers)
        choice = EditorChoice.of_model(model, editing, seed=seed, masks="none")
        scores = score_editor(cases, task_folder(folder, task), choice)
        found[task] = with_further(scores, folder_of_cases, task_folder(folder, task))
    return found


def plain_rows(out: Path, numbers: Numbers) -> dict[str, EditScores]:
    """The rows that need no editor, on the edits of seed 0: the source, the truth, and the truth's autoencoder."""
    from zoo.evaluate_edits import plain_rows as without_editor

    def make() -> dict[str, EditScores]:
        rows: dict[str, EditScores] = {}
        for task in TASKS:
            if task != PARAPHRASES:
                _, cases = _cases(task, 0, out, numbers)
                found = without_editor(cases, task_folder(out / "plain", task), [numbers.start])
                rows |= {f"{name}, {task}": scores for name, scores in found.items()}
        return rows

    return kept_rows(out, numbers, {}, make)


def cases_folder(out: Path, seed: int, task: str) -> Path:
    """Where the held-out edits of a task are."""
    return out / "cases" / f"seed-{seed}" / task


def _cases(task: str, seed: int, out: Path, numbers: Numbers) -> tuple[Path, Benchmark]:
    """The folder and the cases of a task, written unless they are there."""
    from evaluation.benchmarks.pairs import CASES_FILE, Pairs
    from zoo.write_visual_prompts import write_cases

    folder = cases_folder(out, seed, task)
    if not (folder / CASES_FILE).is_file():
        count = numbers.num_paraphrased if task == PARAPHRASES else numbers.num_cases
        write_cases(folder, task, count, _order(seed, numbers))
    return folder, Pairs().read(folder)


def models(numbers: Numbers) -> tuple[str, ...]:
    """The models that cells use beside the start."""
    return (numbers.instructgie["clip_model"], TEXT_TO_IMAGE)


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
