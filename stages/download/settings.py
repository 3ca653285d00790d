"""Refuses settings of `read_laion` that could never match anything, and says how they are written."""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

VALUED = frozenset({"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"})
"""Robots directives with a colon of their own."""
_NAME = re.compile(r"[^\s/:*?#@\[\]\\%,;.]+(\.[^\s/:*?#@\[\]\\%,;.]+)*\.?")
_TYPE = re.compile(r"[^\s*;,.][^\s*;,]*")
_DIRECTIVE = re.compile(r"[a-z0-9_-]+")


def check_host(text: str) -> None:
    """Raise ValueError unless `text` is a name, an address or a network as hosts are compared with it."""
    try:
        ipaddress.ip_network(text.strip("[]"), strict=False)
    except ValueError:
        pass
    else:
        return
    if not _NAME.fullmatch(text) or _is_odd_address(text):
        raise ValueError(
            f"{text!r} matches no host: write a name (images.example), an address (10.0.0.1) or a network "
            "(10.0.0.0/8), without scheme, port, path and wildcard"
        )


def _is_odd_address(text: str) -> bool:
    """True for an address as only sockets understand it: `127.1`, `0x7f.1`."""
    try:
        socket.inet_aton(text)
    except (OSError, UnicodeError):
        return False
    return True


def check_type(text: str) -> None:
    """Raise ValueError unless `text` may be how a content type begins."""
    if not _TYPE.fullmatch(text):
        raise ValueError(
            f"{text!r} begins no content type: write image/ or image/png, without *, parameters and blanks"
        )


def check_directive(text: str) -> None:
    """Raise ValueError unless `text` is one robots directive."""
    name, _, value = text.lower().partition(":")
    is_valued = name in VALUED and value.strip() != "" and "," not in value and text == text.strip()
    if not is_valued and not _DIRECTIVE.fullmatch(text.lower()):
        raise ValueError(
            f"{text!r} is no robots directive: write one word each, as noai, without agent and header name"
        )


def checked_user_agent(text: str) -> str:
    """The text. Raises ValueError unless it can be sent as it is and holds a word that servers can address."""
    if not re.search("[A-Za-z0-9]", text) or text != text.strip():
        raise ValueError(
            f"{text!r} has no word that a server can address; write one at least, without blanks around it"
        )
    return text


def each(check: Callable[[str], None]) -> Callable[[tuple[str, ...]], tuple[str, ...]]:
    """A validator of a field that holds several texts."""

    def checked(texts: tuple[str, ...]) -> tuple[str, ...]:
        for text in texts:
            check(text)
        return texts

    return checked
