"""Settings of every stage that asks a language model for edits of captions, and the artifact that such stages share."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from core.settings import Settings
from models.protocols import TextGenerator
from pipeline.stage import Serves
from stages.language_edits.asking import Asking
from stages.language_edits.judged import Lengths

EXAMPLES = "examples"
"""Name of the artifact that `grow_examples` leaves."""
EXAMPLES_FILE = "examples.jsonl"
"""The set in that artifact's folder."""


class AskingSettings(Settings):
    """Which captions are edited, how the model is asked, and the bounds on its answers."""

    model: Annotated[str, Serves(TextGenerator)]
    """A TextGenerator: `zoo:llm`, `hf:Qwen/Qwen3-4B-Instruct-2507@<commit>`, `openai:MODEL@URL`."""
    caption_column: Literal["caption", "generated_caption"] = "caption"
    """Column to edit: the caption that came with the image, or the one that stage `caption` wrote."""
    shares: dict[str, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    """Type of edit -> weight. Empty: the types of the example set, in equal shares."""
    num_instructions: int = Field(default=50, ge=0)
    """Sampled instructions in a prompt (50 in the paper)."""
    num_examples: int = Field(default=10, ge=0)
    """Sampled whole examples in a prompt (10 in the paper)."""
    repeats_caption: bool = False
    """Ask for the caption in the answer, first. Without it, very small models edit the captions of the examples."""
    temperature: float = Field(default=0.7, gt=0)
    """Of the draw of tokens."""
    max_new_tokens: int = Field(default=200, ge=1)
    """Longest answer."""
    max_retries: int = Field(default=2, ge=0)
    """How often an edit is asked for anew, with another seed."""
    max_repairs: int = Field(default=0, ge=0)
    """How often an answer that parses and fails a check goes back to the model with its faults in words."""
    min_instruction_words: int = Field(default=2, ge=1)
    """Least words of both instructions."""
    max_instruction_words: int = Field(default=30, ge=1)
    """Most words of both instructions."""
    min_caption_words: int = Field(default=2, ge=1)
    """Least words of the target caption."""
    max_caption_words: int = Field(default=60, ge=1)
    """Most words of the caption and of the target caption (60 in UltraEdit's code)."""

    @model_validator(mode="after")
    def _check_bounds(self) -> Self:
        if self.shares and not any(self.shares.values()):
            raise ValueError("shares are all 0; give at least one type of edit a weight")
        for text in ("instruction", "caption"):
            least, most = getattr(self, f"min_{text}_words"), getattr(self, f"max_{text}_words")
            if least > most:
                raise ValueError(f"min_{text}_words = {least} is above max_{text}_words = {most}; lower it")
        return self

    def needs_columns(self) -> tuple[str, ...]:
        """The captions to edit."""
        return (self.caption_column,)

    def shares_of(self, edit_types: tuple[str, ...]) -> dict[str, float]:
        """The weight of each type of edit, of these in equal shares where no setting gives any."""
        return {name: weight for name, weight in self.shares.items() if weight} or dict.fromkeys(edit_types, 1.0)

    def asking(self, edit_types: tuple[str, ...]) -> Asking:
        """How answers of those types are asked for."""
        return Asking(
            edit_types=edit_types,
            repeats_caption=self.repeats_caption,
            max_new_tokens=self.max_new_tokens,
            temperature=self.temperature,
            max_retries=self.max_retries,
            max_repairs=self.max_repairs,
            lengths=Lengths(
                min_instruction=self.min_instruction_words,
                max_instruction=self.max_instruction_words,
                min_caption=self.min_caption_words,
                max_caption=self.max_caption_words,
            ),
        )
