"""Find nouns that may replace a noun: co-hyponyms in WordNet that are common and look alike.

`Sisters` knows words, not captions. The kinds that keep a replacement visually comparable are `visual_kinds`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from stages.wordnet_edits.visual_kinds import BLOCKED_CLASSES, BLOCKED_USAGE, BLOCKED_WORDS, KINDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from models.language.wordnet import WordNet

Vocabulary = Literal["frequency", "corpus", "both"]
Scope = Literal["visual", "any"]

DEPICTABLE = frozenset({"noun.animal", "noun.artifact", "noun.food", "noun.object", "noun.plant"})
"""Lexicographer files whose nouns can be seen; persons and body parts are left alone."""

STEP_COST = 0.2
"""Zipf units that one step of distance in WordNet costs a candidate: near words come before frequent ones."""

PERSON_COUNT = 5
"""A noun tagged this often as a person in WordNet's concordance means a person: the pitcher of a ball game."""


@dataclass(kw_only=True)
class Sisters:
    """Co-hyponyms of a noun, best first, by its settings, WordNet and the corpus counts alone."""

    wordnet: WordNet
    depth: int = 5
    scope: Scope = "visual"
    vocabulary: Vocabulary = "frequency"
    min_zipf: float = 2.8
    min_count: int = 5
    corpus: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Resolve the kinds once. Answers are cached on the object."""
        self._kinds = {name: self._open_kind(name) for name in KINDS}
        self._blocked = frozenset(self.wordnet.synset(name) for name in BLOCKED_CLASSES)
        self._ranked: dict[str, tuple[str, ...]] = {}
        self._classes: dict[str, tuple[Any, frozenset[str]]] = {}

    def replacements(self, lemma: str) -> tuple[str, ...]:
        """Co-hyponyms that may replace a singular noun, best first, or empty for a noun not to be edited."""
        if lemma not in self._ranked:
            self._ranked[lemma] = self._rank(lemma)
        return self._ranked[lemma]

    def _rank(self, lemma: str) -> tuple[str, ...]:
        synset, kinds = self.class_of(lemma)
        if synset is None or (self.scope == "any" and synset.lexname() not in DEPICTABLE):
            return ()
        pool = self._siblings(synset) if self.scope == "any" else self._peers(kinds)
        climb = self.wordnet.ancestors(synset)
        scores: dict[str, float] = {}
        for word, other in pool.items():
            distance = self._distance(climb, other)
            if distance is None or lemma in {n.replace("_", " ").lower() for n in other.lemma_names()}:
                continue
            familiar = self._familiarity(word)
            if familiar is not None and word != lemma and not self._is_blocked(word, other):
                scores[word] = familiar - STEP_COST * distance
        as_tree = lemma.endswith(" tree")
        best = sorted(scores, key=lambda word: (-scores[word], word))
        return tuple(f"{word} tree" if as_tree and not word.endswith(" tree") else word for word in best)

    def _is_blocked(self, word: str, synset: Any) -> bool:
        marks = [*synset.usage_domains(), *(mark for entry in synset.lemmas() for mark in entry.usage_domains())]
        usage = {getattr(mark, "synset", lambda mark=mark: mark)().name() for mark in marks}
        weapon = not self._blocked.isdisjoint(self.wordnet.ancestors(synset))
        return weapon or word in BLOCKED_WORDS or not usage.isdisjoint(BLOCKED_USAGE)

    def _distance(self, climb: dict[Any, int], other: Any) -> int | None:
        """Steps between two synsets through an ancestor `depth` steps up at most, or None for an ancestor itself."""
        theirs = self.wordnet.ancestors(other)
        shared = [(up + theirs[node], up, theirs[node]) for node, up in climb.items() if node in theirs]
        if not shared:
            return None
        steps, up, down = min(shared)
        return None if up == 0 or down == 0 or up > self.depth else steps

    def is_in_corpus(self, word: str) -> bool:
        """True when the captions have the word often enough, or need not have it."""
        return self.vocabulary != "corpus" or self._familiarity(word) is not None

    def _familiarity(self, word: str) -> float | None:
        """How common a word is, or None when it is too rare for these settings."""
        from wordfreq import zipf_frequency

        count = min(self.corpus.get(part, 0) for part in word.lower().split(" "))
        if self.vocabulary == "corpus":
            return math.log10(count) if count >= self.min_count else None
        zipf = float(zipf_frequency(word, "en"))
        if zipf < self.min_zipf:
            return None
        return zipf + math.log10(1 + count) if self.vocabulary == "both" else zipf

    def _open_kind(self, name: str) -> dict[str, Any]:
        """The words of a kind and their synsets, sorted by word."""
        kind = KINDS[name]
        words: dict[str, Any] = {}
        for root in kind.roots:
            for synset in self.wordnet.descendants(self.wordnet.synset(root)):
                word = self._own_word(synset)
                if word is not None and kind.never.isdisjoint({synset.name(), f"{word}.n.01"}):
                    words[word] = synset
        for member in kind.members:
            synset_name, _, word = member.partition(":")
            words[(word or synset_name.split(".")[0]).replace("_", " ")] = self.wordnet.synset(synset_name)
        return {word: words[word] for word in sorted(words)}

    def _own_word(self, synset: Any) -> str | None:
        """The single lower-case word whose dominant sense this synset is, if there is one."""
        for name in synset.lemma_names():
            if name.isalpha() and name.islower() and self.wordnet.synsets(name, "n")[:1] == (synset,):
                nouns = self.wordnet.count(name, "n")
                others = self.wordnet.count(name, "v") + self.wordnet.count(name, "a")
                if nouns >= others and 2 * self.wordnet.sense_count(name, synset) >= nouns:
                    return str(name)
        return None

    def _peers(self, kinds: frozenset[str]) -> dict[str, Any]:
        return {word: synset for name in sorted(kinds) for word, synset in self._kinds[name].items()}

    def _siblings(self, synset: Any) -> dict[str, Any]:
        """Everything below an ancestor `depth` steps up, in the same lexicographer file: the scope `any`."""
        words: dict[str, Any] = {}
        for ancestor, up in self.wordnet.ancestors(synset).items():
            if 0 < up <= self.depth:
                for other in self.wordnet.descendants(ancestor):
                    word = self._own_word(other) if other.lexname() == synset.lexname() else None
                    if word is not None:
                        words[word] = other
        return words

    def class_of(self, lemma: str) -> tuple[Any, frozenset[str]]:
        """The sense of a noun that an image shows, and its kinds, or (None, no kinds) when it shows none."""
        if lemma not in self._classes:
            self._classes[lemma] = self._classify(lemma)
        return self._classes[lemma]

    def _classify(self, lemma: str) -> tuple[Any, frozenset[str]]:
        senses = self.wordnet.synsets(lemma, "n")
        for sense in senses:  # a sense that a kind lists with this word
            kinds = frozenset(name for name, words in self._kinds.items() if words.get(lemma) == sense)
            if kinds and not self._means_person(lemma, sense):
                return sense, kinds
        for sense in senses[:1]:  # a synonym of such a word, or a sort of it
            kin = set(self.wordnet.ancestors(sense)) if sense.lexname() in DEPICTABLE else set()
            synonyms = frozenset(name for name, words in self._kinds.items() if sense in words.values())
            kinds = synonyms or frozenset(name for name, words in self._kinds.items() if kin & set(words.values()))
            if kinds:
                return sense, kinds
        seen = [sense for sense in senses[:2] if sense.lexname() in DEPICTABLE | {"noun.location"}]
        return (seen[0] if seen and not self._means_person(lemma, seen[0]) else None), frozenset()

    def _means_person(self, lemma: str, sense: Any) -> bool:
        """True when an earlier sense of the noun is a person and well attested."""
        senses = self.wordnet.synsets(lemma, "n")
        earlier = senses[: senses.index(sense)] if sense in senses else ()
        return any(
            other.lexname() == "noun.person" and self.wordnet.sense_count(lemma, other) >= PERSON_COUNT
            for other in earlier
        )
