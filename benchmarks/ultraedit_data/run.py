"""How true the pairs of the tiny UltraEdit builds are, as shipped and without one part of the method each.

`make bench-ultraedit-data`. Builds both tiny manifests whole, and each variant from some of the five shards. The run
folder keeps what is built and measured: a run that was stopped resumes.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.ultraedit_data.measure import Build, figures_of  # noqa: E402  run from a checkout
from benchmarks.ultraedit_data.readers import READERS, held_out_scenes, reliability  # noqa: E402
from benchmarks.ultraedit_data.variants import RECIPES, VARIANTS, Variant, build, variant_manifest  # noqa: E402

SHIPPED = Variant("as shipped")
MAX_THINGS = 1
"""Of the anchors that both manifests keep, and so of the held-out scenes that sources are compared with."""
NUM_HELD_OUT = 500
COLUMNS = ("pairs", "candidates a pair", "the edit shows", "all else kept", "shows (2nd reader)", "kept (2nd reader)",
           "shape IoU", "SSIM", "DINO", "region IoU", "SSIM outside", "edits true", "FID@zoo:dino",
           "diversity")  # fmt: skip


def cell(recipe: str, variant: Variant, given: argparse.Namespace) -> dict[str, Any]:
    """Build and measure one row of the table, or read what an earlier run measured."""
    folder = given.out / RECIPES[recipe]
    kept = folder / f"{variant.name.replace(' ', '-').replace(',', '')}.json"
    flags: tuple[str, ...] = ()
    if variant is SHIPPED:
        manifest, out = ROOT / "manifests" / "tiny" / f"{RECIPES[recipe]}.toml", folder / "shipped"
    else:
        manifest, out = variant_manifest(recipe, variant, folder), folder / f"from-{variant.num_shards}"
        flags = ("--limit", str(variant.num_shards))
    began = time.monotonic()
    summary = build(manifest, given.shards, out, *flags)
    if kept.is_file() and summary["nothing_to_do"]:
        return dict(json.loads(kept.read_text(encoding="utf-8")))
    figures = figures_of(Build(out, manifest), held_out_scenes(NUM_HELD_OUT, MAX_THINGS))
    figures = {"recipe": recipe, "variant": variant.name, "build_s": round(summary["elapsed_s"], 1), **figures}
    kept.write_text(json.dumps(figures, indent=1), encoding="utf-8")
    print(f"{recipe}, {variant.name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return figures


def values(figures: dict[str, Any]) -> list[object]:
    """One row of the table, in the order of COLUMNS."""
    caption, segments = (figures["by_reader"][name] for name in READERS)
    return [
        figures["num_pairs"], round(figures["num_candidates"] / max(figures["num_pairs"], 1), 2),
        caption["shows"], caption["keeps"], segments["shows"], segments["keeps"],
        figures["shape_iou"], figures["pair_ssim"], figures["pair_dino_cos"], figures.get("region_mask_iou", ""),
        figures.get("outside_ssim", ""), figures["edits_true"],
        figures["sources"]["fid_dino"], figures["sources"]["pairwise_dino"],
    ]  # fmt: skip


def as_markdown(cells: list[dict[str, Any]], reading: dict[str, dict[str, dict[str, float]]]) -> str:
    """The table of the cells, and that of the readers."""
    lines = ["| recipe | variant | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 2) + "|"]
    for figures in cells:
        row = " | ".join(str(value) for value in values(figures))
        lines.append(f"| {figures['recipe']} | {figures['variant']} | {row} |")
    lines += ["", "| reader | scenes of | true scenes | after zoo:sd's autoencoder |", "|---|---|---|---|"]
    for things, of_readers in reading.items():
        lines += [
            f"| {name} | {things} | " + " | ".join(map(str, one.values())) + " |" for name, one in of_readers.items()
        ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Build, measure, print and write. Return 0."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "ultraedit-data", help="%(default)s")
    parser.add_argument("--shards", default="data/pairs", help="anchors, as `make data-pairs` draws them (%(default)s)")
    parser.add_argument("--recipes", nargs="+", choices=list(RECIPES), default=list(RECIPES), help="%(default)s")
    given = parser.parse_args()
    began = time.monotonic()
    cells = [cell(recipe, SHIPPED, given) for recipe in given.recipes]
    cells += [
        cell(recipe, variant, given) for recipe in given.recipes for variant in VARIANTS if recipe in variant.recipes
    ]
    reading = {
        name: reliability(held_out_scenes(NUM_HELD_OUT, most)) for most, name in ((1, "one thing"), (2, "one or two"))
    }
    text = as_markdown(cells, reading)
    result = {"cells": cells, "readers": reading, "seconds": round(time.monotonic() - began)}
    (given.out / "ultraedit-data.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
    (given.out / "ultraedit-data.md").write_text(text, encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
