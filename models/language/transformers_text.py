"""Instruction-tuned language models through transformers, from safetensors or GGUF, with JSON held to a schema.

A prompt becomes one user turn when the tokenizer has a chat template, and is plain text when it has none. Prompts are
sorted by length, so that a batch pads little, and padded on the left, so that all continue at the same place.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import ModelError
from models.language.json_schemas import JsonGrammar
from models.language.prompts import prompt_ids, system_turns
from models.language.sampling import SeededChoice, checked_seeds, plain_generation
from models.placement import in_batches
from models.pretrained import no_progress_bars
from models.shared import shared

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from models.placement import Placement
    from models.schemes.weights import Weights

# B rows, L tokens, V vocabulary


class TransformersText:
    """A TextGenerator over any `AutoModelForCausalLM` checkpoint.

    The same prompt gives the same text in any batch, up to rounding: a longer neighbour adds padding, padding and batch
    size change the order of sums, and a near-tie between two tokens may then fall the other way. On the CPU in float32
    that is rare; in half precision on a GPU it happens.
    """

    def __init__(self, weights: Weights, placement: Placement, *, system_prompt: str | None = None) -> None:
        """Load the checkpoint. `system_prompt` None leaves that turn to the chat template.

        Raises ValueError for a `system_prompt` where there is no chat template.
        """
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        folder, arguments = _source(weights)

        def load() -> Any:
            model = AutoModelForCausalLM.from_pretrained(folder, dtype=placement.torch_dtype(), **arguments)
            return model.to(placement.torch_device()).eval()

        with no_progress_bars():
            self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, **arguments)
            self._system = system_turns(self._tokenizer, system_prompt)
            self._model: Any = shared(weights, placement, AutoModelForCausalLM, load)
        self._stops = torch.tensor(plain_generation(self._model, self._tokenizer), dtype=torch.long)
        self._batch_size = placement.batch_size
        self._json: JsonGrammar | None = None

    def generate(
        self,
        prompts: Sequence[str],
        *,
        max_new_tokens: int,
        json_schema: Mapping[str, Any] | None = None,
        temperature: float = 0.0,
        seeds: Sequence[int] | None = None,
    ) -> list[str]:
        """One continuation a prompt, without the prompt. For JSON see `JsonGrammar`.

        Raises ValueError for a prompt that leaves no room for `max_new_tokens`, and for seeds that do not match.
        """
        seeds = checked_seeds(prompts, temperature, seeds)
        ids = [prompt_ids(self._tokenizer, self._system, prompt) for prompt in prompts]
        self._check_length(ids, max_new_tokens)
        order = sorted(range(len(ids)), key=lambda row: -len(ids[row]))  # the longest first: too much shows at once

        def run(rows: Sequence[int]) -> list[str]:
            processors = [] if json_schema is None else self._grammar().processors(json_schema)
            if seeds is not None:
                processors.append(SeededChoice([seeds[row] for row in rows], temperature))
            return self._continue([ids[row] for row in rows], max_new_tokens, processors)

        texts = dict(zip(order, in_batches(run, order, self._batch_size), strict=True))
        return [texts[row] for row in range(len(ids))]

    def count_tokens(self, texts: Sequence[str]) -> int:
        """Tokens of all texts together, special ones left out: what speed is measured in."""
        return sum(map(len, self._tokenizer(list(texts), add_special_tokens=False)["input_ids"])) if texts else 0

    def _grammar(self) -> JsonGrammar:
        if self._json is None:
            width = self._model.get_output_embeddings().weight.shape[0]
            self._json = JsonGrammar(self._tokenizer, vocab_size=width, stops=self._stops.tolist())
        return self._json

    def _check_length(self, ids: list[list[int]], max_new_tokens: int) -> None:
        most = getattr(self._model.config, "max_position_embeddings", None)
        longest = max(map(len, ids), default=0)
        if most is not None and longest + max_new_tokens > most:
            raise ValueError(
                f"a prompt of {longest} tokens and max_new_tokens {max_new_tokens} exceed the {most} that the model "
                "reads; shorten the prompt or ask for fewer"
            )

    def _continue(self, ids: list[list[int]], max_new_tokens: int, processors: list[Any]) -> list[str]:
        import torch
        from transformers import LogitsProcessorList

        inputs = self._tokenizer.pad({"input_ids": ids}, padding_side="left", return_tensors="pt")
        with torch.inference_mode():
            out_BL = self._model.generate(
                **inputs.to(self._model.device),
                max_new_tokens=max_new_tokens,
                do_sample=False,
                logits_processor=LogitsProcessorList(processors),
            )
        return [self._decode(row) for row in out_BL[:, inputs["input_ids"].shape[1] :].cpu()]

    def _decode(self, new_L: Any) -> str:
        import torch

        ends = torch.isin(new_L, self._stops).nonzero()
        kept = new_L[: int(ends[0])] if len(ends) else new_L
        return str(self._tokenizer.decode(kept, skip_special_tokens=True, clean_up_tokenization_spaces=False))


def _source(weights: Weights) -> tuple[str, dict[str, Any]]:
    """The folder to load from, and the arguments: those of the weights, and a GGUF file's name."""
    path, arguments = Path(weights.location), weights.pretrained_arguments()
    if path.is_file():
        return str(path.parent), {**arguments, "gguf_file": path.name}
    files = sorted(path.glob("*.gguf"))
    if not files or any(path.glob("*.safetensors")):
        return weights.location, arguments
    if len(files) > 1:
        raise ModelError(
            f"model {weights.model_id!r}: {path} holds {len(files)} GGUF files; name one, path:{path}/{files[0].name}"
        )
    return str(path), {**arguments, "gguf_file": files[0].name}
