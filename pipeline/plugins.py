"""Finds stages and models by name at run time, so that the engine imports neither package."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from typing import TYPE_CHECKING, Any

from pipeline.errors import ManifestError, nearest

if TYPE_CHECKING:
    from pipeline.stage import Stage

STAGES_PACKAGE = "stages"
MODELS_REGISTRY = "models.registry"


def stage_names() -> list[str]:
    """Names of all stages in the catalogue, sorted; modules with a leading underscore are helpers, not stages."""
    package = importlib.import_module(STAGES_PACKAGE)
    return sorted(m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_"))


def stage_class(name: str) -> type[Stage]:
    """The class of stage `name` (`score_pair` -> `stages.score_pair.ScorePair`). Raises `ManifestError`."""
    if name not in stage_names():
        raise ManifestError(f"unknown stage {name!r}{nearest(name, stage_names())}")
    module = importlib.import_module(f"{STAGES_PACKAGE}.{name}")
    class_name = "".join(part.capitalize() for part in name.split("_"))
    found: type[Stage] = getattr(module, class_name)
    return found


def stage_name(stage: Stage) -> str:
    """The catalogue name of a stage: the last part of its module."""
    return type(stage).__module__.rsplit(".", 1)[-1]


def load_model(model_id: str) -> Any:
    """The model behind an id. Heavy: call it in a worker only."""
    return importlib.import_module(MODELS_REGISTRY).load(model_id)


def model_revision(model_id: str) -> str:
    """What pins the model's content, for the fingerprint. Light."""
    revision: str = importlib.import_module(MODELS_REGISTRY).revision(model_id)
    return revision


def model_missing(model_id: str) -> str | None:
    """One line that says why the model cannot be loaded and what to do, or None. Light."""
    message: str | None = importlib.import_module(MODELS_REGISTRY).missing(model_id)
    return message


def packages_missing(packages: tuple[str, ...]) -> list[str]:
    """The packages of `packages` that are not installed."""
    return [name for name in packages if importlib.util.find_spec(name) is None]
