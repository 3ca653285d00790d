"""Read from an answer's headers whether the image may be used, and how long to wait."""

from __future__ import annotations

import datetime as dt
import email.utils
from typing import TYPE_CHECKING

from stages.download.settings import VALUED

if TYPE_CHECKING:
    from collections.abc import Iterable


def opt_outs(headers: Iterable[str], agents: frozenset[str]) -> set[str]:
    """Directives of `X-Robots-Tag` headers that are for everybody or for one of `agents` (lower-cased tokens).

    `noai, nofollow` is for everybody; after `somebot: ` a header is for that agent until it names another.
    """
    found: set[str] = set()
    for header in headers:
        is_meant = True
        for part in header.lower().split(","):
            agent, colon, directive = part.partition(":")
            if colon and agent.strip() not in VALUED:
                is_meant = agent.strip() in agents or agent.strip() == "*"
            else:
                directive = part
            if is_meant:
                found.add(directive.strip())
    return found


def retry_after_s(header: str | None) -> float | None:
    """Seconds to wait by a `Retry-After` header, a number or a date, or None when it says nothing."""
    text = (header or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        when = email.utils.parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError):
        return None
    when = when if when.tzinfo else when.replace(tzinfo=dt.UTC)
    return max(0.0, (when - dt.datetime.now(dt.UTC)).total_seconds())
