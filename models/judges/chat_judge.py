"""Vision-language chat models (Qwen-VL, InternVL, Gemma 3 …) as judges of edits: checkpoints with a chat template.

Decoding is greedy, and held to the schema by xgrammar: a reply can only fail to be read where it is cut off at
`max_new_tokens`. Preprocessing is the checkpoint's own processor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from models.batches import as_rgb, same_length
from models.judges.prompt import REASON_CHARS, content, prompt_sha256, schema
from models.language.json_schemas import JsonGrammar
from models.language.sampling import plain_generation
from models.placement import in_batches
from models.pretrained import load_pretrained
from models.protocols import JudgeReply

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.placement import Placement
    from models.protocols import JudgeRequest
    from models.schemes.weights import Weights

# B rows, L tokens


class ChatJudge:
    """An EditJudge that asks a vision-language chat model, one user turn with both images."""

    def __init__(self, weights: Weights, placement: Placement, *, max_new_tokens: int = 400) -> None:
        """Load the checkpoint. Raises ValueError for one without a chat template."""
        from transformers import AutoModelForImageTextToText, AutoProcessor

        self._processor, self._model = load_pretrained(AutoProcessor, AutoModelForImageTextToText, weights, placement)
        if not getattr(self._processor, "chat_template", None):
            raise ValueError(f"{weights.model_id} has no chat template; name an instruction-tuned checkpoint")
        stops = plain_generation(self._model, self._processor.tokenizer)
        width = self._model.get_output_embeddings().weight.shape[0]
        self._grammar = JsonGrammar(self._processor.tokenizer, vocab_size=width, stops=stops)
        self._batch_size = placement.batch_size
        self._max_new_tokens = max_new_tokens
        self.prompt_sha256 = prompt_sha256()

    def judge(self, requests: Sequence[JudgeRequest], *, seeds: Sequence[int]) -> list[JudgeReply]:
        """One reply a request. Greedy decoding leaves nothing to chance, so the seeds change nothing."""
        same_length(requests=requests, seeds=seeds)
        return in_batches(self._judge, requests, self._batch_size)

    def _judge(self, requests: Sequence[JudgeRequest]) -> list[JudgeReply]:
        import torch
        from transformers import LogitsProcessorList

        inputs = self._processor.apply_chat_template(
            [[{"role": "user", "content": _parts(request)}] for request in requests],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": True},
        ).to(self._model.device, dtype=self._model.dtype)
        held = LogitsProcessorList(self._grammar.processors(schema(REASON_CHARS)))
        with torch.inference_mode():
            tokens_BL = self._model.generate(
                **inputs, max_new_tokens=self._max_new_tokens, do_sample=False, logits_processor=held
            )
        given = inputs["input_ids"].shape[1]
        texts = self._processor.batch_decode(tokens_BL[:, given:], skip_special_tokens=True)
        read = inputs["attention_mask"].sum(1).tolist()
        padding = self._processor.tokenizer.pad_token_id
        written = (tokens_BL[:, given:] != padding).sum(1).tolist()
        return [JudgeReply(text, "text", *tokens) for text, *tokens in zip(texts, read, written, strict=True)]


def _parts(request: JudgeRequest) -> list[dict[str, Any]]:
    before, after = ({"type": "image", "image": image} for image in as_rgb([request.source, request.edited]))
    return content(request, before, after)
