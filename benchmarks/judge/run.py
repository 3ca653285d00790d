"""Does the rule judge tell right edits from spoiled ones? 500 edits of the miniature world, half of them spoiled.

`make bench-judge`, on one core. Every second pair is right; the others are spoiled in five ways in turn (pairs.py).
Half of all edited images went through JPEG. The judge is given both images and the instruction, no caption and no
mask, and its replies are read as `judge_edit` reads them.

Prints the area under the curve of `judge_score`, right against each way and against all, with the 95 % interval of a
bootstrap over pairs. An abstention counts as the lowest score, since no bound keeps it, and is counted beside. Writes
scores.jsonl and labels.csv, which `editloom calibrate` reads, result.json and table.md.

Exit status 1: an area below its bar, or more abstentions than MAX_ABSTAINED_FRAC.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402  run from a checkout
from PIL import Image  # noqa: E402

from benchmarks.judge.pairs import RIGHT, SPOIL, pairs  # noqa: E402
from evaluation.calibration.agreement import area_under_curve  # noqa: E402
from models import registry  # noqa: E402
from models.judges.replies import read_scores  # noqa: E402
from models.protocols import JudgeRequest  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.judge.pairs import JudgedPair

JUDGE = "code:zoo.judging.world_judge:WorldJudge"
BAR_ALL, BAR_WAY = 0.93, 0.9
"""Least areas: right against all spoiled edits, and against those of each way."""
MAX_ABSTAINED_FRAC = 0.05
RESAMPLES = 1000


def judged(pair: JudgedPair, judge: Any) -> dict[str, Any]:
    """One row: how the pair was made, and what the judge says of it."""
    request = JudgeRequest(
        source=Image.fromarray(pair.source), edited=Image.fromarray(pair.edited), instruction=pair.edit.instruction
    )
    (reply,) = judge.judge([request], seeds=[0])
    scores = read_scores(reply.text)
    return {
        "sample_id": pair.key, "edit_type": pair.edit.kind, "how": pair.how, "instruction": pair.edit.instruction,
        "judge_score": None if scores is None else round(scores.overall, 4), "judge_reply": reply.text,
    }  # fmt: skip


def areas(rows: Sequence[dict[str, Any]], how: Sequence[str], rng: np.random.Generator) -> dict[str, Any]:
    """The area of right edits against those of some ways, its interval, and how many of each there are."""
    good, bad = (
        np.array(
            [math.nan if row["judge_score"] is None else row["judge_score"] for row in rows if row["how"] in names]
        )
        for names in ((RIGHT,), how)
    )
    drawn = [area_under_curve(rng.choice(good, len(good)), rng.choice(bad, len(bad))) or 0.0 for _ in range(RESAMPLES)]
    low, high = np.percentile(drawn, (2.5, 97.5))
    return {
        "area": area_under_curve(good, bad), "low": float(low), "high": float(high), "spoiled": len(bad),
        "abstained": int(np.isnan(bad).sum()), "median": float(np.nanmedian(bad)),
    }  # fmt: skip


def table(found: dict[str, dict[str, Any]]) -> str:
    """The result as a Markdown table."""
    lines = [
        "| spoiled how | pairs | abstentions | median score | area under the curve | 95 % |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {one['spoiled']} | {one['abstained']} | {one['median']:.1f} | {one['area']:.3f} | "
        f"{one['low']:.3f} to {one['high']:.3f} |"
        for name, one in found.items()
    ]
    return "\n".join(lines)


def write(out: Path, rows: Sequence[dict[str, Any]], found: dict[str, dict[str, Any]]) -> None:
    """Write the scores, the labels and the result."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "scores.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    with (out / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("sample_id", "label"))
        writer.writerows((row["sample_id"], "good" if row["how"] == RIGHT else "bad") for row in rows)
    (out / "result.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (out / "table.md").write_text(table(found) + "\n", encoding="utf-8")


def main() -> int:
    """Judge all pairs and print the table. Returns the exit status."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("--pairs", type=int, default=500, help="%(default)s")
    parser.add_argument("--seed", type=int, default=0, help="which held-out scenes (%(default)s)")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "judge", help="%(default)s")
    given = parser.parse_args()
    judge, began = registry.load("EditJudge", JUDGE), time.perf_counter()
    rows = [judged(pair, judge) for pair in pairs(given.pairs, given.seed)]
    seconds = time.perf_counter() - began
    rng = np.random.default_rng(given.seed)
    found = {"all": areas(rows, list(SPOIL), rng)} | {name: areas(rows, [name], rng) for name in SPOIL}
    write(given.out, rows, found)
    right = [row["judge_score"] for row in rows if row["how"] == RIGHT]
    abstained = sum(row["judge_score"] is None for row in rows)
    print(table(found))
    print(
        f"{len(right)} right edits, {right.count(None)} abstentions, median score "
        f"{np.median([one for one in right if one is not None]):.1f}; {len(rows)} pairs in {seconds:.0f} s"
    )
    problems = [
        f"{name}: area {one['area']:.3f}, bar {BAR_ALL if name == 'all' else BAR_WAY}"
        for name, one in found.items()
        if one["area"] < (BAR_ALL if name == "all" else BAR_WAY)
    ]
    if abstained > MAX_ABSTAINED_FRAC * len(rows):
        problems.append(
            f"{abstained} of {len(rows)} pairs are abstentions, at most {MAX_ABSTAINED_FRAC:.0%} are allowed"
        )
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
