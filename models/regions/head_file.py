"""The files of a saved region head: its weights, and config.json with its sizes and the models that it works with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from core.errors import DamagedFileError, ModelError, one_line
from core.strict_json import State, parse

if TYPE_CHECKING:
    from models.placement import Placement
    from models.regions.head import RegionHead
    from models.schemes.weights import Weights

REGION_HEAD = "region_head"
"""The kind of model, in config.json."""
PINNED_SCHEMES = ("hf", "path", "zoo", "open_clip")
"""Schemes of models that a head may name: weights, and no address that somebody else's file could choose."""
CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.safetensors"


class RegionConfig(State):
    """What a head is made of, and what it was trained with."""

    model_type: Literal["region_head"] = "region_head"
    dim: int = Field(ge=1)
    """Width of CLIP's tokens."""
    num_heads: int = Field(ge=1)
    hidden: int = Field(ge=1)
    clip_model: str
    """The model id of the CLIP whose tokens it reads."""
    clip_revision: str
    """What pins that model's content."""
    patch_layer: int = Field(le=-1)
    """The layer of its image tower that patches are taken from, counted from the last, -1."""
    generator: str
    """The model id of the EditSynthesizer that it was trained with."""
    threshold: float = Field(gt=0, lt=1)
    """The probability above which a pixel was in the region."""


def save_head(head: RegionHead, config: RegionConfig, folder: Path) -> None:
    """Write both files into `folder`."""
    from safetensors.torch import save_file

    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in head.state_dict().items()}
    save_file(tensors, folder / WEIGHTS_FILE)
    (folder / CONFIG_FILE).write_text(config.model_dump_json(indent=2) + "\n", encoding="utf-8")


def read_config(folder: Path) -> RegionConfig:
    """The config of a saved head. Raises ModelError where it is absent or damaged."""
    path = folder / CONFIG_FILE
    try:
        config = parse(RegionConfig, path.read_bytes(), str(path))
    except (OSError, DamagedFileError) as error:
        raise ModelError(f"{path} cannot be read ({error}); save the region head again") from error
    for name in (config.clip_model, config.generator):
        if name.partition(":")[0] not in PINNED_SCHEMES:
            raise ModelError(
                f"{path} names the model {name!r}; expected weights ({', '.join(PINNED_SCHEMES)}), as a head must not "
                "choose a server; name a server by the setting generator"
            )
    return config


def make_head(config: RegionConfig) -> RegionHead:
    """A new head of these sizes. Raises ModelError for sizes that do not fit together."""
    from models.regions.head import RegionHead

    if config.dim % config.num_heads:
        raise ModelError(f"a region head of {config.dim} channels cannot have {config.num_heads} heads of attention")
    return RegionHead(config.dim, num_heads=config.num_heads, hidden=config.hidden)


def load_head(weights: Weights, placement: Placement) -> tuple[RegionHead, RegionConfig]:
    """The head on its device, in float32 and evaluation mode. Raises ModelError for files that do not fit."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = Path(weights.location)
    config = read_config(folder)
    head = make_head(config)
    try:
        head.load_state_dict(load_file(folder / WEIGHTS_FILE))
    except (OSError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"{folder / WEIGHTS_FILE} is no such head: {one_line(error)}; save it again") from error
    return head.to(placement.torch_device()).eval(), config


def models_within(folder: Path, protocol: str) -> tuple[tuple[str, str], ...]:
    """(protocol, model id) of each model that a saved head loads to serve `protocol`."""
    config = read_config(folder)
    generator = (("EditSynthesizer", config.generator),) if protocol == "Editor" else ()
    return (("ImageTextTokens", config.clip_model), *generator)
