"""A language model run by vLLM inside the worker: many times the throughput of transformers on a large GPU.

vLLM is no dependency of this project: it pins its own torch and CUDA. It batches by itself, so `batch_size` is not
used; the same prompt and seed give the same text up to the rounding of its batches. Written for vLLM 0.12 and later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from models.language.prompts import prompt_ids, system_turns
from models.language.sampling import checked_seeds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from models.placement import Placement
    from models.schemes.weights import Weights


class VllmText:
    """A TextGenerator over `vllm.LLM`. It takes the share `memory_frac` (0 to 1) of the GPU's memory."""

    def __init__(
        self, weights: Weights, placement: Placement, *, system_prompt: str | None = None, memory_frac: float = 0.9
    ) -> None:
        """Start the engine. Raises ModuleNotFoundError where vLLM is not installed.

        Raises ValueError for a `system_prompt` where there is no chat template.
        """
        from vllm import LLM

        is_gguf = weights.location.endswith(".gguf")
        self._llm: Any = LLM(
            model=weights.location,
            dtype=placement.dtype,
            gpu_memory_utilization=memory_frac,
            load_format="gguf" if is_gguf else "safetensors",
            generation_config="vllm",  # not the checkpoint's own temperature and penalties
        )
        self._tokenizer: Any = self._llm.get_tokenizer()
        self._system = system_turns(self._tokenizer, system_prompt)

    def generate(
        self,
        prompts: Sequence[str],
        *,
        max_new_tokens: int,
        json_schema: Mapping[str, Any] | None = None,
        temperature: float = 0.0,
        seeds: Sequence[int] | None = None,
    ) -> list[str]:
        """One continuation a prompt, without the prompt. Raises ValueError for seeds that do not match."""
        from vllm import SamplingParams
        from vllm.sampling_params import StructuredOutputsParams

        seeds = checked_seeds(prompts, temperature, seeds)
        if not prompts:
            return []
        constraint = None if json_schema is None else StructuredOutputsParams(json=dict(json_schema))
        shared = {"max_tokens": max_new_tokens, "temperature": temperature, "structured_outputs": constraint}
        how = [SamplingParams(seed=None if seeds is None else seeds[row], **shared) for row in range(len(prompts))]
        ids = [{"prompt_token_ids": prompt_ids(self._tokenizer, self._system, prompt)} for prompt in prompts]
        outputs = self._llm.generate(ids, how, use_tqdm=False)
        return [str(output.outputs[0].text) for output in outputs]
