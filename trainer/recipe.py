"""The contract of a recipe: settings that open into an objective, which the loop trains without knowing more of it.

A recipe declares, as a stage does, the columns that it reads and the models that it loads. An objective names the
modules that it trains and computes a loss. Device, precision, modes, gradients and checkpoints are the loop's.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

from core.errors import ModelError, SettingError, one_line
from core.settings import Settings, checked
from models.placement import BATCH_SIZE, Placement
from models.registry import load
from trainer.settings import TrainSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import torch
    from torch import Tensor
    from torch.nn import Module

    from models.protocols import Editor
    from trainer.arrays import ArraySpec
    from trainer.batch import Batch
    from trainer.draws import Draws
    from trainer.settings import Precision


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterGroup:
    """Parameters that are trained alike, by name. None means the value in the recipe's settings.

    A name is that of the module in `Objective.modules`, a dot, and the parameter's own: `unet.conv_in.weight`.
    """

    names: tuple[str, ...]
    learning_rate: float | None = None
    weight_decay: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainContext:
    """Device and precision of a training, as a recipe needs them to load its models."""

    device: torch.device
    precision: Precision = "no"
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext
    """Makes the context in which trained networks are called."""

    @property
    def frozen_dtype(self) -> torch.dtype:
        """Type of networks that are not trained: never float16, in which autoencoders overflow."""
        import torch

        return torch.bfloat16 if self.precision == "bf16" else torch.float32

    def load(self, protocol: str, model_id: str, *, batch_size: int = BATCH_SIZE, **settings: Any) -> Any:
        """A model that is not trained, with the methods of `protocol`. Raises ModelError when it cannot be loaded.

        `settings` go to its wrapper, `batch_size` is how many rows it is given at once.
        """
        dtype = str(self.frozen_dtype).removeprefix("torch.")
        placement = Placement(device=str(self.device), dtype=dtype, batch_size=batch_size)
        try:
            return load(protocol, model_id, placement, **settings)
        except (OSError, ValueError) as error:
            raise ModelError(one_line(error)) from error


class Objective(Protocol):
    """A recipe with its models loaded."""

    @property
    def modules(self) -> Mapping[str, Module]:
        """The trained modules by name. A checkpoint has their buffers, and their parameters that are in a group."""
        ...

    @property
    def groups(self) -> Sequence[ParameterGroup]:
        """All parameters that the training changes at some step. All others are frozen."""
        ...

    @property
    def arrays(self) -> Sequence[ArraySpec]:
        """The arrays of a dataset that this objective can use instead of images and texts; empty for none."""
        ...

    @property
    def editor(self) -> Editor:
        """The editor over the modules as they are, for previews."""
        ...

    def trained_at(self, step: int) -> frozenset[str]:
        """Names of the parameters that optimiser step `step`, from 0, updates."""
        ...

    def loss(self, batch: Batch, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        """The scalar to minimise, and its unweighted parts by name: scalars without gradient, the same names always."""
        ...

    def save(self, folder: Path) -> None:
        """Write the result into `folder`, which is empty: a diffusers pipeline, or modules of its own."""
        ...


class Recipe(TrainSettings, ABC):
    """Settings of one recipe: those of every training, the paper's numbers as defaults, and its own."""

    reads: ClassVar[tuple[str, ...]] = ()
    """Columns of the dataset that every sample must have."""
    reads_if_present: ClassVar[tuple[str, ...]] = ()
    """Columns that it takes too where samples have them."""
    filled: ClassVar[Mapping[str, float]] = {}
    """Mask columns -> value (1.0 inside, white; or 0.0) of the whole mask of a sample that has none."""
    sided_texts: ClassVar[tuple[str, ...]] = ()
    """Text columns: a sample one of whose texts names a side is never mirrored."""

    one_of: ClassVar[tuple[str, ...]] = ()
    """List columns of images of which each sample gives one value, drawn anew each time that it is seen, at the same
    place in all of them. In the batch such a column is as one of a single image."""

    def needs_columns(self) -> tuple[str, ...]:
        """Those of `reads_if_present` that these settings cannot do without."""
        return ()

    def needs_models(self) -> tuple[str, ...]:
        """Model ids that these settings load. A resumed training must find their content unchanged."""
        return ()

    @abstractmethod
    def open(self, ctx: TrainContext) -> Objective:
        """Load the models and name what is trained. Raises ModelError or UsageError where a model does not fit."""


R = TypeVar("R", bound=Recipe)


def make_recipe(kind: type[R], values: Mapping[str, Any]) -> R:
    """The recipe with these settings, checked. Raises SettingError: the key, what is wrong with it, the value."""
    where = f"recipe {kind.recipe}"
    for name in kind.model_fields:
        section = kind.model_fields[name].annotation
        known = section.model_fields if isinstance(section, type) and issubclass(section, Settings) else {}
        for key in values:
            if key in known and key not in kind.model_fields:
                raise SettingError(f"{where}: {key} is a setting of the section {name}; write {name}.{key}")
    return checked(kind, values, where)
