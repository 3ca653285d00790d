"""Results of cells on disk: one JSON file for each cell and seed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from models import registry
from zoo.evaluation.edits import EditScores

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


class Numbers(Protocol):
    """All numbers of one benchmark, and the model that its trainings start from."""

    @property
    def start(self) -> str:
        """Its model id."""
        ...

    def as_json(self) -> dict[str, Any]:
        """All numbers as JSON values."""
        ...


FOLDER = "cells"
NUMBERS_FILE = "numbers.json"
REVISIONS = "revisions"


@dataclass(frozen=True, slots=True)
class Result:
    """Scores of one cell and seed by task, the numbers that it was made with, and its time."""

    cell: str
    seed: int
    numbers: dict[str, Any]
    tasks: dict[str, EditScores]
    seconds: dict[str, float]


def claim_folder(out: Path, numbers: Numbers, models: Iterable[str] = ()) -> None:
    """Keep what all in the run folder depends on: the numbers, and the weights of the start and of further models.

    Raises ValueError where the folder has others.
    """
    path = out / NUMBERS_FILE
    revisions = {model: registry.revision(model) for model in (numbers.start, *models)}
    if path.is_file():
        known = json.loads(path.read_text(encoding="utf-8"))
        kept = known.pop(REVISIONS, {})
        others = [model for model, revision in revisions.items() if kept.get(model) != revision]
        if others:
            raise ValueError(
                f"{path} does not say that it was made with the weights of {', '.join(others)} that are there now; "
                "name another --out, or remove the folder"
            )
        _check(path, known, numbers)
        return
    out.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**numbers.as_json(), REVISIONS: revisions}, indent=1) + "\n", encoding="utf-8")


def path_of(out: Path, cell: str, seed: int) -> Path:
    """Where the result of a cell and seed is."""
    return out / FOLDER / f"{cell}-seed-{seed}.json"


def write_result(out: Path, result: Result) -> None:
    """Write the file, complete or not at all."""
    path = path_of(out, result.cell, result.seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    known = {
        "cell": result.cell, "seed": result.seed, "seconds": result.seconds, "numbers": result.numbers,
        "tasks": {task: scores.as_json() for task, scores in result.tasks.items()},
    }  # fmt: skip
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)


def read_result(out: Path, cell: str, seed: int, numbers: Numbers) -> Result | None:
    """The result, or None where there is none. Raises ValueError for one that other numbers made."""
    path = path_of(out, cell, seed)
    if not path.is_file():
        return None
    known = json.loads(path.read_text(encoding="utf-8"))
    _check(path, known["numbers"], numbers)
    tasks = {task: EditScores.of_json(scores) for task, scores in known["tasks"].items()}
    return Result(known["cell"], known["seed"], known["numbers"], tasks, known["seconds"])


def _check(path: Path, known: dict[str, Any], numbers: Numbers) -> None:
    if known != json.loads(json.dumps(numbers.as_json())):
        raise ValueError(
            f"{path} was made with other numbers than the benchmark's settings.py has now; name another --out, or "
            "remove the folder"
        )


def read_results(out: Path, cells: Iterable[str], seeds: Iterable[int], numbers: Numbers) -> list[Result]:
    """All results that there are. Raises ValueError as `read_result`."""
    of_all = [read_result(out, cell, seed, numbers) for cell in cells for seed in seeds]
    return [one for one in of_all if one is not None]
