"""`python -m zoo.evaluate_edits OUT --model ID`: the world benchmark of an editor, beside the rows that need none.

Prints the tables of `zoo.evaluation.edits` and writes OUT/edits.json. A run that was stopped resumes.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import EditloomError
from core.settings import parse_pairs
from evaluation.editors import EditorChoice
from zoo.evaluation.edits import (
    NUM_CASES,
    EditScores,
    as_markdown,
    score_editor,
    score_images,
    sources,
    through_autoencoder,
    truths,
    write_cases,
)
from zoo.world import KINDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evaluation.benchmark import Benchmark
    from evaluation.masks import Masks

COPY, TRUTH = "copy the source", "ground truth"


def plain_rows(cases: Benchmark, out: Path, autoencoders: Sequence[str]) -> dict[str, EditScores]:
    """The rows that need no editor, with one for each checkpoint whose autoencoder is tried."""
    rows = {COPY: score_images(cases, out / "copy", sources(cases), COPY),
            TRUTH: score_images(cases, out / "truth", truths(cases), TRUTH)}  # fmt: skip
    for number, model in enumerate(autoencoders):
        name = f"{TRUTH} through the autoencoder of {model}"
        decoded = through_autoencoder(truths(cases), model)
        rows[name] = score_images(cases, out / f"autoencoder-{number}", decoded, name)
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    """Score what the command line names. Return 0, or the exit code of the error."""
    parser = argparse.ArgumentParser(prog="python -m zoo.evaluate_edits", description=str(__doc__).split(":", 1)[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", help="an editor; without one only the rows that need none")
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE",
                        help="a setting of the editor; repeatable")  # fmt: skip
    parser.add_argument("--given-masks", action="store_true", help="give the editor the masks of the edits")
    parser.add_argument("--autoencoder", action="append", default=[], metavar="ID",
                        help="a checkpoint whose autoencoder is tried on the true targets; repeatable")  # fmt: skip
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("--count", type=int, default=NUM_CASES, help="held-out edits (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the editor's noise (%(default)s)")
    given = parser.parse_args(argv)
    try:
        cases = write_cases(given.out / "cases", given.count, tuple(dict.fromkeys(given.kinds)))
        rows = plain_rows(cases, given.out, given.autoencoder)
        if given.model:
            masks: Masks = "given" if given.given_masks else "none"
            choice = EditorChoice.of_model(given.model, parse_pairs(given.settings), seed=given.seed, masks=masks)
            rows[given.model] = score_editor(cases, given.out / "editor", choice)
    except EditloomError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    known = {name: row.as_json() for name, row in rows.items()}
    (given.out / "edits.json").write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
    print(as_markdown(rows, given.kinds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
