"""Which things have fine detail that people look at: a fixed list of labels, or a language model asked for each.

Labels are those of a panoptic segmenter, such as COCO's. A name means a label that it equals, capitals left out, or
equals without the ends that COCO gives to its merged classes: "paper" means "paper-merged", "food" means
"food-other-merged". "wall" does not mean "wall-brick". Of a label with several names (ADE20K's "person, individual")
each name counts. Underscores are blanks.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from models.protocols import TextGenerator

ANIMALS = ("bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe")
"""The animals of COCO."""
FACES = ("person", *ANIMALS, "teddy bear")
SURFACES_WITH_TEXT = (
    "stop sign", "parking meter", "clock", "book", "banner", "paper", "tv", "laptop", "cell phone", "keyboard",
    "remote",
)  # fmt: skip
"""Things of COCO that have letters, digits or keys on them, or a screen."""
DETAILED = (*FACES, *SURFACES_WITH_TEXT)

_ENDS = re.compile(r"(?:-other)?(?:-merged)?$|-stuff$")
_QUESTION = "Thing: {thing}\nAnswer:"
_SHOTS = (
    ("human hand", "yes"),
    ("cloud", "no"),
    ("newspaper", "yes"),
    ("gravel", "no"),
    ("fox", "yes"),
    ("wall", "no"),
)
INTRODUCTION = (
    "Is fine detail of this thing what people look at in a photograph? Faces, hands, animals and text: yes. Surfaces, "
    "ground, sky and furniture: no."
)
MAX_NEW_TOKENS = 4
_ANSWER = re.compile(r"\W*(?:answer\W*)?(yes|no)\b")


def names_of(label: str) -> frozenset[str]:
    """The names that mean this label."""
    plain = " ".join(label.casefold().replace("_", " ").split())
    names = {plain, *(part.strip() for part in plain.split(","))}
    return frozenset(names | {_ENDS.sub("", name) for name in names})


class DetailLabels:
    """Tells labels of detailed things from others.

    With a language model each label is asked about once, and the list decides where no "yes" or "no" comes back.
    """

    def __init__(self, listed: Iterable[str], model: TextGenerator | None = None) -> None:
        self._listed = frozenset(name for one in listed for name in names_of(one))
        self._model = model
        self._is_detailed: dict[str, bool] = {}

    def chosen(self, labels: Iterable[str]) -> frozenset[str]:
        """Those of the labels that have detail. The decision on one does not depend on the others."""
        asked = list(dict.fromkeys(labels))
        unknown = [label for label in asked if label not in self._is_detailed]
        answers = self._answers(unknown)
        for label, answer in zip(unknown, answers, strict=True):
            self._is_detailed[label] = bool(names_of(label) & self._listed) if answer is None else answer
        return frozenset(label for label in asked if self._is_detailed[label])

    def _answers(self, labels: list[str]) -> list[bool | None]:
        """True for yes, False for no, None where the model does not say or there is none."""
        if self._model is None or not labels:
            return [None] * len(labels)
        prompts = [detail_prompt(label) for label in labels]
        texts = self._model.generate(prompts, max_new_tokens=MAX_NEW_TOKENS)
        found = [_ANSWER.match(text.casefold()) for text in texts]
        return [None if match is None else match[1] == "yes" for match in found]


def detail_prompt(label: str) -> str:
    """The question about one label, after examples: a base model continues it with yes or no."""
    shown = [f"{_QUESTION.format(thing=thing)} {answer}" for thing, answer in _SHOTS]
    thing = _ENDS.sub("", " ".join(label.casefold().replace("_", " ").split()))
    return "\n\n".join([INTRODUCTION, *shown, _QUESTION.format(thing=thing)])
