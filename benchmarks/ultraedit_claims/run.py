"""UltraEdit's claims in miniature: anchors, scale, pairs with regions, regions when editing.

`make bench-ultraedit-claims`. Builds its datasets, trains every cell from one common start, edits the held-out edits
of the world benchmark and judges the paper's four claims. Finished cells are skipped and a stopped one resumes.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.claims import command  # noqa: E402  run from a checkout
from benchmarks.claims.folders import plain_folder, training_folder  # noqa: E402
from benchmarks.claims.plain import editors_with_start, kept_rows  # noqa: E402
from benchmarks.ultraedit_claims.cells import LAYOUT, cells  # noqa: E402
from benchmarks.ultraedit_claims.datasets import make_pools, write_part  # noqa: E402
from benchmarks.ultraedit_claims.settings import EDITORS, Numbers  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.ultraedit_claims.cells import Cell, Task
    from evaluation.benchmark import Benchmark
    from zoo.evaluation.edits import EditScores

OUT = ROOT / "runs" / "bench-ultraedit-claims"


def train_cell(cell: Cell, seed: int, out: Path, numbers: Numbers) -> str:
    """The model id of the cell's editor, which is trained unless it is there."""
    from trainer.loop import train
    from trainer.recipe import make_recipe
    from trainer.recipes import find_recipe

    folder = training_folder(out, cell.name, seed)
    if not (folder / "model" / "editloom.json").is_file():
        for part in cell.parts:
            write_part(folder / "data" / part.pool, out, part, seed)
        data = tuple(str(folder / "data" / part.pool) for part in cell.parts)
        mixture: dict[str, Any] = {"data": data[0]}
        if len(data) > 1:
            mixture = {"data": data, "data_weights": tuple(float(part.count) for part in cell.parts)}
        settings = {
            **mixture, "model": numbers.start, "out": folder, "seed": seed, "steps": numbers.steps,
            "region": cell.takes_region, **numbers.training,
            "run_on": {"batch_size": numbers.batch_size, "preview_every": 0, "checkpoint_every": 200,
                       "keep_checkpoints": 1},
        }  # fmt: skip
        train(make_recipe(find_recipe("ip2p"), settings), resume=True)
    return f"path:{folder / 'model'}"


def score(model: str, task: Task, out: Path, seed: int, cases: Benchmark, numbers: Numbers) -> EditScores:
    """Edit and score the held-out edits below `out`."""
    from evaluation.editors import EditorChoice
    from zoo.evaluation.edits import score_editor

    masks: Any = "given" if task == "region" else "none"
    return score_editor(cases, out, EditorChoice.of_model(model, numbers.editing, seed=seed, masks=masks))


def score_cell(cell: Cell, model: str, seed: int, out: Path, numbers: Numbers) -> dict[str, EditScores]:
    """The scores of a cell's editor by task."""
    from zoo.evaluation.edits import write_cases

    cases = write_cases(out / "cases", numbers.num_cases)
    folder = training_folder(out, cell.name, seed)
    return {task: score(model, task, folder / task, seed, cases, numbers) for task in cell.tasks}


def plain_rows(out: Path, numbers: Numbers) -> dict[str, EditScores]:
    """The rows that no cell trains: the source, the truth, its autoencoder, ready editors."""
    from zoo.evaluate_edits import plain_rows as without_editor
    from zoo.evaluation.edits import write_cases

    editors = editors_with_start(numbers, EDITORS)

    def make() -> dict[str, EditScores]:
        cases = write_cases(out / "cases", numbers.num_cases)
        rows = without_editor(cases, out / "plain", [numbers.start])
        for name, model in editors.items():
            rows[name] = score(model, "free-form", plain_folder(out, name), 0, cases, numbers)
        return rows

    return kept_rows(out, numbers, editors, make)


BENCHMARK = command.ClaimsBenchmark(
    title=str(__doc__).split("\n", 1)[0],
    script=Path(__file__),
    out=OUT,
    numbers=Numbers(),
    layout=LAYOUT,
    cells=cells,
    make_data=make_pools,
    train=train_cell,
    score=score_cell,
    plain_rows=plain_rows,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark, some cells of it, or its table alone. Return 0, or 1 where a cell failed."""
    return command.main(BENCHMARK, argv)


if __name__ == "__main__":
    sys.exit(main())
