"""The command of a benchmark of claims: builds data, runs cells that are not there, prints tables and verdicts.

Finished cells are skipped and a stopped one resumes. What a cell is, and what is trained and scored, each benchmark
says for itself.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.claims.jobs import Job, run_jobs
from benchmarks.claims.results import Result, claim_folder, read_result, read_results, write_result
from benchmarks.claims.verdicts import as_markdown, by_row
from core.errors import EditloomError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from benchmarks.claims.verdicts import Layout
    from zoo.evaluation.edits import EditScores


@dataclass(frozen=True, kw_only=True)
class ClaimsBenchmark:
    """One benchmark. `numbers` is a dataclass of all its numbers, as `results.Numbers`."""

    title: str
    script: Path
    """The file that runs it, for the processes of cells."""
    out: Path
    """Its run folder, unless the command line names another."""
    numbers: Any
    layout: Layout
    cells: Callable[[Any], Mapping[str, Any]]
    """All cells by name, for some numbers."""
    make_data: Callable[[Path, Any], None]
    """Build all data below a run folder that are not there."""
    train: Callable[[Any, int, Path, Any], str]
    """(cell, seed, run folder, numbers) -> model id of its editor, which is trained unless it is there."""
    score: Callable[[Any, str, int, Path, Any], dict[str, EditScores]]
    """(cell, model id, seed, run folder, numbers) -> scores by task."""
    plain_rows: Callable[[Path, Any], dict[str, EditScores]]
    """The rows that no cell trains."""
    models: Callable[[Any], Iterable[str]] = lambda _numbers: ()
    """For some numbers, the model ids that cells use beside the start: a run folder is of one revision of each."""


def run_cell(benchmark: ClaimsBenchmark, cell: str, seed: int, out: Path, numbers: Any) -> Result:
    """Train and score one cell with one seed, unless its result is there. The result is written last."""
    known = read_result(out, cell, seed, numbers)
    if known is not None:
        return known
    wanted = benchmark.cells(numbers)[cell]
    began = time.monotonic()
    model = benchmark.train(wanted, seed, out, numbers)
    trained = time.monotonic()
    tasks = benchmark.score(wanted, model, seed, out, numbers)
    seconds = {"training": round(trained - began, 1), "scoring": round(time.monotonic() - trained, 1)}
    result = Result(cell, seed, numbers.as_json(), tasks, seconds)
    write_result(out, result)
    return result


def report(benchmark: ClaimsBenchmark, out: Path, seeds: Sequence[int], numbers: Any) -> str:
    """The tables and verdicts over the results that there are, also written to claims.md and claims.json."""
    results = read_results(out, benchmark.cells(numbers), seeds, numbers)
    text = as_markdown(results, benchmark.plain_rows(out, numbers), benchmark.layout)
    (out / "claims.md").write_text(text, encoding="utf-8")
    rows = {row.name: [scores.as_json() for scores in found] for row, found in by_row(results).items()}
    seconds = {f"{one.cell}, seed {one.seed}": one.seconds for one in results}
    known = {"numbers": numbers.as_json(), "rows": rows, "seconds": seconds}
    (out / "claims.json").write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
    return text


def main(benchmark: ClaimsBenchmark, argv: Sequence[str] | None = None) -> int:
    """Run the benchmark, some cells of it, or its table alone. Return 0, or 1 where a cell failed."""
    known = benchmark.cells(benchmark.numbers)
    parser = argparse.ArgumentParser(description=benchmark.title)
    parser.add_argument("--out", type=Path, default=benchmark.out, help="%(default)s")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", choices=list(known), metavar="CELL", help=", ".join(known))
    parser.add_argument(
        "--table", action="store_true", help="print the tables of what is there; cells that are missing are not trained"
    )
    parser.add_argument("--processes", type=int, default=2, help="cells at a time; on a GPU 1 (%(default)s)")
    parser.add_argument(
        "--numbers",
        type=_numbers_of(type(benchmark.numbers)),
        default=benchmark.numbers,
        metavar="JSON",
        help="other numbers than those of settings.py, for a pilot in another --out",
    )
    parser.add_argument("--job", choices=list(known), help=argparse.SUPPRESS)
    parser.add_argument("--job-seed", type=int, default=0, help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    try:
        failed = _order(benchmark, given)
    except (EditloomError, ValueError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if failed:
        print(f"{len(failed)} cells failed; run the same command again: {'; '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _numbers_of(kind: type) -> Callable[[str], Any]:
    """Read numbers with some replaced from a JSON object; argparse reports another text or a wrong name."""

    def read(text: str) -> Any:
        try:
            return kind(**json.loads(text))
        except (ValueError, TypeError) as error:
            raise argparse.ArgumentTypeError(f"no JSON object of settings.Numbers: {error}") from error

    return read


def _order(benchmark: ClaimsBenchmark, given: argparse.Namespace) -> list[str]:
    """Do what the command line says. Return a line for each cell that failed. Raises what its parts raise."""
    numbers = given.numbers
    claim_folder(given.out, numbers, benchmark.models(numbers))
    if given.job:
        run_cell(benchmark, given.job, given.job_seed, given.out, numbers)
        return []
    failed: list[str] = []
    if not given.table:
        benchmark.make_data(given.out, numbers)
        benchmark.plain_rows(given.out, numbers)
        failed = _run_cells(benchmark, given.only or list(benchmark.cells(numbers)), given)
    print(report(benchmark, given.out, given.seeds, numbers))
    return failed


def _run_cells(benchmark: ClaimsBenchmark, wanted: Sequence[str], given: argparse.Namespace) -> list[str]:
    """Run each cell and seed that has no result. Return a line for each that failed."""
    jobs = [
        Job(name, seed) for seed in given.seeds for name in wanted
        if read_result(given.out, name, seed, given.numbers) is None
    ]  # fmt: skip

    def command(job: Job) -> list[str]:
        own = ["--out", str(given.out), "--job", job.cell, "--job-seed", str(job.seed)]
        return [str(benchmark.script), *own, "--numbers", json.dumps(given.numbers.as_json())]

    return run_jobs(jobs, command, given.processes)
