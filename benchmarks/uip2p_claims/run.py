"""UIP2P's claims in miniature: its losses, pairs against none, few steps, sessions, two additions of its successor.

`make bench-uip2p-claims`. Draws its pairs, trains every cell from one common start, makes held-out edits and judges the
claims. Finished cells are skipped and a stopped one resumes.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.claims import command  # noqa: E402  run from a checkout
from benchmarks.claims.folders import plain_folder, task_folder, training_folder  # noqa: E402
from benchmarks.claims.plain import editors_with_start, kept_rows  # noqa: E402
from benchmarks.uip2p_claims.cells import LAYOUT, SESSIONS, SINGLE, STEPS, cells, of_steps  # noqa: E402
from benchmarks.uip2p_claims.datasets import make_data, write_data  # noqa: E402
from benchmarks.uip2p_claims.settings import EDITORS, TAUGHT, Numbers  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.uip2p_claims.cells import Cell
    from evaluation.benchmark import Benchmark
    from zoo.evaluation.edits import EditScores

OUT = ROOT / "runs" / "bench-uip2p-claims"


def train_cell(cell: Cell, seed: int, out: Path, numbers: Numbers) -> str:
    """The model id of the cell's editor, which is trained unless it is there."""
    from trainer.loop import train
    from trainer.recipe import make_recipe
    from trainer.recipes import find_recipe

    folder = training_folder(out, cell.name, seed)
    if not (folder / "model" / "editloom.json").is_file():
        write_data(folder / "data", out, cell.data, seed, numbers)
        further: dict[str, Any] = numbers.uip2p if cell.recipe == "uip2p" else {}
        settings = {
            "data": str(folder / "data"), "model": numbers.start, "out": folder, "seed": seed, "steps": numbers.steps,
            **numbers.training, **further, **cell.settings,
            "run_on": {"batch_size": numbers.batch_size, "preview_every": 0, "checkpoint_every": 100,
                       "keep_checkpoints": 1},
        }  # fmt: skip
        train(make_recipe(find_recipe(cell.recipe), settings), resume=True)
    return f"path:{folder / 'model'}"


def score(model: str, tasks: Sequence[str], folder: Path, seed: int, out: Path, numbers: Numbers) -> dict[str, Any]:
    """Edit and score below `folder`: task -> scores."""
    from evaluation.editors import EditorChoice
    from zoo.evaluation.edits import score_editor

    few = _cases_of_steps(out, numbers)
    asked: dict[str, tuple[Benchmark, dict[str, Any]]] = {
        SINGLE: (_cases(out, numbers), {}), SESSIONS: (_sessions(out, numbers), {}),
        **{of_steps(number): (few, {"num_steps": number}) for number in STEPS},
    }  # fmt: skip
    found: dict[str, EditScores] = {}
    for task in tasks:
        cases, more = asked[task]
        choice = EditorChoice.of_model(model, {**numbers.editing, **more}, seed=seed, masks="none")
        found[task] = score_editor(cases, task_folder(folder, task), choice)
    return found


def score_cell(cell: Cell, model: str, seed: int, out: Path, numbers: Numbers) -> dict[str, EditScores]:
    """The scores of a cell's editor by task."""
    return score(model, cell.tasks, training_folder(out, cell.name, seed), seed, out, numbers)


def plain_rows(out: Path, numbers: Numbers) -> dict[str, EditScores]:
    """The rows that no cell trains, for both tasks: the source, the truth, its autoencoder, ready editors."""
    from zoo.evaluate_edits import plain_rows as without_editor

    editors = editors_with_start(numbers, EDITORS)

    def make() -> dict[str, EditScores]:
        rows: dict[str, EditScores] = {}
        for task, cases in ((SINGLE, _cases(out, numbers)), (SESSIONS, _sessions(out, numbers))):
            found = without_editor(cases, task_folder(out / "plain", task), [numbers.start])
            for name, model in editors.items():
                found[name] = score(model, [task], plain_folder(out, name), 0, out, numbers)[task]
            rows |= {f"{name}, {task}": scores for name, scores in found.items()}
        return rows

    return kept_rows(out, numbers, editors, make)


def _cases(out: Path, numbers: Numbers) -> Benchmark:
    from zoo.evaluation.edits import write_cases

    return write_cases(out / "cases", numbers.num_cases, TAUGHT)


def _cases_of_steps(out: Path, numbers: Numbers) -> Benchmark:
    from zoo.evaluation.edits import write_cases

    return write_cases(out / "cases-of-steps", numbers.num_cases_of_steps, TAUGHT)


def _sessions(out: Path, numbers: Numbers) -> Benchmark:
    from zoo.evaluation.sessions import write_sessions

    return write_sessions(out / "sessions", numbers.num_sessions, numbers.num_turns, TAUGHT)


def models(numbers: Numbers) -> tuple[str, ...]:
    """The models that cells use beside the start."""
    return (numbers.uip2p["clip_model"],)


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
