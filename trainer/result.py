"""The result of a training: a folder that the recipe fills, and its origin in editloom.json."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainer.checkpoint import written

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from trainer.datasets import Datasets
    from trainer.recipe import Objective, Recipe

PACKAGES = ("editloom", "torch", "diffusers", "transformers", "accelerate", "timm", "numpy", "webdataset")
PROVENANCE = "editloom.json"


@dataclass(frozen=True, slots=True)
class Result:
    """A finished training: the folder of the model, the steps done, the last row of metrics."""

    model: Path
    steps: int
    metrics: dict[str, Any]


def save_result(folder: Path, objective: Objective, provenance: dict[str, Any]) -> None:
    """Write `folder` anew, complete or not at all. Raises TrainingError when the disk is full."""
    partial = folder.parent / f".{folder.name}.new"
    shutil.rmtree(partial, ignore_errors=True)
    with written(folder):
        partial.mkdir()
        objective.save(partial)
        (partial / PROVENANCE).write_text(json.dumps(provenance, indent=1) + "\n", encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)


def provenance(
    recipe: Recipe, datasets: Datasets, models: Mapping[str, str], steps: int, metrics: dict[str, Any]
) -> dict[str, Any]:
    """Everything that decided the result, and the last row of metrics. `models` has the revision of each model."""
    return {
        "recipe": recipe.recipe,
        "seed": recipe.seed,
        "steps": steps,
        "dataset": {
            "name": " + ".join(datasets.names),
            "fingerprint": datasets.fingerprint,
            "num_samples": datasets.num_samples,
        },
        "datasets": datasets.described(),
        "models": dict(models),
        "config": recipe.model_dump(mode="json"),
        "metrics": metrics,
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
