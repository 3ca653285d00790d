"""The files of an aesthetic head: the weights of its linear layers, and config.json with the encoder that it reads.

`model.safetensors` has the linear layers of LAION's predictor under the names of its release, `layers.<number>.weight`
and `.bias`; the layers between them (dropout) do nothing when it rates. `config.json` says what the folder is, and
over which encoder of images and texts it was trained:

    { "model_type": "aesthetic_head", "encoder": "hf:openai/clip-vit-large-patch14@<commit>" }

Source  christophschuhmann/improved-aesthetic-predictor: five linear layers with dropout between them and nothing else.
        The release is a pickle, which is not opened here. The same weights as safetensors: docs/filters.md.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

from core.errors import DamagedFileError, ModelError, one_line
from core.strict_json import State, parse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np

    from models.protocols import Floats

AESTHETIC_HEAD = "aesthetic_head"
"""The kind of model, in config.json."""
ENCODER_SCHEMES = ("hf", "open_clip", "zoo")
"""Schemes of encoders that a head may name: those whose id says which weights they are."""
CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.safetensors"
_NAME = re.compile(r"layers\.(\d{1,3})\.(weight|bias)")


class HeadConfig(State):
    """The config of a head."""

    model_type: Literal["aesthetic_head"]
    encoder: str
    """The model id of the encoder whose image embedding it reads."""


def read_config(folder: Path) -> HeadConfig:
    """The config of a head. Raises ModelError where it is absent, damaged, or names another kind of id."""
    path = folder / CONFIG_FILE
    try:
        config = parse(HeadConfig, path.read_bytes(), str(path))
    except (OSError, DamagedFileError) as error:
        raise ModelError(f"{path} cannot be read ({error}); write it as docs/filters.md says") from error
    if config.encoder.partition(":")[0] not in ENCODER_SCHEMES:
        raise ModelError(
            f"{path} names the encoder {config.encoder!r}; expected {', '.join(ENCODER_SCHEMES)}, as the id must "
            "say which weights they are"
        )
    return config


def models_within(folder: Path, _protocol: str) -> tuple[tuple[str, str], ...]:
    """(protocol, model id) of the encoder that a head loads."""
    return (("ImageTextEncoder", read_config(folder).encoder),)


def read_layers(path: Path) -> list[tuple[Floats, Floats]]:
    """(weight, bias) of each linear layer, in order. Raises ModelError for a file that holds no such head."""
    import numpy as np
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        tensors = load_file(path)
    except (OSError, SafetensorError, TypeError, KeyError) as error:  # the last two: a number type numpy lacks
        raise ModelError(f"{path} cannot be read as safetensors ({one_line(error)}); fetch it again") from error
    found: dict[int, dict[str, np.ndarray[Any, Any]]] = {}
    for name, tensor in tensors.items():
        match = _NAME.fullmatch(name)
        if match is None:
            raise ModelError(f"{path} holds {name!r}; expected layers.<number>.weight and .bias alone")
        found.setdefault(int(match[1]), {})[match[2]] = tensor.astype(np.float32)
    layers = [found[number] for number in sorted(found)]
    if not _is_chain(layers):
        raise ModelError(f"{path} holds no chain of linear layers that ends in one number; fetch the head again")
    return [(layer["weight"], layer["bias"]) for layer in layers]


def _is_chain(layers: Sequence[Mapping[str, Any]]) -> bool:
    """True where each layer takes what the one before it gives, and the last gives one number."""
    if not layers or any(layer.keys() != {"weight", "bias"} or layer["weight"].ndim != 2 for layer in layers):
        return False
    sizes = [layer["weight"].shape for layer in layers]
    fits = all(before[0] == after[1] for before, after in pairwise(sizes))
    return fits and sizes[-1][0] == 1 and all(layer["bias"].shape == layer["weight"].shape[:1] for layer in layers)
