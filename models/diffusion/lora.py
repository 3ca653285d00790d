"""LoRA weights that lie in a folder beside a pipeline: merged into its weights, so that they cost no time.

Source  Hu et al. 2021, LoRA: W + scale B A.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from models.diffusion.editor_kinds import LORA_FOLDER

WEIGHTS_FILE = "pytorch_lora_weights.safetensors"
"""Name that diffusers gives them."""


def merge_lora(pipeline: Any, location: str) -> None:
    """Merge the LoRA weights of a saved editor into the pipeline's networks, where the editor has some.

    Raises ModuleNotFoundError without peft.
    """
    folder = Path(location) / LORA_FOLDER
    if not folder.is_dir():
        return
    importlib.import_module("peft")  # diffusers would only say that it needs a backend
    pipeline.load_lora_weights(folder, weight_name=WEIGHTS_FILE, use_safetensors=True, local_files_only=True)
    pipeline.fuse_lora()
    pipeline.unload_lora_weights()
