"""Tokenizers of the miniature models: the libraries' own kinds, trained on what the world says."""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING

from zoo.world import COLOURS, NOUNS, caption, sample_edit, scene_of, varied_caption

if TYPE_CHECKING:
    from transformers import BertTokenizer, CLIPTokenizer

CORPUS_SCENES = 4000
CLIP_LENGTH = 32
START, END = "<|startoftext|>", "<|endoftext|>"


def corpus() -> list[str]:
    """Captions and instructions of the world, enough for every word of it to occur, always the same."""
    rng = random.Random("corpus")
    lines: list[str] = []
    for index in range(CORPUS_SCENES):
        scene = scene_of(0, index)
        edit = sample_edit(scene, rng)
        lines += [caption(scene), varied_caption(scene, rng), edit.instruction, edit.reverse_instruction]
    lines += [f"a photo of a {noun}" for noun in NOUNS] + [f"something {colour}" for colour in COLOURS]
    return lines


def words() -> list[str]:
    """Every word of the world, sorted."""
    return sorted({word for line in corpus() for word in line.lower().replace(",", " ").split()})


def learn_merges(known: list[str]) -> list[tuple[str, str]]:
    """Byte-pair merges (Sennrich et al. 2016) that make every word of `known` one token ending in "</w>".

    The commonest pair first, the alphabetically first of equals: the library's own trainer settles ties by chance.
    """
    pieces = [[*word[:-1], f"{word[-1]}</w>"] for word in known]
    merges: list[tuple[str, str]] = []
    while pairs := Counter(pair for word in pieces for pair in pairwise(word)):
        first, second = max(sorted(pairs), key=pairs.__getitem__)
        merges.append((first, second))
        pieces = [_merge(word, first, second) for word in pieces]
    return merges


def _merge(word: list[str], first: str, second: str) -> list[str]:
    merged: list[str] = []
    for piece in word:
        if merged and merged[-1] == first and piece == second:
            merged[-1] = first + second
        else:
            merged.append(piece)
    return merged


def clip_tokenizer() -> CLIPTokenizer:
    """CLIP's byte-pair encoding with the world's words as single tokens."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPTokenizer

    vocabulary = {symbol: index for index, symbol in enumerate(sorted(ByteLevel.alphabet()))}
    for symbol in sorted(ByteLevel.alphabet()):
        vocabulary[f"{symbol}</w>"] = len(vocabulary)
    merges = learn_merges(words())
    for pair in merges:
        vocabulary.setdefault("".join(pair), len(vocabulary))
    for special in (START, END):
        vocabulary[special] = len(vocabulary)
    return CLIPTokenizer(
        vocab=vocabulary, merges=merges, bos_token=START, eos_token=END, pad_token=END, unk_token=END,
        model_max_length=CLIP_LENGTH,
    )  # fmt: skip


def bert_tokenizer() -> BertTokenizer:
    """BERT's WordPiece with the world's words whole, and letters for the rest."""
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *_PUNCTUATION, *_LETTERS]
    return _word_pieces(pieces)


def grounding_tokenizer() -> BertTokenizer:
    """The same with [CLS], [SEP], "." and "?" at the numbers of bert-base-uncased.

    GroundingDINO's code finds the phrases of a prompt by these numbers; fillers are between them, as in BERT's list.
    """
    pieces = [f"[unused{index}]" for index in range(1030)]
    fixed = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]", 1012: ".", 1029: "?"}
    for index, piece in fixed.items():
        pieces[index] = piece
    rest = [piece for piece in dict.fromkeys([*_PUNCTUATION, *_LETTERS, *words()]) if piece not in fixed.values()]
    pieces[104 : 104 + len(rest)] = rest
    return _word_pieces(pieces)


_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"
_LETTERS = (*_ALPHABET, *(f"##{letter}" for letter in _ALPHABET))
_PUNCTUATION = (".", ",", "?")


def _word_pieces(pieces: list[str]) -> BertTokenizer:
    from transformers import BertTokenizer

    known = dict.fromkeys([*pieces, *words()])
    return BertTokenizer(vocab={piece: index for index, piece in enumerate(known)}, model_max_length=64)
