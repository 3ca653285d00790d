"""UltraEdit's claims in miniature: anchors, scale, pairs with regions, regions when editing.

`make bench-ultraedit-claims`. Builds its datasets, trains every cell from one common start, edits the held-out edits
of the world benchmark and judges the paper's four claims. Finished cells are skipped and a stopped one resumes.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.claims.jobs import Job, run_jobs  # noqa: E402  run from a checkout
from benchmarks.claims.results import (  # noqa: E402
    Result,
    claim_folder,
    read_result,
    read_results,
    write_result,
)
from benchmarks.claims.verdicts import as_markdown, by_row  # noqa: E402
from benchmarks.ultraedit_claims.cells import LAYOUT, cells  # noqa: E402
from benchmarks.ultraedit_claims.datasets import make_pools, write_part  # noqa: E402
from benchmarks.ultraedit_claims.settings import EDITORS, Numbers  # noqa: E402
from core.errors import EditloomError  # noqa: E402

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


def training_folder(out: Path, cell: str, seed: int) -> Path:
    """Where a cell is trained and its editor's images are."""
    return out / f"seed-{seed}" / cell


def plain_folder(out: Path, editor: str) -> Path:
    """Where the images of an editor are that no cell trains."""
    return out / "plain" / editor.replace(" ", "-")


def score(model: str, task: Task, out: Path, seed: int, cases: Benchmark, numbers: Numbers) -> EditScores:
    """Edit and score the held-out edits below `out`."""
    from evaluation.editors import EditorChoice
    from zoo.evaluation.edits import score_editor

    masks: Any = "given" if task == "region" else "none"
    return score_editor(cases, out, EditorChoice.of_model(model, numbers.editing, seed=seed, masks=masks))


def run_cell(cell: Cell, seed: int, out: Path, numbers: Numbers) -> Result:
    """Train and score one cell with one seed, unless its result is there. The result is written last."""
    from zoo.evaluation.edits import write_cases

    known = read_result(out, cell.name, seed, numbers)
    if known is not None:
        return known
    began = time.monotonic()
    model = train_cell(cell, seed, out, numbers)
    trained = time.monotonic()
    cases = write_cases(out / "cases", numbers.num_cases)
    tasks: dict[str, EditScores] = {
        task: score(model, task, training_folder(out, cell.name, seed) / task, seed, cases, numbers)
        for task in cell.tasks
    }
    seconds = {"training": round(trained - began, 1), "scoring": round(time.monotonic() - trained, 1)}
    result = Result(cell.name, seed, numbers.as_json(), tasks, seconds)
    write_result(out, result)
    return result


def plain_rows(out: Path, numbers: Numbers) -> dict[str, EditScores]:
    """The rows that no cell trains: the source, the truth, its autoencoder, ready editors."""
    from models import registry
    from zoo.evaluate_edits import plain_rows as without_editor
    from zoo.evaluation.edits import EditScores, write_cases

    editors = dict(EDITORS)
    if "instruction" in registry.editor_class(numbers.start).needs:
        editors = {"the common start": numbers.start, **editors}
    revisions = {model: registry.revision(model) for model in editors.values()}
    wanted = {
        "start": numbers.start, "editors": editors, "revisions": revisions,
        "numbers": json.loads(json.dumps(numbers.as_json())),
    }  # fmt: skip
    kept = out / "plain.json"
    if kept.is_file():
        known = json.loads(kept.read_text(encoding="utf-8"))
        if known["made_with"] == wanted:
            return {name: EditScores.of_json(scores) for name, scores in known["rows"].items()}
    cases = write_cases(out / "cases", numbers.num_cases)
    rows = without_editor(cases, out / "plain", [numbers.start])
    for name, model in editors.items():
        rows[name] = score(model, "free-form", plain_folder(out, name), 0, cases, numbers)
    found = {"made_with": wanted, "rows": {name: scores.as_json() for name, scores in rows.items()}}
    kept.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return rows


def run_cells(wanted: Sequence[str], given: argparse.Namespace, numbers: Numbers) -> list[str]:
    """Run each cell and seed that has no result. Return a line for each that failed."""
    jobs = [
        Job(name, seed) for seed in given.seeds for name in wanted
        if read_result(given.out, name, seed, numbers) is None
    ]  # fmt: skip

    def command(job: Job) -> list[str]:
        own = ["--out", str(given.out), "--job", job.cell, "--job-seed", str(job.seed)]
        return [str(Path(__file__)), *own, "--numbers", json.dumps(numbers.as_json())]

    return run_jobs(jobs, command, given.processes)


def report(given: argparse.Namespace, numbers: Numbers) -> str:
    """The tables and verdicts over the results that there are, also written to claims.md and claims.json."""
    results = read_results(given.out, cells(numbers), given.seeds, numbers)
    text = as_markdown(results, plain_rows(given.out, numbers), LAYOUT)
    (given.out / "claims.md").write_text(text, encoding="utf-8")
    rows = {row.name: [scores.as_json() for scores in found] for row, found in by_row(results).items()}
    seconds = {f"{one.cell}, seed {one.seed}": one.seconds for one in results}
    known = {"numbers": numbers.as_json(), "rows": rows, "seconds": seconds}
    (given.out / "claims.json").write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
    return text


def numbers_of(text: str) -> Numbers:
    """The numbers with some replaced, by a JSON object. Raises ArgumentTypeError for another text or a wrong name."""
    try:
        return Numbers(**json.loads(text))
    except (ValueError, TypeError) as error:
        raise argparse.ArgumentTypeError(f"no JSON object of settings.Numbers: {error}") from error


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark, some cells of it, or its table alone. Return 0, or 1 where a cell failed."""
    known = cells(Numbers())
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("--out", type=Path, default=OUT, help="%(default)s")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", choices=list(known), metavar="CELL", help=", ".join(known))
    parser.add_argument("--table", action="store_true", help="print the tables of what is there, train nothing")
    parser.add_argument("--processes", type=int, default=2, help="cells at a time; on a GPU 1 (%(default)s)")
    parser.add_argument("--numbers", type=numbers_of, default=Numbers(), metavar="JSON",
                        help="other numbers than those of settings.py, for a pilot in another --out")  # fmt: skip
    parser.add_argument("--job", choices=list(known), help=argparse.SUPPRESS)
    parser.add_argument("--job-seed", type=int, default=0, help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    try:
        failed = order(given)
    except (EditloomError, ValueError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if failed:
        print(f"{len(failed)} cells failed; run the same command again: {'; '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def order(given: argparse.Namespace) -> list[str]:
    """Do what the command line says. Return a line for each cell that failed. Raises what its parts raise."""
    numbers: Numbers = given.numbers
    claim_folder(given.out, numbers)
    if given.job:
        run_cell(cells(numbers)[given.job], given.job_seed, given.out, numbers)
        return []
    failed: list[str] = []
    if not given.table:
        make_pools(given.out, numbers)
        plain_rows(given.out, numbers)
        failed = run_cells(given.only or list(cells(numbers)), given, numbers)
    print(report(given, numbers))
    return failed


if __name__ == "__main__":
    sys.exit(main())
