"""Find licences by their texts: ids of SPDX and of the Hub, addresses of licences, the names that data carry.

A text that names no licence of the table is one unknown licence under that text. It is never taken for a similar one.
"""

from __future__ import annotations

import re

from core.licences.classes import Licence, unknown
from core.licences.table import CC_VERSIONS, TABLE

MAX_CHARS = 200
"""Longest text of a licence; a longer one is cut, and is then a name that no table has."""

ALIASES = {
    "apache": "apache-2.0", "apache2": "apache-2.0", "apache2.0": "apache-2.0", "apache-v2": "apache-2.0",
    "apache-2": "apache-2.0", "apache-v2.0": "apache-2.0", "apache-version-2.0": "apache-2.0", "expat": "mit",
    "apache-license-2.0": "apache-2.0", "apache-license-version-2.0": "apache-2.0", "gemma-terms-of-use": "gemma",
    "apache-license,-version-2.0": "apache-2.0",
    "bsd-2": "bsd-2-clause", "bsd-3": "bsd-3-clause", "new-bsd": "bsd-3-clause", "simplified-bsd": "bsd-2-clause",
    "boost-software": "bsl-1.0", "wordnet-3.0": "wordnet", "wordnet-3.1": "wordnet", "flux-1-dev-non-commercial":
    "flux-1-dev-non-commercial-license", "flux.1-dev-non-commercial": "flux-1-dev-non-commercial-license",
    "flux-1-dev": "flux-1-dev-non-commercial-license", "flux-non-commercial": "flux-non-commercial-license",
    "flux-kommunity": "flux-kommunity-license", "stabilityai-community": "stabilityai-ai-community",
    "stability-ai-community": "stabilityai-ai-community", "openrail-m": "openrail", "openrail++-m": "openrail++",
    "stable-diffusion": "creativeml-openrail-m", "sam": "sam-license", "dinov3": "dinov3-license", "llama-2": "llama2",
    "llama-3": "llama3", "llama-3.1": "llama3.1", "llama-3.2": "llama3.2", "llama-3.3": "llama3.3", "llama-4": "llama4",
    "deepfloyd-if": "deepfloyd-if-license", "fair-noncommercial-research": "fair-noncommercial-research-license",
    "stabilityai-nc-research-community": "sai-nc-community", "stability-ai-non-commercial-research-community":
    "sai-nc-community", "gpl-v2": "gpl-2.0", "gpl-v3": "gpl-3.0", "agpl-v3": "agpl-3.0", "agpl": "agpl-3.0",
    "pd": "public-domain", "pdm": "public-domain", "pdm-1.0": "public-domain", "publicdomain": "public-domain",
    "public-domain-mark": "public-domain", "public-domain-mark-1.0": "public-domain", "united-states-government-work":
    "public-domain", "open-data-commons-attribution": "odc-by", "open-database": "odbl",
}  # fmt: skip
"""Further name, as `_plain` makes it -> id."""

_ADDRESS = re.compile(
    r"(?:https?:)?/*(?:www\.)?"
    r"(?:creativecommons\.org/(?P<kind>licenses|publicdomain)/(?P<cc>[a-z0-9+.-]+)(?:/(?P<version>[0-9.]+))?"
    r"|(?:spdx\.org/licenses|opensource\.org/licen[sc]es?)/(?P<id>[A-Za-z0-9.+-]+?)(?:\.html)?"
    r"|apache\.org/licenses/license-(?P<apache>2\.0)(?:\.txt|\.html)?)(?:/.*)?",
    re.IGNORECASE,
)
_CC_WORDS = {
    "attribution": "by", "by": "by", "noncommercial": "nc", "nc": "nc", "sharealike": "sa", "sa": "sa",
    "noderivs": "nd", "noderivatives": "nd", "nd": "nd",
}  # fmt: skip
_CC_FILLING = frozenset({"cc", "creative", "commons", "international", "generic", "unported", "licence", "license"})
_CC_FIRST = ("cc", "creative", "attribution", "by")
_PORTED = re.compile(r"(?<=\d)-([a-z]{2}|igo)$")
"""The country of a licence's version, as in `cc-by-3.0-de`; the terms are the same."""


def clean(text: str) -> str:
    """A text from outside on one line of at most `MAX_CHARS` characters, without any that controls a terminal.

    A text that was cut ends in "…", so that its beginning is not taken for a licence.
    """
    line = " ".join(text[: 2 * MAX_CHARS].split())
    if len(text) > 2 * MAX_CHARS or len(line) > MAX_CHARS:
        line = f"{line[: MAX_CHARS - 1]}…"
    return "".join(character if character.isprintable() else "?" for character in line)


def find(text: str) -> tuple[Licence, ...]:
    """The licences that a text names, all of which apply. One that leaves a choice gives the least restrictive.

    Known are single names, and several joined by "AND", "OR" (SPDX) or commas. Everything else is one unknown licence.
    """
    shown = clean(text)
    single = find_one(shown)
    if single is not None:
        return (single,)
    for pattern, is_choice in ((r"\s+or\s+", True), (r"\s+and\s+|\s*[,;]\s*", False)):
        parts = [find_one(part) for part in re.split(pattern, shown, flags=re.IGNORECASE)]
        found = [part for part in parts if part is not None]
        if len(found) == len(parts) > 1:
            return (min(found, key=lambda one: one.licence_class.rank),) if is_choice else tuple(found)
    return (unknown(shown),)


def find_one(text: str) -> Licence | None:
    """The licence of the table that the whole text names, or None."""
    address = _ADDRESS.fullmatch(text.strip())
    if address is not None:
        text = _of_address(address)
    plain = _plain(text)
    for name in (plain, re.sub(r"-licen[sc]e(-agreement)?$", "", plain), re.sub(r"(-only|-or-later|\+)$", "", plain)):
        unversioned = re.sub(r"-v?\d+(\.\d+)+$", "", name)  # `odbl-1.0`: the Hub's id names the family
        for candidate in (name, ALIASES.get(name, ""), unversioned if unversioned in _FAMILIES else ""):
            if candidate in TABLE:
                return TABLE[candidate]
    return TABLE.get(_creative_commons(plain) or "")


_FAMILIES = frozenset({"c-uda", "gfdl", "odbl", "odc-by", "pddl", "flux-non-commercial-license"})


def _of_address(address: re.Match[str]) -> str:
    """The name of the licence that lies at an address."""
    if address["apache"]:
        return "apache-2.0"
    if address["id"]:
        return str(address["id"])
    if str(address["kind"]).lower() == "publicdomain":
        return "cc0-1.0" if address["cc"].lower() == "zero" else f"public-domain-{address['cc']}"
    return f"cc-{address['cc']}-{address['version'] or ''}".rstrip("-")


def _plain(text: str) -> str:
    """Lower case, words joined by dashes, no article before."""
    joined = re.sub(r"[\s_/()-]+", "-", text.strip().lower()).strip("-")
    return joined.removeprefix("the-")


def _creative_commons(plain: str) -> str | None:
    """The id of a Creative Commons licence written in any usual way, or None for a text with other words in it."""
    joined = plain.replace("non-commercial", "noncommercial").replace("share-alike", "sharealike")
    joined = re.sub(r"no-(derivatives|derivs|derivative-works)", "noderivs", joined)
    words = _PORTED.sub("", joined).split("-")
    if re.fullmatch(r"(cc-|creative-commons-)?(cc0|zero)(-v?1\.0)?(-universal)?(-public-domain-dedication)?", joined):
        return "cc0-1.0"
    if words[0] not in _CC_FIRST:
        return None
    versions = [word.removeprefix("v") for word in words if word.removeprefix("v") in CC_VERSIONS]
    terms = [_CC_WORDS[word] for word in words if word in _CC_WORDS]
    rest = [word for word in words if word not in _CC_WORDS and word not in _CC_FILLING]
    if (
        "by" not in terms
        or len(terms) > len(set(terms))
        or len(versions) > 1
        or [word.removeprefix("v") for word in rest] != versions
    ):
        return None
    named = "-".join(["cc", *(term for term in ("by", "nc", "nd", "sa") if term in terms)])
    return "-".join([named, *versions])
