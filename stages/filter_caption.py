"""Reject captions that describe nothing: too short or long, not prose, boilerplate.

Reads   caption (string)
Writes  caption_num_words (int32, words)
Drops   rows whose caption fails one of the checks; the reason says which, checks in the order of `CaptionReject`
Source  the checks are of the kind used for LAION-like alt text; none depends on a language.
"""

from __future__ import annotations

import re
import unicodedata
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

import pyarrow as pa
from pydantic import Field

from pipeline.stage import MapStage
from samples.columns import REJECT_DETAIL, REJECT_REASON

if TYPE_CHECKING:
    from pipeline.context import Context
    from pipeline.stage import BatchFn

# A caption may be a megabyte long: each pattern takes linear time, so no open run starts at every character.
UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
"""Scripts without spaces between words (Thai, Lao, Burmese, Khmer, Japanese, Chinese): two characters count as one."""
WORD = re.compile(rf"[{UNSPACED}]{{1,2}}|[^\W\d_{UNSPACED}]+(?:['\u2019-][^\W\d_{UNSPACED}]+)*")
MARKUP = re.compile(r"<\s{0,4}/?\s{0,4}[a-z!][^<>]*>|&(?:[a-z]{2,8}|#\d{1,7}|#x[\da-f]{1,6});", re.IGNORECASE)
ADDRESS = re.compile(r"(?:https?://|www\.)\S|[\w-]\.(?:com|net|org|html?|php)\b|[^\s@]@[^\s@.]+\.[^\s@]", re.IGNORECASE)
FILE_NAME = re.compile(
    r"^\s*\S+\.(?:jpe?g|png|gif|webp|bmp|tiff?)\s*$|\b(?:img|dsc|dscn|image|photo)[_-]?\d{3,}\b", re.IGNORECASE
)
BOILERPLATE = re.compile(
    r"click (?:here|to)|free shipping|add to cart|all rights reserved|copyright|stock (?:photo|image|vector|footage)"
    r"|royalty[ -]free|no image available|image not found|placeholder|untitled|thumbnail (?:for|of|image)"
    r"|^\s*thumbnail|image may contain|lorem ipsum|sign up (?:now|today)|^\s*sign up|buy now|^\s*read more"
    r"|read more\W*$|^\s*for sale|wallpaper download",
    re.IGNORECASE,
)


class CaptionReject(StrEnum):
    """Why a caption is of no use, in the order of the checks."""

    MISSING = "missing_caption"
    MARKUP = "markup"
    ADDRESS = "address"
    FILE_NAME = "file_name"
    TOO_FEW_WORDS = "too_few_words"
    TOO_MANY_WORDS = "too_many_words"
    NOT_PROSE = "not_prose"
    REPETITIVE = "repetitive"
    BOILERPLATE = "boilerplate"


class FilterCaption(MapStage):
    """One verdict a caption."""

    version: ClassVar[int] = 1
    reads: ClassVar = ("caption",)
    writes: ClassVar = ("caption_num_words",)
    rejects: ClassVar = CaptionReject

    min_words: int = Field(default=3, ge=0)
    """Fewest words that a caption may have."""
    max_words: int = Field(default=60, ge=1)
    """Most words that a caption may have."""
    min_letters_frac: float = Field(default=0.6, ge=0, le=1)
    """Least share of letters among the caption's characters without blanks."""
    max_repeated_frac: float = Field(default=0.5, ge=0, le=1)
    """Greatest share of words that are repetitions."""

    def open(self, ctx: Context) -> BatchFn:
        """A function that judges each caption by regular expressions and counts."""
        del ctx

        def judge(batch: pa.Table) -> pa.Table:
            captions = batch["caption"].to_pylist()
            verdicts = [self.verdict(c) for c in captions]
            batch = batch.append_column("caption_num_words", pa.array([num_words(c) for c in captions], pa.int32()))
            batch = batch.append_column(REJECT_REASON, pa.array([v[0] if v else None for v in verdicts], pa.string()))
            return batch.append_column(REJECT_DETAIL, pa.array([v[1] if v else None for v in verdicts], pa.string()))

        return judge

    def verdict(self, caption: str | None) -> tuple[CaptionReject, str] | None:
        """The first check that the caption fails, with a detail, or None."""
        if caption is None or not caption.strip():
            return CaptionReject.MISSING, ""
        for reason, pattern in _PATTERNS:
            found = pattern.search(caption)
            if found:
                return reason, _passage(caption, found)
        plain = _without_marks(caption)
        words = [w.lower() for w in WORD.findall(plain)]
        if len(words) < self.min_words:
            return CaptionReject.TOO_FEW_WORDS, f"{len(words)} words"
        if len(words) > self.max_words:
            return CaptionReject.TOO_MANY_WORDS, f"{len(words)} words"
        visible = [c for c in plain if not c.isspace()]
        letters_frac = sum(c.isalpha() for c in visible) / max(1, len(visible))
        if letters_frac < self.min_letters_frac:
            return CaptionReject.NOT_PROSE, f"{letters_frac:.2f} of it letters"
        repeated_frac = 1 - len(set(words)) / len(words) if words else 0.0
        if repeated_frac > self.max_repeated_frac:
            return CaptionReject.REPETITIVE, f"{repeated_frac:.2f} of its words repeated"
        found = BOILERPLATE.search(caption)
        return (CaptionReject.BOILERPLATE, found.group(0)) if found else None


_PATTERNS = ((CaptionReject.MARKUP, MARKUP), (CaptionReject.ADDRESS, ADDRESS), (CaptionReject.FILE_NAME, FILE_NAME))


def num_words(caption: str | None) -> int:
    """Words of the caption: runs of letters, with inner hyphens and apostrophes. See UNSPACED for other scripts."""
    return len(WORD.findall(_without_marks(caption or "")))


def _without_marks(caption: str) -> str:
    """The caption without accents and vowel signs of their own, joiners and marks of direction: `re` breaks at them."""
    if caption.isascii():
        return caption
    return "".join(c for c in caption if unicodedata.category(c) not in ("Mn", "Mc", "Me", "Cf"))


def _passage(caption: str, found: re.Match[str]) -> str:
    """The text that was found, from the start of its word."""
    start = max(caption.rfind(" ", 0, found.start() + 1) + 1, found.start() - 60)
    return caption[min(start, found.start()) : found.end()][:80]
