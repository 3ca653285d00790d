"""The figures of one build: what its edits, its regions and its selected pairs are worth against the world's truth."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.iedit_data.run import share
from benchmarks.left_rows import rejected_rows, stage_folder, stage_rows
from benchmarks.ultraedit_data.anchors import of_sources
from benchmarks.ultraedit_data.readers import READERS, things_of
from benchmarks.ultraedit_data.truth import anchor_scene, edit_fault, outside_ssim, region_iou, verdict
from pipeline.plan.manifest import load_manifest
from pipeline.plan.plan import plan_stages
from samples.stored_images import rgb_image
from zoo.evaluation.metrics import iou

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from PIL.Image import Image

    from zoo.world import Scene

EDIT_COLUMNS = ["sample_id", "source_caption", "target_caption", "instruction", "reverse_instruction", "edit_type",
                "edit_object"]  # fmt: skip
PAIR_COLUMNS = ["sample_id", "parent_id", "source_images", "target_image", "candidate_number", "pair_dino_cos",
                "pair_ssim"]  # fmt: skip
MAX_PIXELS = 1 << 20
REGION_SHAPES = ("region_mask_png", "fine_mask_png")


@dataclass(frozen=True)
class Build:
    """A run folder with the stages of one manifest."""

    out: Path
    manifest: Path

    def rows(self, stage: str, columns: list[str] | None = None) -> list[dict[str, Any]]:
        """All rows that a stage left."""
        return stage_rows(self.out, self.manifest, stage, columns)

    @cached_property
    def synthesis(self) -> str:
        """Name of the stage that draws pairs."""
        names = [stage.name for stage in plan_stages(load_manifest(self.manifest))]
        return next(name for name in names if name.startswith("synthesise_"))

    @cached_property
    def edits(self) -> dict[str, dict[str, Any]]:
        """Edits by sample_id."""
        return {row["sample_id"]: row for row in self.rows("write_edits", EDIT_COLUMNS)}

    @cached_property
    def scenes(self) -> dict[str, Scene]:
        """Anchors by sample_id."""
        rows = self.rows("read_webdataset", ["sample_id", "source_metadata"])
        return {row["sample_id"]: anchor_scene(row["source_metadata"]) for row in rows}

    @cached_property
    def pairs(self) -> list[dict[str, Any]]:
        """The pairs that were selected."""
        chosen = {row["sample_id"] for row in self.rows("select", ["sample_id"])}
        return [row for row in self.rows(self.synthesis, PAIR_COLUMNS) if row["sample_id"] in chosen]


def figures_of(build: Build, held_out: Sequence[Scene]) -> dict[str, Any]:
    """All figures, by name."""
    pairs, edits = build.pairs, build.edits
    sources = [rgb_image(row["source_images"][0], MAX_PIXELS) for row in pairs]
    targets = [rgb_image(row["target_image"], MAX_PIXELS) for row in pairs]
    of_pair = [edits[row["parent_id"]] for row in pairs]
    figures: dict[str, Any] = {
        "num_anchors": len(build.scenes),
        "num_edits": len(edits),
        "edits_true": share(edit_fault(row) is None for row in edits.values()),
        "edits_by_type": dict(Counter(row["edit_type"] for row in edits.values())),
        "num_pairs": len(pairs),
        "pairs_by_type": dict(Counter(row["edit_type"] for row in of_pair)),
        "num_candidates": num_candidates(build),
        "pair_ssim": mean(row["pair_ssim"] for row in pairs),
        "pair_dino_cos": mean(row["pair_dino_cos"] for row in pairs),
    }
    figures["by_reader"] = {name: by_reader(read(sources), read(targets), of_pair) for name, read in READERS.items()}
    figures["shape_iou"] = shape_iou(sources, targets, [row["edit_type"] for row in of_pair])
    if build.synthesis == "synthesise_region":
        figures |= region_figures(build, sources, targets)
    return figures | {"sources": of_sources(sources, held_out)}


def by_reader(before: list[Any], after: list[Any], edits: list[dict[str, Any]]) -> dict[str, Any]:
    """Shares of pairs that show the edit, keep all else, and both; and the same for each type of edit."""
    found = [
        (edit["edit_type"], verdict(edit["source_caption"], edit["target_caption"], one, other))
        for edit, one, other in zip(edits, before, after, strict=True)
    ]
    types = sorted({name for name, _ in found})
    return {
        "shows": share(one.shows for _, one in found),
        "keeps": share(one.keeps for _, one in found),
        "both": share(one.shows and one.keeps for _, one in found),
        "by_type": {
            name: [share(one.shows for kind, one in found if kind == name),
                   share(one.keeps for kind, one in found if kind == name)]
            for name in types
        },
    }  # fmt: skip


def shape_iou(sources: Sequence[Image], targets: Sequence[Image], edit_types: Sequence[str]) -> float:
    """Mean overlap of the things of both images, over pairs whose edit puts no other thing in their place."""
    kept = [number for number, name in enumerate(edit_types) if name != "replace_noun"]
    before, after = (things_of([images[number] for number in kept]) for images in (sources, targets))
    return mean(iou(one, other) for one, other in zip(before, after, strict=True) if (one | other).any())


def region_figures(build: Build, sources: Sequence[Image], targets: Sequence[Image]) -> dict[str, Any]:
    """How well regions fit the things that change, over all edits, and how alike a pair is outside of its region."""
    figures: dict[str, Any] = {}
    regions = {row["sample_id"]: row for row in build.rows("build_region", ["sample_id", *REGION_SHAPES])}
    for shape in REGION_SHAPES:
        found = []
        for own, row in regions.items():
            edit = build.edits[own]
            scene = build.scenes[own.partition("-")[0]]
            found.append(region_iou(row[shape], scene, edit["source_caption"], edit["target_caption"]))
        figures[shape.removesuffix("_png") + "_iou"] = mean(found)
    outside = [
        outside_ssim(source, target, regions[row["parent_id"]]["region_mask_png"])
        for row, source, target in zip(build.pairs, sources, targets, strict=True)
    ]
    return figures | {"outside_ssim": mean(outside)}


def num_candidates(build: Build) -> int:
    """Of all edits: those that gave a pair, and those that gave none, which are among the rejects."""
    rejects = rejected_rows(stage_folder(build.out, build.manifest, build.synthesis))
    rows = [json.loads(reject["row"]) for reject in rejects]
    rows += build.rows(build.synthesis, ["candidates"])
    return sum(len(row["candidates"] or ()) for row in rows)


def mean(values: Any) -> float:
    """Rounded to 4 decimals."""
    found = [value for value in values if value is not None]
    return round(float(np.mean(found)), 4) if found else float("nan")
