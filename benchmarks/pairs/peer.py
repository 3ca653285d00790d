"""Runs Data-Juicer's operator `sdxl_prompt2prompt_mapper`. `run.py` starts it with the interpreter of the peer.

Each line of the standard input is a task in JSON, each line of the standard output its result. The operator's code is
that of the package, called as the framework calls it: one row a call.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

SOURCE, TARGET = "source_caption", "target_caption"


class Peer:
    """The operator, made once a pipeline and settings, as a worker of the framework does."""

    def __init__(self) -> None:
        module = importlib.import_module("data_juicer.ops.mapper.sdxl_prompt2prompt_mapper")
        models = importlib.import_module("data_juicer.utils.model_utils")
        self._operator_class, self._get_model = module.SDXLPrompt2PromptMapper, models.get_model
        self._free = models.free_models
        self._operator: Any = None
        self._opened: tuple[str, str, str] | None = None

    def open(self, folder: str, num_steps: int, guidance_scale: float, device: str, dtype: str) -> dict[str, Any]:
        """Make the operator and load its pipeline, unless only its steps and guidance are new."""
        if self._opened == (folder, device, dtype):
            self._operator.num_inference_steps, self._operator.guidance_scale = num_steps, guidance_scale
            return {}
        if self._opened:
            self._free()
        self._opened = (folder, device, dtype)
        self._operator = self._operator_class(
            hf_diffusion=folder, torch_dtype={"float32": "fp32", "float16": "fp16"}[dtype], text_key=SOURCE,
            num_inference_steps=num_steps, guidance_scale=guidance_scale, text_key_second=TARGET,
            output_dir=tempfile.mkdtemp(), accelerator=device,
        )  # fmt: skip
        self._pipeline().set_progress_bar_config(disable=True)
        return {}

    def pairs(self, captions: list[list[str]]) -> dict[str, Any]:
        """Draw a pair for each two captions. The pipeline is loaded, files are written as the operator does."""
        began = time.perf_counter()
        for source, target in captions:
            self._operator.process_single({SOURCE: source, TARGET: target})
        return {"seconds": time.perf_counter() - began}

    def attention(self, captions: list[str], num_steps: int, most_places: int) -> dict[str, Any]:
        """The verdict over the first `num_steps` steps of one pair."""
        from benchmarks.pairs.attention import recorded, shared_places, verdict

        with recorded() as calls:
            self._operator.process_single(dict(zip((SOURCE, TARGET), captions, strict=True)))
        pipeline = self._pipeline()
        per_step = sum(name.endswith(("attn1", "attn2")) for name, _ in pipeline.unet.named_modules())
        rows = len(calls[0].hidden_BTD)
        shared = shared_places(pipeline.tokenizer, *captions)
        return verdict(calls[: num_steps * per_step], [(rows - 2, rows - 1)], shared, most_places).as_json()

    def _pipeline(self) -> Any:
        return self._get_model(self._operator.model_key, use_cuda=self._operator.use_cuda())


def main() -> None:
    """Answer tasks until the input ends. Whatever the libraries print goes to the standard error."""
    warnings.filterwarnings("ignore")
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    peer = Peer()
    for line in sys.stdin:
        task = json.loads(line)
        answers.write(json.dumps(getattr(peer, task.pop("task"))(**task)) + "\n")


if __name__ == "__main__":
    main()
