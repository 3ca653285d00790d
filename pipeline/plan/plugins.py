"""Finds stages and models by name at run time, so that the engine imports neither package."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys
from typing import TYPE_CHECKING, Any

from core.errors import ManifestError, nearest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from core.missing import Missing
    from pipeline.stage import Stage

STAGES_PACKAGE = "stages"
MODELS_REGISTRY = "models.registry"


def stage_names() -> list[str]:
    """Names of all stages in the catalogue, sorted: its modules without its packages."""
    package = importlib.import_module(STAGES_PACKAGE)
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__) if not module.ispkg)


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


def load_model(protocol: str, model_id: str, *, placement: Mapping[str, Any] | None = None, **settings: Any) -> Any:
    """The model behind an id, with the methods of `protocol`. Heavy: call it in a worker only.

    `placement` is where and how it runs, `settings` are its wrapper's. Raises `ModelError` when the model is not
    here or does not serve the protocol.
    """
    registry = importlib.import_module(MODELS_REGISTRY)
    return registry.load(protocol, model_id, registry.Placement(**(placement or {})), **settings)


def model_revision(model_id: str) -> str:
    """The pin of the model's content, for the fingerprint. Loads no model."""
    revision: str = importlib.import_module(MODELS_REGISTRY).revision(model_id)
    return revision


def model_licence(model_id: str, protocol: str) -> str | None:
    """The licences in the files of the model and of those that it is made of, or None. Loads no model."""
    licence: str | None = importlib.import_module(MODELS_REGISTRY).licence(model_id, protocol)
    return licence


def model_missing(model_id: str, protocol: str) -> list[Missing]:
    """Everything that this machine lacks to serve the protocol with the model. Loads no model."""
    found: list[Missing] = importlib.import_module(MODELS_REGISTRY).missing(model_id, protocol)
    return found


def model_refusal(model_id: str, protocol: str) -> str | None:
    """One clause that says why the model cannot serve the protocol, or None. Loads no model."""
    clause: str | None = importlib.import_module(MODELS_REGISTRY).cannot_serve(protocol, model_id)
    return clause


def on_gpu(placement: Mapping[str, Any]) -> bool:
    """True when models with this placement run on a GPU. A process without torch has no such model."""
    if "torch" not in sys.modules:
        return False
    device = importlib.import_module(MODELS_REGISTRY).Placement(**placement).torch_device()
    return bool(device.type == "cuda")


def packages_missing(packages: tuple[str, ...]) -> list[str]:
    """The packages of `packages` that are not installed."""
    return [name for name in packages if importlib.util.find_spec(name) is None]
