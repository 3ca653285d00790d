"""Tag each source image with the things on it.

Reads   source_images (list<binary>), and caption (string), generated_caption (string) or source_caption (string) as
        `caption_column` says, where nouns of captions are tried
Writes  object_tags (list<string>), object_tag_cos (list<float32>, cosine)
Drops   nothing: an image without tags has an empty list
Source  Zhao et al. 2024, UltraEdit (arXiv 2407.05282), stage III, tags with RAM (Zhang et al. 2023). RAM's weights
        cannot be had as safetensors, only as a pickle, which this project does not open. CLIP tags in its place:
        zero-shot over a vocabulary (Radford et al. 2021, section 3.1) and the nouns of the image's own caption.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import pyarrow as pa
from pydantic import Field, model_validator

from models.language.wordnet import MODEL_ID, WordNet
from models.protocols import Tagger
from pipeline.stage import MapStage, Serves
from samples.columns import column
from samples.stored_images import first_images
from stages.regions.nouns import caption_nouns, counted_nouns, everyday_things
from stages.wordnet_edits.word_counts import VOCABULARY, read_word_counts

if TYPE_CHECKING:
    from pipeline.context import Context
    from pipeline.stage import BatchFn

DECIMALS = 5
"""Kept of a cosine: what lies below depends on how rows fell into batches."""


class TagObjects(MapStage):
    """The words nearest to each image in the space of an encoder of images and texts."""

    version: ClassVar[int] = 1  # raise it when stages/regions/vocabulary.txt changes
    reads: ClassVar = ("source_images",)
    reads_if_present: ClassVar = ("caption", "generated_caption", "source_caption")
    writes: ClassVar = ("object_tags", "object_tag_cos")

    model: Annotated[str, Serves(Tagger)]
    """A Tagger: `zoo:clip`, `open_clip:ViT-L-14/openai` …"""
    vocabulary: Literal["everyday", "captions"] = "everyday"
    """Words that are tried on every image: the bundled list of everyday things, or the nouns that `count_words` counted
    in the captions."""
    words: tuple[str, ...] = Field(default=(), strict=False)
    """Words that are tried in place of `vocabulary`, where there are any."""
    min_corpus_count: int = Field(default=5, ge=1)
    """Least occurrences of a noun, for `captions`."""
    lexicon: Annotated[str | None, Serves(WordNet)] = MODEL_ID
    """WordNet version that finds the nouns of captions; none to try the vocabulary alone."""
    caption_column: Literal["caption", "generated_caption", "source_caption"] = "caption"
    """Column with the caption whose nouns are tried on its image."""
    threshold: float = Field(default=0.2, ge=-1, le=1)
    """Least cosine of a tag; encoders differ. Chosen for CLIP."""
    max_tags: int = Field(default=20, ge=1)
    """Most tags of an image."""

    @model_validator(mode="after")
    def _can_tag(self) -> TagObjects:
        if not all(word.strip() for word in self.words):
            raise ValueError("words: one of them is empty; expected a noun each")
        if twice := [word for word in self.words if self.words.count(word) > 1]:
            raise ValueError(f"words: {twice[0]!r} is there more than once; name each once")
        if self.vocabulary == "captions" and self.lexicon is None:
            raise ValueError("vocabulary = 'captions' needs a lexicon to know the nouns; name one")
        return self

    def needs_columns(self) -> tuple[str, ...]:
        """The captions, where their nouns are tried."""
        return () if self.lexicon is None else (self.caption_column,)

    def needs_artifacts(self) -> tuple[str, ...]:
        """The counts of the captions' words, where they are the vocabulary."""
        return (VOCABULARY,) if self.vocabulary == "captions" and not self.words else ()

    def open(self, ctx: Context) -> BatchFn:
        """Load the models and encode the vocabulary, once."""
        wordnet = None if self.lexicon is None else ctx.load(WordNet, self.lexicon)
        tagger = ctx.load(Tagger, self.model, tags=self._vocabulary(ctx, wordnet))

        def tag(batch: pa.Table) -> pa.Table:
            nouns: list[tuple[str, ...]] = []
            if wordnet is not None:
                nouns = [caption_nouns(caption or "", wordnet) for caption in batch[self.caption_column].to_pylist()]
            found = tagger.tag(first_images(batch["source_images"]), threshold=self.threshold, also=nouns)
            rounded = [sorted(((round(cos, DECIMALS), name) for name, cos in tags), key=_surest) for tags in found]
            kept = [tags[: self.max_tags] for tags in rounded]
            names = pa.array([[name for _, name in tags] for tags in kept], column("object_tags").type)
            cosines = pa.array([[cos for cos, _ in tags] for tags in kept], column("object_tag_cos").type)
            return batch.append_column("object_tags", names).append_column("object_tag_cos", cosines)

        return tag

    def _vocabulary(self, ctx: Context, wordnet: WordNet | None) -> tuple[str, ...]:
        if self.words:
            return self.words
        if self.vocabulary == "captions" and wordnet is not None:
            return counted_nouns(read_word_counts(ctx.artifacts[VOCABULARY]), self.min_corpus_count, wordnet)
        return everyday_things()


def _surest(tag: tuple[float, str]) -> tuple[float, str]:
    """Key of the order of tags: from high to low, equal ones by name."""
    cos, name = tag
    return -cos, name
