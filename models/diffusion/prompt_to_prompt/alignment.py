"""Alignment of two captions: which token of the source has the attention map that a token of the target takes over.

An edit of the maps is linear in them, so a pair's edit is two arrays: `carried`, (L, L), how much of the source's map i
the target's token j takes over, and `kept`, (L,), the factor of the target's own map.

Source  Hertz et al. 2022, Prompt-to-Prompt, section 3.2; the scores of the alignment are those of its released code.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# L tokens that the text encoder reads, padding included


class MapEdit(NamedTuple):
    """The edit of one pair's cross-attention maps: `source @ carried + target * kept`, arrays or tensors."""

    carried_LL: Any
    kept_L: Any


def aligned(source: Sequence[int], target: Sequence[int]) -> list[int]:
    """For each token of the target its equal in the source, -1 for none, by Needleman and Wunsch.

    A gap counts 0, a match 1, a mismatch -1. Of equal alignments that one is taken which, read from the end, leaves
    out tokens of the target first, then tokens of the source.
    """
    scores = _scores(source, target)
    found = [-1] * len(target)
    row, column = len(source), len(target)
    while row and column:
        score = scores[row][column]
        if score == scores[row][column - 1]:
            column -= 1
        elif score == scores[row - 1][column]:
            row -= 1
        else:
            row, column = row - 1, column - 1
            found[column] = row
    return found


def _scores(source: Sequence[int], target: Sequence[int]) -> list[list[int]]:
    """Best score of the first i source tokens with the first j target tokens."""
    scores = [[0] * (len(target) + 1)]
    for one in source:
        above, row = scores[-1], [0]
        for column, other in enumerate(target):
            row.append(max(row[column], above[column + 1], above[column] + (1 if one == other else -1)))
        scores.append(row)
    return scores


def refined(source: Sequence[int], target: Sequence[int], length: int) -> MapEdit:
    """The edit `refine`: words that both captions have keep the source's map, new words have their own.

    `source` and `target` are token ids with start and end, without padding. Padding takes over the map at its place.
    """
    import numpy as np

    carried, kept = np.zeros((length, length), np.float32), np.ones(length, np.float32)
    places = [*aligned(source, target), *range(len(target), length)]
    for token, place in enumerate(places):
        if place >= 0:
            carried[place, token], kept[token] = 1, 0
    return MapEdit(carried, kept)


def replaced(source: Sequence[Sequence[int]], target: Sequence[Sequence[int]], length: int) -> MapEdit:
    """The edit `replace`: each word has the map of the source's word at its place, every other token likewise.

    `source` and `target` are places of each word's tokens, as many words in both. Of words with different numbers of
    tokens the maps are summed and divided evenly. A word keeps its own where the source's was cut off. Padding takes
    over padding, the last of it more than once if needed.
    """
    import numpy as np

    carried, kept = np.zeros((length, length), np.float32), np.zeros(length, np.float32)
    carried[0, 0] = 1
    for before, after in zip(source, target, strict=True):
        if len(before) == len(after):
            carried[list(before), list(after)] = 1
        elif before and after:
            carried[np.ix_(before, after)] = 1 / len(after)
        else:
            kept[list(after)] = 1
    ends = [max((places[-1] for places in words if places), default=0) + 1 for words in (source, target)]
    for place, token in zip(range(ends[0], 2 * length), range(ends[1], length), strict=False):
        carried[min(place, length - 1), token] = 1
    return MapEdit(carried, kept)


def reweighted(edit: MapEdit, weights: Mapping[int, float]) -> MapEdit:
    """The edit with the maps of some tokens of the target, those taken over and its own, times a factor."""
    import numpy as np

    factor_L = np.ones_like(edit.kept_L)
    for token, weight in weights.items():
        factor_L[token] = weight
    return MapEdit(edit.carried_LL * factor_L, edit.kept_L * factor_L)


def word_places(num_tokens: Sequence[int], length: int) -> list[range]:
    """Places of each word's tokens after the start token. What does not fit before the end token is left out."""
    starts = [1]
    for number in num_tokens:
        starts.append(starts[-1] + number)
    return [range(min(start, length - 1), min(end, length - 1)) for start, end in pairwise(starts)]
