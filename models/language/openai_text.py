"""A language model behind OpenAI's chat interface, local or hosted.

Its answers are not pinned: a server may change its weights under the same name, and few give the same text for the
same seed. A build that must be repeatable runs the model itself (`hf:`, `path:`, `vllm:`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from models.language.chat_endpoint import ChatEndpoint
from models.language.sampling import checked_seeds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from models.placement import Placement
    from models.schemes.weights import Weights


class OpenaiText:
    """A TextGenerator that asks an endpoint. JSON is held to a schema by the server (`response_format`)."""

    def __init__(
        self, weights: Weights, placement: Placement, *, system_prompt: str | None = None, timeout_s: float = 120.0
    ) -> None:
        """Open no connection yet."""
        self._endpoint = ChatEndpoint(weights, placement, timeout_s=timeout_s)
        self._system = [] if system_prompt is None else [{"role": "system", "content": system_prompt}]

    def generate(
        self,
        prompts: Sequence[str],
        *,
        max_new_tokens: int,
        json_schema: Mapping[str, Any] | None = None,
        temperature: float = 0.0,
        seeds: Sequence[int] | None = None,
    ) -> list[str]:
        """One answer a prompt. Raises what `ChatEndpoint.ask` raises, and ValueError for seeds that do not match."""
        seeds = checked_seeds(prompts, temperature, seeds)
        shared: dict[str, Any] = {"max_tokens": max_new_tokens, "temperature": temperature}
        if json_schema is not None:
            schema = {"name": "answer", "schema": dict(json_schema), "strict": True}
            shared["response_format"] = {"type": "json_schema", "json_schema": schema}
        requests = []
        for row, prompt in enumerate(prompts):
            own = {} if seeds is None else {"seed": seeds[row]}
            requests.append({"messages": [*self._system, {"role": "user", "content": prompt}], **shared, **own})
        return self._endpoint.ask(requests)
