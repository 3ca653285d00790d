"""Clean a request: lower case, one line, no courtesies, no final punctuation, British spelling.

Pure functions of text. Nothing here depends on the kind of edit.
"""

from __future__ import annotations

import re
import unicodedata

from models.language.unification.words import EDIT_VERBS, GERUNDS, PLACE, SPELLINGS, WHOLE, one_of

_STRAIGHT = str.maketrans({"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "`": "'"})
_QUOTED = re.compile(r'"[^"]*"')
_NUMBERED = re.compile(r'"([0-9]+)"')
_ENDS = " .,;:!?"
_STARTS = f"{_ENDS}-*\u2022"
_SPELLING = re.compile(rf"\b{one_of(frozenset(SPELLINGS))}\b")
_VERB = one_of(EDIT_VERBS)
_GERUND = one_of(frozenset(GERUNDS))
_EDITED = rf"(?:edit|modify|change|adjust|alter|update|retouch|transform) {WHOLE}"
_LEAD = re.compile(
    "^(?:"
    r"(?:please|kindly|ok|okay|hey|hi|hello|now|then|just|simply)\b,? "
    rf"|(?:would you mind|do you mind|how about|what about|try) (?={_GERUND} )"
    r"|(?:can|could|would|will) (?:you|we)(?: (?:please|possibly|maybe|kindly|just))? "
    rf"|(?:i|we)(?:'d| would) (?:like|love|prefer) (?:for )?(?:you )?to (?={_VERB} )"
    rf"|(?:i|we) (?:want|need|wish) (?:you )?to (?={_VERB} )"
    r"|(?:let's|let us|help me(?: to)?|try to|you (?:should|could|can|must|have to|need to)|is it possible to) "
    rf"(?=(?:{_VERB}|have|use) )"
    rf"|{_EDITED} (?:so that|such that) "
    rf"|{_EDITED} by (?={_GERUND} )"
    rf"|{_EDITED} (?:to|and) (?={_VERB} )"
    r"|make (?:it so(?: that)?|sure(?: that)?) "
    rf"|(?:in|for|on|to) {WHOLE},? (?=(?:please|{_VERB}) )"
    ")"
)
_TAIL = re.compile(
    r"(?:,? (?:please|for me|thanks|thank you(?: very much| so much)?|if (?:you can|you could|possible))"
    rf"|,? (?:somewhere )?(?:in|within|inside) {WHOLE})$"
)
_PART_OF = re.compile(
    r"\b(?P<part>left|right|side|centre|middle|top|bottom|corner|background|foreground|style|season|weather|lighting) "
    rf"(?:of|in) {WHOLE}(?![\w'-]| (?:on|in|at|of|hanging)\b)"
)
_GONE_FROM = re.compile(rf"^(?P<kept>(?:remove|delete|erase|take|get rid of|cut|edit) .+?) (?:from|out of) {WHOLE}$")
_ADDED_TO = re.compile(
    rf"^(?P<kept>(?:add|insert|include|introduce|put|place|draw|paint) .+?) (?:to|into|onto|in) {WHOLE}"
    rf"(?P<more> {PLACE})?$"
)


def take_quotes(text: str) -> tuple[str, list[str]]:
    """The text on one line in lower case, each quoted part replaced by its number in quotation marks; those parts.

    What stands in quotation marks is to be shown on the image, and keeps its capitals.
    """
    line = " ".join(unicodedata.normalize("NFC", text).translate(_STRAIGHT).split())
    bare = line.strip(_ENDS)
    if len(bare) > 2 and bare[0] == bare[-1] == '"' and '"' not in bare[1:-1]:
        line = bare[1:-1]
    quotes: list[str] = []

    def numbered(match: re.Match[str]) -> str:
        quotes.append(match[0])
        return f'"{len(quotes) - 1}"'

    return _QUOTED.sub(numbered, line).lower(), quotes


def put_quotes(text: str, quotes: list[str]) -> str:
    """The text with its quoted parts back in their places."""
    return _NUMBERED.sub(lambda match: quotes[int(match[1])], text)


def clean(text: str) -> str:
    """A request of `take_quotes` without courtesies and without words for the image that it is about.

    What is nothing but a courtesy stays.
    """
    while True:
        cleaned = _cleaned_once(text)
        if cleaned == text or not any(map(str.isalnum, cleaned)):
            return text
        text = cleaned


def _cleaned_once(text: str) -> str:
    text = _SPELLING.sub(lambda match: SPELLINGS[match[0]], text.rstrip(_ENDS).lstrip(_STARTS))
    led = _LEAD.sub("", text)
    first, blank, rest = led.partition(" ")
    if led != text:
        text = f"{GERUNDS.get(first, first)}{blank}{rest}"
    text = _PART_OF.sub(r"\g<part>", _TAIL.sub("", text))
    text = _GONE_FROM.sub(lambda match: _removal(match["kept"]), text)
    return _ADDED_TO.sub(lambda match: f"{match['kept']}{match['more'] or ''}", text)


def _removal(text: str) -> str:
    """Take the dog (out of the picture) -> remove the dog."""
    return re.sub(r"^(?:take|cut|edit) (?:out )?", "remove ", text)
