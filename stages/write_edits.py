"""Write edits of each caption with a language model, check them, and ask again for those that fail.

Reads   caption (string) or generated_caption (string), as `caption_column` says
Writes  source_caption (string), target_caption (string), instruction (string), reverse_instruction (string),
        edit_type (string), source_phrase (string), target_phrase (string), edit_object (string), edit_writer (string)
Drops   rows without a caption (no_caption) or with one too long (wrong_length); captions of which no edit passed, by
        the fault that most answers had. An edit of which no answer passed is left out; notes count every fault.
Source  Zhao et al. 2024, UltraEdit (arXiv 2407.05282), section 2.1 and appendix A.2: in-context instructions and
        examples, three edits a caption. One prompt an edit is chosen, so that types can be balanced; checks are chosen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

import pyarrow as pa
from pydantic import Field, model_validator

from models.language.example_sets import EditExamples, read_examples
from models.language.wordnet import WordNet
from models.protocols import TextGenerator
from pipeline.stage import BatchFn, ExpandStage, Needs, Serves
from samples.columns import PARENT_ID, REJECT_DETAIL, REJECT_REASON, SAMPLE_ID, arrow_schema
from stages.language_edits.asking import Asking
from stages.language_edits.checks import EditFault, Lengths
from stages.language_edits.writer import EditWriter, Writing
from stages.wordnet_edits.edits import EditFinder
from stages.wordnet_edits.sisters import Sisters

if TYPE_CHECKING:
    from enum import StrEnum

    from pipeline.context import Context

EXAMPLES = "examples"
"""Name of the artifact that `grow_examples` leaves."""
EXAMPLES_FILE = "examples.jsonl"
"""The set in that artifact's folder."""
WORDNET_OPTIONS = 6
"""How many of the best replacements of a noun one is drawn from, where WordNet writes."""


class WriteEdits(ExpandStage):
    """Edits of a caption by a language model, each of a type that is drawn, each checked by rules on its words."""

    version: ClassVar[int] = 1
    reads_if_present: ClassVar[tuple[str, ...]] = ("caption", "generated_caption")
    writes: ClassVar[tuple[str, ...]] = (
        "source_caption", "target_caption", "instruction", "reverse_instruction", "edit_type", "source_phrase",
        "target_phrase", "edit_object", "edit_writer",
    )  # fmt: skip
    rejects: ClassVar[type[StrEnum] | None] = EditFault
    needs: ClassVar[Needs] = Needs(gpu=1.0, memory_bytes=2 << 30)
    uses_rng: ClassVar[bool] = True

    model: Annotated[str, Serves(TextGenerator)]
    """A TextGenerator: `zoo:llm`, `hf:Qwen/Qwen3-4B-Instruct-2507@<commit>`, `openai:MODEL@URL`."""
    caption_column: Literal["caption", "generated_caption"] = "caption"
    """Column to edit: the caption that came with the image, or the one that stage `caption` wrote."""
    edits_per_caption: int = Field(default=3, ge=1)
    """Most edits of one caption; fewer where answers fail."""
    shares: dict[str, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    """Type of edit -> weight. Empty: the types of the example set, in equal shares."""
    examples: Annotated[str | None, Serves(EditExamples)] = "examples:photographs"
    """Set of examples that prompts are made of: `examples:NAME`, `path:FILE.jsonl`, or none."""
    grown_examples: bool = False
    """Take the examples from the pool that `grow_examples` made in their place."""
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
    wordnet_frac: float = Field(default=0.0, ge=0, le=1)
    """Share of the captions that WordNet edits in the model's place, where it finds an edit."""
    lexicon: Annotated[str | None, Serves(WordNet)] = None
    """WordNet version, for `wordnet_frac` above 0: `wordnet:3.0`."""

    @model_validator(mode="after")
    def _check_sources(self) -> Self:
        if self.wordnet_frac and self.lexicon is None:
            raise ValueError('wordnet_frac needs a lexicon; set lexicon = "wordnet:3.0"')
        if self.shares and not any(self.shares.values()):
            raise ValueError("shares are all 0; give at least one type of edit a weight")
        has_examples = self.grown_examples or self.examples is not None
        if not has_examples and (self.num_instructions or self.num_examples):
            raise ValueError("without examples set num_instructions = 0 and num_examples = 0, or name a set")
        if not has_examples and not self.shares:
            raise ValueError("without examples the types of edit are not known; set shares")
        return self

    def needs_columns(self) -> tuple[str, ...]:
        """The captions to edit."""
        return (self.caption_column,)

    def needs_artifacts(self) -> tuple[str, ...]:
        """The grown examples, where they are used."""
        return (EXAMPLES,) if self.grown_examples else ()

    def open(self, ctx: Context) -> BatchFn:
        """Load the model, the examples and the lexicon once."""
        examples = EditExamples(())
        if self.grown_examples:
            examples = read_examples(ctx.artifacts[EXAMPLES] / EXAMPLES_FILE)
        elif self.examples is not None:
            examples = ctx.load(EditExamples, self.examples)
        finder = None
        if self.lexicon is not None:
            finder = EditFinder(Sisters(wordnet=ctx.load(WordNet, self.lexicon)), WORDNET_OPTIONS)
        writer = EditWriter(ctx.load(TextGenerator, self.model), self._writing(examples), finder)

        def write(batch: pa.Table) -> pa.Table:
            pairs = zip(batch[SAMPLE_ID].to_pylist(), batch[self.caption_column].to_pylist(), strict=True)
            captions = [(sample_id, " ".join((caption or "").split())) for sample_id, caption in pairs]
            rows = writer.rows(captions, ctx)
            schema = arrow_schema((SAMPLE_ID, PARENT_ID, *self.writes))
            schema = schema.append(pa.field(REJECT_REASON, pa.string())).append(pa.field(REJECT_DETAIL, pa.string()))
            return pa.Table.from_pylist(rows, schema=schema)

        return write

    def _writing(self, examples: EditExamples) -> Writing:
        shares = self.shares or dict.fromkeys(examples.edit_types, 1.0)
        asking = Asking(
            edit_types=tuple(name for name, weight in shares.items() if weight),
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
        return Writing(
            asking=asking,
            edits_per_caption=self.edits_per_caption,
            shares=shares,
            examples=examples.edits,
            num_instructions=self.num_instructions,
            num_examples=self.num_examples,
            wordnet_frac=self.wordnet_frac,
        )
