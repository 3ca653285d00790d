"""The checkpoint that a training starts from, as its small files describe it: kind of pipeline, and widths.

Nothing here loads weights, so that a checkpoint that does not fit is refused at once.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import ModelError, UsageError, one_line
from models.diffusion.editor_kinds import CLASS_OF
from models.model_ids import fetch, find
from models.registry import kind_of
from trainer.buckets import STEPS

if TYPE_CHECKING:
    from collections.abc import Collection

    from models.schemes.weights import Weights


@dataclass(frozen=True, slots=True)
class Start:
    """A checkpoint on this machine. `kind` is the class that its model_index.json names."""

    weights: Weights
    kind: str
    in_channels: int
    latent_channels: int
    latent_factor: int
    """Pixels of an image along each side for one cell of its latent."""
    num_halvings: int
    """How often the UNet halves a latent."""

    @property
    def pipeline_class(self) -> str:
        """The class of diffusers that loads it."""
        return CLASS_OF.get(self.kind, self.kind)

    def check_size(self, size_px: int, *, aspect_buckets: bool) -> None:
        """Raises UsageError for sizes that the UNet cannot halve, or whose buckets are no whole cells."""
        model, factor = self.weights.model_id, self.latent_factor
        unit, bucket = factor * 2**self.num_halvings, STEPS * factor
        if size_px % unit:
            raise UsageError(f"size_px is {size_px}; model {model!r} needs a multiple of {unit}")
        if aspect_buckets and size_px % bucket:
            raise UsageError(f"size_px is {size_px}; with aspect_buckets model {model!r} needs a multiple of {bucket}")


def read_start(model_id: str, kinds: Collection[str]) -> Start:
    """Read the description of a checkpoint.

    Raises ModelError where it is absent or damaged, UsageError where it is of no kind in `kinds`.
    """
    try:
        weights = fetch(find(model_id))
    except OSError as error:
        raise ModelError(one_line(error)) from error
    kind = kind_of(weights)
    if kind not in kinds:
        raise UsageError(
            f"model {model_id!r} is of kind {kind!r}; this trainer takes a {' or '.join(kinds)} of diffusers"
        )
    return Start(
        weights, kind,
        in_channels=_number(weights, "unet", "in_channels", 4),
        latent_channels=_number(weights, "vae", "latent_channels", 4),
        latent_factor=2 ** (_length(weights, "vae", "block_out_channels", 1) - 1),
        num_halvings=_length(weights, "unet", "block_out_channels", 4) - 1,
    )  # fmt: skip


def _number(weights: Weights, part: str, name: str, default: int) -> int:
    """A whole number in the config.json of a part; `default` is that of diffusers, for a config that lacks it."""
    value = _stated(weights, part, name, default)
    if not isinstance(value, int):
        raise _wrong(weights, part, name, value, "a whole number")
    return value


def _length(weights: Weights, part: str, name: str, default: int) -> int:
    """How long a list in the config.json of a part is; `default` is that of diffusers' list."""
    value = _stated(weights, part, name, [None] * default)
    if not isinstance(value, list):
        raise _wrong(weights, part, name, value, "a list")
    return len(value)


def _stated(weights: Weights, part: str, name: str, default: Any) -> Any:
    path = _config(weights, part)
    try:
        config: Any = json.loads(path.read_bytes())
        return config.get(name, default)
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise ModelError(f"model {weights.model_id!r}: {path} cannot be read ({one_line(error)})") from error


def _config(weights: Weights, part: str) -> Path:
    return Path(weights.location) / part / "config.json"


def _wrong(weights: Weights, part: str, name: str, value: Any, expected: str) -> ModelError:
    path = _config(weights, part)
    return ModelError(f"model {weights.model_id!r}: {path} states {name} {value!r}; expected {expected}")
