"""Settings of editors behind OpenAI's interfaces, and the fields of a request that they become."""

from __future__ import annotations

import json
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from core.settings import Settings

OWN_FIELDS = frozenset({
    "model", "prompt", "image", "image[]", "mask", "mask_image", "n", "response_format", "messages", "stream", "seed",
    "num_inference_steps", "guidance_scale", "extra_body",
})  # fmt: skip
"""Fields of a request that the editor fills in itself."""


class OpenaiEditorSettings(Settings):
    """Settings of an editor behind an endpoint that decide its images. Seeds are sent to `vllm-omni` only."""

    ask: Literal["images", "chat"] = "images"
    """What is asked: `/v1/images/edits`, or `/v1/chat/completions` with the image in the message."""
    server: Literal["openai", "vllm-omni"] = "openai"
    """Whose fields are sent: OpenAI's own, which have no seed, or those that vLLM-Omni adds."""
    num_steps: int | None = Field(None, ge=1)
    """Steps from pure noise to an image, for vLLM-Omni; None: the model's own."""
    guidance_scale: float | None = Field(None, ge=0)
    """Weight of the instruction, for vLLM-Omni; None: the model's own."""
    fields: dict[str, Any] = Field(default_factory=dict)
    """Further fields of every request, as the server documents them: `fields = { quality = "high" }`."""
    max_side_px: int = Field(2048, ge=16)
    """Longest side of an image that is sent; a larger one is sent smaller."""
    max_shape_difference: float = Field(0.05, ge=0)
    """Greatest difference of an answer's ratio of width to height from the image's, as a share of it."""

    @field_validator("fields")
    @classmethod
    def _can_be_sent(cls, fields: dict[str, Any]) -> dict[str, Any]:
        if own := sorted(OWN_FIELDS & set(fields)):
            raise ValueError(f"{own[0]} is filled in by the editor; leave it out")
        try:
            json.dumps(fields, allow_nan=False)
        except (TypeError, ValueError):
            raise ValueError("expected texts, numbers, true, false, and lists and tables of them") from None
        return fields

    @model_validator(mode="after")
    def _fits_the_server(self) -> Self:
        if self.server == "openai" and (self.num_steps is not None or self.guidance_scale is not None):
            raise ValueError(
                'OpenAI\'s interface has no steps and no guidance; leave them out, or set server = "vllm-omni"'
            )
        if self.ask == "images" and any(isinstance(value, list | dict) for value in self.fields.values()):
            raise ValueError("the form of images/edits has no lists and tables: leave them out of fields")
        return self

    def sampling(self, seed: int) -> dict[str, Any]:
        """The fields of one request besides model, text and images."""
        if self.server == "openai":
            return dict(self.fields)
        own = {"seed": seed, "num_inference_steps": self.num_steps, "guidance_scale": self.guidance_scale}
        return {**self.fields, **{name: value for name, value in own.items() if value is not None}}
