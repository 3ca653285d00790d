"""The paper's ablation in miniature: data, losses, and masks when editing.

`make bench-iedit-claims`. Needs the tiny iEdit dataset and its twin from alt-text, which it builds. Each training and
each scoring is kept in the run folder: a run that was stopped resumes. Two processes of one thread each.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402  run from a checkout

from benchmarks.iedit_claims.variants import BY_NAME, CLAIMS, VARIANTS, Variant  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Sequence

MEASURES = ("clip_score", "fid", "ssim_m", "ssim_not_m", "l1_inside", "l1_outside", "edit_read_back")
DATASETS = {"edit": ROOT / "runs" / "tiny-iedit" / "dataset", "caption": ROOT / "runs" / "tiny-iedit-noisy" / "dataset"}


def train_one(variant: Variant, seed: int, out: Path, given: argparse.Namespace) -> None:
    """The model of a variant at `<out>/model`, unless it is there."""
    from trainer.loop import train
    from trainer.recipe import make_recipe
    from trainer.recipes import find_recipe

    if (out / "model" / "editloom.json").is_file():
        return
    settings = {
        "data": str(DATASETS[variant.data]), "model": "zoo:sd", "out": out, "seed": seed, "steps": given.steps,
        "size_px": 64, "learning_rate": given.learning_rate, "clip_model": "zoo:clip", "perceptual_model": "zoo:dino",
        "run_on": {"batch_size": given.batch_size, "preview_every": 0, "checkpoint_every": 100}, **variant.settings,
    }  # fmt: skip
    train(make_recipe(find_recipe("iedit"), settings), resume=True)


def score_one(variant: Variant, seed: int, model: str, out: Path, given: argparse.Namespace) -> dict[str, float]:
    """All measures of a variant's edits of the held-out cases."""
    from evaluation.benchmarks.pairs import Pairs
    from evaluation.editors import EditorChoice
    from evaluation.judges import JudgeIds
    from evaluation.masks import PhraseMasks
    from evaluation.run import evaluate

    editor = EditorChoice.of_model(
        model, {"num_steps": given.edit_steps, "sampling_ratio": given.ratio, "guidance_scale": 7.5}, seed=seed,
        masks=PhraseMasks("zoo:clipseg") if variant.with_masks else "none",
    )  # fmt: skip
    judges = JudgeIds(clip=("zoo:clip",), fid=("zoo:dino",))
    scores = evaluate(Pairs().read(given.out / "cases"), out, editor=editor, judges=judges)
    found = {m: scores.value("fid_source" if m == "fid" else m) for m in MEASURES if m != "edit_read_back"}
    return {**found, "edit_read_back": read_back(given.out / "cases", out / "outputs")}


def read_back(cases: Path, outputs: Path) -> float:
    """Share of edits in which the miniature captioner sees the new thing: noun and colour."""
    from PIL import Image

    from benchmarks.iedit_data.truth import change_of
    from models.registry import load
    from zoo.world import read_facts

    rows = [json.loads(line) for line in (cases / "cases.jsonl").read_text(encoding="utf-8").splitlines()]
    images = [Image.open(outputs / f"{row['key']}.png").convert("RGB") for row in rows]
    captions = load("Captioner", "zoo:blip").caption(images)
    changes = [change_of(row["source_caption"], row["target_caption"]) for row in rows]
    return float(
        np.mean([c is not None and c.come in read_facts(s).things for c, s in zip(changes, captions, strict=True)])
    )


def run_job(name: str, seed: int, given: argparse.Namespace) -> None:
    """Train and score one variant with one seed. The scores are written last."""
    variant = BY_NAME[name]
    base = given.out / f"seed-{seed}"
    model = "zoo:sd"
    if variant.trained:
        train_one(variant, seed, base / variant.trained, given)
        model = f"path:{base / variant.trained / 'model'}"
    where = base / (variant.trained or "base") / ("masked" if variant.with_masks else "plain")
    figures = score_one(variant, seed, model, where, given)
    (where / "figures.json").write_text(json.dumps(figures), encoding="utf-8")


def figures_of(variant: Variant, seed: int, out: Path) -> Path:
    """Where the scores of a variant and seed are."""
    where = out / f"seed-{seed}" / (variant.trained or "base") / ("masked" if variant.with_masks else "plain")
    return where / "figures.json"


def table(out: Path, seeds: Sequence[int]) -> dict[str, dict[str, list[float]]]:
    """Variant -> measure -> a value a seed."""
    found: dict[str, dict[str, list[float]]] = {}
    for variant in VARIANTS:
        rows = [json.loads(figures_of(variant, seed, out).read_text(encoding="utf-8")) for seed in seeds]
        found[variant.name] = {measure: [row[measure] for row in rows] for measure in MEASURES}
    return found


def verdicts(values: dict[str, dict[str, list[float]]]) -> list[dict[str, Any]]:
    """For each claim the difference, seed by seed: agrees or not when all seeds have one sign, else not clear."""
    found = []
    for claim in CLAIMS:
        sign = 1 if claim.up else -1
        gains = sign * (np.array(values[claim.better][claim.measure]) - np.array(values[claim.worse][claim.measure]))
        verdict = "agrees" if (gains > 0).all() else "disagrees" if (gains < 0).all() else "not clear"
        difference = sign * gains
        spread = float(difference.std(ddof=1)) if len(gains) > 1 else 0.0
        found.append(
            {"claim": claim.text, "difference": float(difference.mean()), "spread": spread, "miniature": verdict}
        )
    return found


def as_markdown(values: dict[str, dict[str, list[float]]], claims: list[dict[str, Any]]) -> str:
    """Both tables."""
    lines = ["| | " + " | ".join(MEASURES) + " |", "|---" * (len(MEASURES) + 1) + "|"]
    for name, measures in values.items():
        cells = [f"{np.mean(v):.3f} ± {np.std(v, ddof=1) if len(v) > 1 else 0:.3f}" for v in measures.values()]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += ["", "| the paper says | difference here | spread | the miniature |", "|---|---|---|---|"]
    lines += [f"| {c['claim']} | {c['difference']:+.3f} | {c['spread']:.3f} | {c['miniature']} |" for c in claims]
    return "\n".join(lines) + "\n"


def prepare(given: argparse.Namespace) -> None:
    """The two datasets and the held-out cases."""
    for manifest, dataset in (("manifests/tiny/iedit.toml", "edit"), ("benchmarks/iedit_claims/noisy.toml", "caption")):
        out = DATASETS[dataset].parent
        if not (DATASETS[dataset] / "shards.json").is_file():
            order = ["make", "--no-print-directory", "build-dataset", f"MANIFEST={manifest}", f"OUT={out}"]
            subprocess.run(order, cwd=ROOT, check=True)
    if not (given.out / "cases" / "cases.jsonl").is_file():
        order = [sys.executable, "-m", "zoo.write_edits", str(given.out / "cases"), "--count", str(given.cases),
                 "--seed", "0", "--kinds", "replace_noun", "change_colour"]  # fmt: skip
        subprocess.run(order, cwd=ROOT, check=True)


def run_all(given: argparse.Namespace) -> None:
    """Every job whose scores are missing, trainings of one model in one process so that none is done twice."""
    groups: dict[tuple[str, int], list[str]] = {}
    for seed in given.seeds:
        for variant in VARIANTS:
            if not figures_of(variant, seed, given.out).is_file():
                groups.setdefault((variant.trained, seed), []).append(variant.name)
    own = [str(Path(__file__)), *given.passed_on]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def work(group: tuple[tuple[str, int], list[str]]) -> None:
        (_, seed), names = group
        for name in names:
            began = time.monotonic()
            subprocess.run([sys.executable, *own, "--job", name, "--job-seed", str(seed)], check=True, env=environment)
            print(f"seed {seed}, {name}: {time.monotonic() - began:.0f} s", flush=True)

    with ThreadPoolExecutor(given.processes) as pool:
        list(pool.map(work, groups.items()))


def main() -> int:
    """Run the ablation, or one job of it. Return 0."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "iedit-claims")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=300, help="optimiser steps of each training (%(default)s)")
    parser.add_argument("--batch-size", type=int, default=8, help="%(default)s")
    parser.add_argument("--learning-rate", type=float, default=2e-4, help="%(default)s, the paper's")
    parser.add_argument("--cases", type=int, default=64, help="held-out edits (%(default)s)")
    parser.add_argument("--edit-steps", type=int, default=25, help="DDIM steps (%(default)s)")
    parser.add_argument("--ratio", type=float, default=0.7, help="noise when editing (%(default)s)")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--job")
    parser.add_argument("--job-seed", type=int)
    given = parser.parse_args()
    if given.job:
        run_job(given.job, given.job_seed, given)
        return 0
    given.passed_on = [a for a in sys.argv[1:] if a]
    began = time.monotonic()
    prepare(given)
    run_all(given)
    values = table(given.out, given.seeds)
    claims = verdicts(values)
    text = as_markdown(values, claims)
    settings = {k: str(v) for k, v in vars(given).items() if k not in ("job", "job_seed", "passed_on")}
    result = {"settings": settings, "values": values, "claims": claims, "seconds": time.monotonic() - began}
    (given.out / "claims.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
    (given.out / "claims.md").write_text(text, encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
