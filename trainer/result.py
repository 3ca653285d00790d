"""What a finished training leaves: a diffusers pipeline folder, and editloom.json, which says where it came from."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from trainer.checkpoint import written

if TYPE_CHECKING:
    from pathlib import Path

    from samples.shards import ShardList
    from trainer.diffusion import Diffusion
    from trainer.recipe import Recipe

PACKAGES = ("editloom", "torch", "diffusers", "transformers", "accelerate", "timm", "numpy", "webdataset")
PROVENANCE = "editloom.json"


@dataclass(frozen=True, slots=True)
class Result:
    """A finished training: the folder that diffusers loads, the steps done, the last row of metrics."""

    model: Path
    steps: int
    metrics: dict[str, Any]


def save_result(folder: Path, pipeline: Any, provenance: dict[str, Any], save_dtype: str) -> None:
    """Write `folder` anew, whole or not at all: `save_pretrained` in safetensors, and the provenance.

    Raises TrainingError when the disk is full.

    `pipeline` is in float32; its modules are of `save_dtype` afterwards.
    """
    beside = folder.parent / f".{folder.name}.new"
    shutil.rmtree(beside, ignore_errors=True)
    if save_dtype != "float32":
        pipeline.to(dtype=getattr(torch, save_dtype), silence_dtype_warnings=True)
    with written(folder):
        pipeline.save_pretrained(beside, safe_serialization=True)
        (beside / PROVENANCE).write_text(json.dumps(provenance, indent=1) + "\n", encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        beside.rename(folder)


def provenance(
    config: Recipe, dataset: ShardList, base: Diffusion, steps: int, metrics: dict[str, Any]
) -> dict[str, Any]:
    """Everything that decided the result, and the last row of metrics."""
    return {
        "recipe": config.recipe,
        "seed": config.seed,
        "steps": steps,
        "dataset": {"name": dataset.name, "fingerprint": dataset.fingerprint, "num_samples": dataset.num_samples},
        "base_model": {"id": base.model_id, "revision": base.revision},
        "config": config.model_dump(mode="json"),
        "metrics": metrics,
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
