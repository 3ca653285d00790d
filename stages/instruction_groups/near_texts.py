"""Which instructions are one request: those of the same words, and those of near vectors.

Texts of the same words but for case, articles and punctuation are one. With an encoder, the distinct texts are gone
through from the most frequent on, ties by the text: each joins the nearest of the leaders so far whose cosine is large
enough, or becomes a leader. So all texts of a group are near its leader, and no chain of small steps joins two
requests.
Two texts are never joined that differ in a word of `contrasts`, or have the same words in another order.

Cosines are rounded, so that what lies below, which differs between kinds of CPU and sizes of batches, decides nothing
unless a cosine lies within that of a bound.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from stages.instruction_groups.contrasts import are_swapped, signs
from stages.language_edits.words import normalised
from stages.retrieval.neighbours import DECIMALS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt

    from models.protocols import Floats, ImageTextEncoder

# N texts, B texts of a block, L leaders, D embedding

TEXTS_AT_ONCE = 256


def key_of(text: str) -> str:
    """The words by which texts are equal, empty for a text that says nothing."""
    plain = " ".join(text.split())
    return normalised(plain) or plain.casefold()


class Wordings:
    """The distinct texts of a dataset: how often each is there, and how it is written."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._written: dict[str, str] = {}

    def add(self, text: str) -> str:
        """Count a text. Returns the key that it shares with its equals, empty for a text that says nothing."""
        key, plain = key_of(text), " ".join(text.split())
        if key:
            self._counts[key] += 1
            self._written[key] = min(plain, self._written.get(key, plain))  # whatever the order of the rows
        return key

    def leaders(self, encoder: ImageTextEncoder | None, near_cos: float) -> dict[str, str]:
        """Key of each text -> key of the text that leads its group."""
        keys = sorted(self._counts, key=lambda key: (-self._counts[key], key))
        if encoder is None or not keys:
            return {key: key for key in keys}
        texts = [self._written[key] for key in keys]
        vectors_ND = _encoded(encoder, texts)
        found: dict[str, str] = {}
        for places in _alike_in_signs(texts):
            led = leaders_of(vectors_ND[places], [texts[place] for place in places], near_cos)
            found |= {keys[place]: keys[places[leader]] for place, leader in zip(places, led, strict=True)}
        return found


def leaders_of(vectors_ND: Floats, texts: Sequence[str], near_cos: float) -> list[int]:
    """The place of the leader of each text, for texts in the order in which they may lead."""
    leaders: list[int] = []
    found: list[int] = []
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        block_BD = vectors_ND[start : start + TEXTS_AT_ONCE]
        known = len(leaders)
        before_BL = _rounded(block_BD @ vectors_ND[leaders].T)
        within_BB = _rounded(block_BD @ block_BD.T)
        for row in range(len(block_BD)):
            new = np.array(leaders[known:], np.int64) - start
            cos_L = np.concatenate([before_BL[row], within_BB[row, new]])
            leader = _nearest(cos_L, leaders, texts, start + row, near_cos)
            if leader is None:
                leaders.append(start + row)
            found.append(start + row if leader is None else leader)
    return found


def _nearest(
    cos_L: npt.NDArray[np.float64], leaders: Sequence[int], texts: Sequence[str], own: int, near_cos: float
) -> int | None:
    """The nearest leader that the text may join; of equally near ones the first."""
    near = np.flatnonzero(cos_L >= near_cos)
    ordered = near[np.argsort(-cos_L[near], kind="stable")]
    return next((leaders[at] for at in ordered if not are_swapped(texts[leaders[at]], texts[own])), None)


def _rounded(cos: Floats) -> npt.NDArray[np.float64]:
    return np.asarray(cos, np.float64).round(DECIMALS)


def _encoded(encoder: ImageTextEncoder, texts: Sequence[str]) -> Floats:
    """(N, D) vectors of length 1."""
    starts = range(0, len(texts), TEXTS_AT_ONCE)
    return np.concatenate([encoder.encode_texts(texts[start : start + TEXTS_AT_ONCE]) for start in starts])


def _alike_in_signs(texts: Sequence[str]) -> Iterable[list[int]]:
    """The places of texts with the same contrasting words, in order. Only these can be of one group."""
    found: dict[tuple[str, ...], list[int]] = {}
    for place, text in enumerate(texts):
        found.setdefault(signs(text), []).append(place)
    return found.values()
