"""Write edits of each caption with a language model, check them, and ask again for those that fail.

With `captions_per_instruction` above 1 each edit is followed by further pairs of captions to which the very same
instruction applies, for images that are drawn from captions alone.

Reads   caption (string) or generated_caption (string), as `caption_column` says
Writes  source_caption (string), target_caption (string), instruction (string), reverse_instruction (string),
        edit_type (string), source_phrase (string), target_phrase (string), edit_object (string), edit_writer (string)
Drops   rows without a caption (no_caption) or with one too long (wrong_length); captions of which no edit passed, by
        the fault that most answers had. An edit of which no answer passed is left out, and so is a further pair; notes
        count every fault.
Source  Zhao et al. 2024, UltraEdit (arXiv 2407.05282), section 2.1 and appendix A.2: in-context instructions and
        examples, three edits a caption. One prompt an edit is chosen, so that types can be balanced; checks are chosen.
        Meng et al. 2024, InstructGIE (arXiv 2403.05018): one instruction for several captions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

import pyarrow as pa
from pydantic import Field, model_validator

from models.language.example_sets import EditExamples, read_examples
from models.language.wordnet import WordNet
from models.protocols import TextGenerator
from pipeline.stage import BatchFn, ExpandStage, Needs, Serves
from samples.columns import SAMPLE_ID, expanded_schema
from stages.language_edits.further_captions.by_model import ModelPairs
from stages.language_edits.further_captions.by_wordnet import WordnetPairs
from stages.language_edits.further_captions.find import FurtherPairs, PairFinder
from stages.language_edits.judged import EditFault
from stages.language_edits.settings import EXAMPLES, EXAMPLES_FILE, AskingSettings
from stages.language_edits.writer import EditWriter, Writing
from stages.wordnet_edits.edits import EditFinder
from stages.wordnet_edits.sisters import Sisters
from stages.wordnet_edits.word_counts import VOCABULARY, read_word_counts

if TYPE_CHECKING:
    from enum import StrEnum

    from pipeline.context import Context

WORDNET_OPTIONS = 6
"""How many of the best replacements of a noun one is drawn from, where WordNet writes."""


class WriteEdits(AskingSettings, ExpandStage):
    """Edits of a caption by a language model, each of a type that is drawn, each checked by rules on its words."""

    version: ClassVar[int] = 1
    reads_if_present: ClassVar[tuple[str, ...]] = ("caption", "generated_caption")
    writes: ClassVar[tuple[str, ...]] = (
        "source_caption", "target_caption", "instruction", "reverse_instruction", "edit_type", "source_phrase",
        "target_phrase", "edit_object", "edit_writer",
    )  # fmt: skip
    rejects: ClassVar[type[StrEnum] | None] = EditFault
    needs: ClassVar[Needs] = Needs(gpu=1.0, memory_bytes=2 << 30, packages=("wordfreq", "inflect"))
    uses_rng: ClassVar[bool] = True

    edits_per_caption: int = Field(default=3, ge=1)
    """Most edits of one caption; fewer where answers fail."""
    examples: Annotated[str | None, Serves(EditExamples)] = "examples:photographs"
    """Set of examples that prompts are made of: `examples:NAME`, `path:FILE.jsonl`, or none."""
    grown_examples: bool = False
    """Take the examples from the pool that `grow_examples` made in their place."""
    wordnet_frac: float = Field(default=0.0, ge=0, le=1)
    """Share of the captions that WordNet edits in the model's place, where it finds an edit."""
    lexicon: Annotated[str | None, Serves(WordNet)] = None
    """WordNet version, for `wordnet_frac` above 0 and for `further_captions` by WordNet: `wordnet:3.0`."""
    captions_per_instruction: int = Field(default=1, ge=1)
    """Most captions that share an instruction, the edited one among them (5 in InstructGIE)."""
    further_captions: Literal["model", "wordnet"] = "model"
    """Who finds the other captions: the language model invents them, or rules and WordNet vary the edited one."""
    vocabulary: Literal["any", "captions"] = "any"
    """Words that WordNet may put in: frequent ones, or those that `count_words` counted in the captions."""
    min_corpus_count: int = Field(default=5, ge=1)
    """Least occurrences of a word, for `captions`."""

    @model_validator(mode="after")
    def _check_sources(self) -> Self:
        if self.wordnet_frac and self.lexicon is None:
            raise ValueError('wordnet_frac needs a lexicon; set lexicon = "wordnet:3.0"')
        if self.lexicon is None and self.further_captions == "wordnet":
            raise ValueError('further_captions = "wordnet" needs a lexicon; set lexicon = "wordnet:3.0"')
        if self.lexicon is None and self.vocabulary == "captions":
            raise ValueError('vocabulary = "captions" bounds the words of WordNet; set lexicon = "wordnet:3.0"')
        has_examples = self.grown_examples or self.examples is not None
        if not has_examples and (self.num_instructions or self.num_examples):
            raise ValueError("without examples set num_instructions = 0 and num_examples = 0, or name a set")
        if not has_examples and not self.shares:
            raise ValueError("without examples the types of edit are not known; set shares")
        return self

    def needs_artifacts(self) -> tuple[str, ...]:
        """The grown examples and the counts of the captions' words, where they are used."""
        used = {EXAMPLES: self.grown_examples, VOCABULARY: self.vocabulary == "captions"}
        return tuple(name for name, is_used in used.items() if is_used)

    def open(self, ctx: Context) -> BatchFn:
        """Load the model, the examples and the lexicon once."""
        examples = EditExamples(())
        if self.grown_examples:
            examples = read_examples(ctx.artifacts[EXAMPLES] / EXAMPLES_FILE)
        elif self.examples is not None:
            examples = ctx.load(EditExamples, self.examples)
        model, writing = ctx.load(TextGenerator, self.model), self._writing(examples)
        counts = read_word_counts(ctx.artifacts[VOCABULARY]) if self.vocabulary == "captions" else None
        finder = None if self.lexicon is None else self._finder(ctx.load(WordNet, self.lexicon), counts)
        writer = EditWriter(model, writing, finder, self._further(model, writing, finder, counts))

        def write(batch: pa.Table) -> pa.Table:
            pairs = zip(batch[SAMPLE_ID].to_pylist(), batch[self.caption_column].to_pylist(), strict=True)
            captions = [(sample_id, " ".join((caption or "").split())) for sample_id, caption in pairs]
            rows = writer.rows(captions, ctx)
            return pa.Table.from_pylist(rows, expanded_schema(self.writes))

        return write

    def _finder(self, wordnet: WordNet, counts: dict[str, int] | None) -> EditFinder:
        """Finds the words that WordNet may change."""
        sisters = Sisters(wordnet=wordnet)
        if counts is not None:
            sisters = Sisters(wordnet=wordnet, vocabulary="corpus", corpus=counts, min_count=self.min_corpus_count)
        return EditFinder(sisters, WORDNET_OPTIONS)

    def _further(
        self, model: TextGenerator, writing: Writing, finder: EditFinder | None, counts: dict[str, int] | None
    ) -> FurtherPairs | None:
        """What finds further captions for each instruction, if it is to have any."""
        if self.captions_per_instruction == 1:
            return None
        pairs: PairFinder = ModelPairs(model, writing.asking, writing.examples, self.num_examples)
        if finder is not None and self.further_captions == "wordnet":
            pairs = WordnetPairs(finder, writing.asking.lengths, counts, self.min_corpus_count)
        return FurtherPairs(pairs, self.captions_per_instruction - 1)

    def _writing(self, examples: EditExamples) -> Writing:
        shares = self.shares_of(examples.edit_types)
        return Writing(
            asking=self.asking(tuple(shares)),
            edits_per_caption=self.edits_per_caption,
            shares=shares,
            examples=examples.edits,
            num_instructions=self.num_instructions,
            num_examples=self.num_examples,
            wordnet_frac=self.wordnet_frac,
        )
