"""How true the data of the tiny iEdit build is, measured against the miniature world that it was drawn from.

`make bench-iedit-data` builds manifests/tiny/iedit.toml if need be and measures its run folder. Every stage is measured
on all rows that reached it, not on those that survived.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402  run from a checkout

from benchmarks.iedit_data.truth import (  # noqa: E402
    caption_is_true,
    change_of,
    mask_iou,
    scene_at,
    shows_change,
)
from benchmarks.left_rows import stage_rows  # noqa: E402
from zoo.world import facts_of  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterable

    from zoo.world import Scene

MANIFEST = ROOT / "manifests" / "tiny" / "iedit.toml"
EDIT_COLUMNS = ["sample_id", "parent_id", "source_caption", "target_caption", "source_phrase", "target_phrase",
                "edit_type"]  # fmt: skip


def share(values: Iterable[bool]) -> float:
    """Of those that are true."""
    found = list(values)
    return round(sum(found) / len(found), 4) if found else float("nan")


def measure(out: Path, manifest: Path) -> dict[str, Any]:
    """The figures, by name."""
    scenes = {
        row["sample_id"]: scene_at(row["source_url"])
        for row in stage_rows(out, manifest, "read_laion", ["sample_id", "source_url"])
    }
    captions = stage_rows(out, manifest, "caption", ["sample_id", "generated_caption"])
    edits = {row["sample_id"]: row for row in stage_rows(out, manifest, "edit_caption_wordnet", EDIT_COLUMNS)}
    pairs = stage_rows(out, manifest, "retrieve", ["sample_id", "target_id", "retrieval_cos", "target_image_cos"])
    masks = stage_rows(out, manifest, "mask_phrase", ["sample_id", "source_mask_png", "target_mask_png"])
    kept = stage_rows(out, manifest, "select", ["sample_id"])
    changes = {own: change_of(row["source_caption"], row["target_caption"]) for own, row in edits.items()}
    target_of = {row["sample_id"]: scenes[row["target_id"]] for row in pairs}
    figures: dict[str, Any] = {
        "num_images": len(scenes),
        "caption_accuracy": share(caption_is_true(r["generated_caption"], scenes[r["sample_id"]]) for r in captions),
        "num_edits": len(edits),
        "edits_by_type": dict(Counter(row["edit_type"] for row in edits.values())),
        "valid_edits_frac": share(change is not None for change in changes.values()),
        "edits_true_of_image_frac": share(
            change is not None and change.gone in facts_of(scenes[edits[own]["parent_id"]]).things
            for own, change in changes.items()
        ),
    }
    figures |= retrieval_figures(edits, changes, target_of, scenes)
    figures |= mask_figures(masks, edits, target_of, scenes)
    figures |= {
        "num_pairs": len(pairs),
        "num_selected": len(kept),
        "selected_frac": round(len(kept) / max(len(pairs), 1), 4),
    }
    chosen = {row["sample_id"] for row in kept}
    figures["of_selected"] = retrieval_figures(
        edits, changes, {k: v for k, v in target_of.items() if k in chosen}, scenes
    )
    return figures


def retrieval_figures(
    edits: dict[str, Any], changes: dict[str, Any], target_of: dict[str, Scene], scenes: dict[str, Scene]
) -> dict[str, Any]:
    """How much the pseudo-targets show and keep. An edit that is none within the world counts as not shown."""
    shown = {own: changes[own] is not None and shows_change(changes[own], t) for own, t in target_of.items()}
    source_of = {own: scenes[edits[own]["parent_id"]] for own in target_of}
    figures: dict[str, Any] = {"retrieval_shows_change": share(shown.values())}
    for kind in sorted({row["edit_type"] for row in edits.values()}):
        figures[f"retrieval_shows_change/{kind}"] = share(v for k, v in shown.items() if edits[k]["edit_type"] == kind)
    figures["retrieval_keeps_place"] = share(source_of[own].place == t.place for own, t in target_of.items())
    figures["retrieval_keeps_style"] = share(source_of[own].style == t.style for own, t in target_of.items())
    figures["retrieval_is_the_edit"] = share(  # all things as the edit has them, and the place kept
        changes[own] is not None and facts_of(t)[:2] == edited_facts(source_of[own], changes[own])
        for own, t in target_of.items()
    )
    figures["distinct_targets_frac"] = round(len({id(t) for t in target_of.values()}) / max(len(target_of), 1), 4)
    return figures


def edited_facts(source: Scene, change: Any) -> tuple[Any, Any]:
    """Things and place after the edit."""
    things = Counter(facts_of(source).things) - Counter([change.gone]) + Counter([change.come])
    return tuple(sorted(things.elements())), source.place


def mask_figures(
    masks: list[dict[str, Any]], edits: dict[str, Any], target_of: dict[str, Scene], scenes: dict[str, Scene]
) -> dict[str, Any]:
    """Mean IoU of both masks, over pairs whose image has what the phrase names."""
    figures: dict[str, Any] = {}
    for side in ("source", "target"):
        found = []
        for row in masks:
            edit = edits[row["sample_id"]]
            scene = scenes[edit["parent_id"]] if side == "source" else target_of[row["sample_id"]]
            found.append(mask_iou(row[f"{side}_mask_png"], edit[f"{side}_phrase"], scene))
        there = [value for value in found if value is not None]
        figures[f"{side}_mask_iou"] = round(float(np.mean(there)), 4) if there else float("nan")
        figures[f"{side}_phrase_is_there"] = share(value is not None for value in found)
    return figures


def main() -> int:
    """Measure one run folder, print and write the figures. Return 0."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "tiny-iedit", help="run folder (%(default)s)")
    parser.add_argument("--manifest", type=Path, default=MANIFEST)
    given = parser.parse_args()
    figures = measure(given.out, given.manifest)
    text = json.dumps(figures, indent=1)
    (given.out / "truth.json").write_text(text + "\n", encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
