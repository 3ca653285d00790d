"""Settings of downloads: which URLs of a table are asked for, what may come of them, and how fast.

Owns values and their checks: texts that could never match anything are refused, with how they are written.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field

from core.settings import Settings
from samples.image_limits import MAX_PIXELS

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


class UrlTableSettings(Settings):
    """Columns of a table of URLs, and the rows that are left out by what the table says of them."""

    url_column: str = "URL"
    """Column of the URLs."""
    caption_column: str = "TEXT"
    """Column of the captions."""
    require_caption: bool = True
    """Whether a row without caption is rejected."""

    similarity_column: str = "similarity"
    """Column that `min_similarity` is about."""
    punsafe_column: str = "punsafe"
    """Column that `max_punsafe` is about."""
    pwatermark_column: str = "pwatermark"
    """Column that `max_pwatermark` is about."""
    width_column: str = "WIDTH"
    """Column of the image's width."""
    height_column: str = "HEIGHT"
    """Column of the image's height."""
    min_similarity: float | None = None
    """Cosine similarity of image and caption as the table has it; None, as below, asks for nothing."""
    max_punsafe: float | None = None
    """Greatest probability, by the table, that the image is unsafe."""
    max_pwatermark: float | None = None
    """Greatest probability, by the table, that the image has a watermark."""
    min_width_px: int | None = Field(default=None, ge=1)
    """Least width by the table."""
    min_height_px: int | None = Field(default=None, ge=1)
    """Least height by the table."""
    max_aspect_ratio: float | None = Field(default=None, ge=1)
    """Greatest ratio of long side to short side by the table."""


class DownloadSpeed(Settings):
    """How fast and how patiently URLs are asked for: left out of the fingerprint."""

    concurrency: int = Field(default=128, ge=1)
    """URLs asked for at once by one worker."""
    concurrency_per_host: int = Field(default=16, ge=1)
    """URLs asked for at once of one host."""
    timeout_s: float = Field(default=15.0, gt=0)
    """For one attempt, redirects and body included."""
    attempts: int = Field(default=3, ge=1)
    """Most attempts at one URL."""
    backoff_s: float = Field(default=0.5, ge=0)
    """Wait after the first failure, about; each further one doubles it. A server's `Retry-After` counts for more."""
    backoff_cap_s: float = Field(default=30.0, ge=0)
    """Longest wait; a server that asks for more is not tried again in this build."""
    max_host_failures: int = Field(default=16, ge=1)
    """A host is given up, for its shard, after so many failures without an answer between them; before the last two of
    them it is left alone for a while, and then asked for one URL."""
    proxy_from_environment: bool = False
    """Send requests through the proxies of `http_proxy` and `https_proxy`, but for the hosts in `no_proxy`. A proxy
    resolves names itself, so private addresses are kept out only as far as names resolve here too."""


class DownloadSettings(Settings):
    """Which answers to a URL give an image, and how it is stored."""

    respect_opt_out: bool = True
    """Leave out images whose server says one of `opt_out_directives` in `X-Robots-Tag`, to all or to `user_agent`."""
    opt_out_directives: Annotated[tuple[str, ...], AfterValidator(each(check_directive))] = Field(
        default=("noai", "noimageai", "noindex", "noimageindex"), strict=False
    )
    """Words of `X-Robots-Tag` that count as opting out."""
    user_agent: Annotated[str, AfterValidator(checked_user_agent)] = Field(
        default="Mozilla/5.0 (compatible; editloom)", pattern=r"^[\x20-\x7e]+$"
    )
    """Name that requests carry; servers address opt-outs to it."""
    allowed_hosts: Annotated[tuple[str, ...], AfterValidator(each(check_host))] = Field(default=(), strict=False)
    """Names, addresses or networks (`10.0.0.0/8`) that may be asked although they are not public."""
    content_types: Annotated[tuple[str, ...], AfterValidator(each(check_type))] = Field(
        default=("image/", "application/octet-stream", "binary/octet-stream"), strict=False
    )
    """Beginnings of the content types that are read. So is an answer without a type, and one whose type is no image's
    though its bytes are."""
    max_redirects: int = Field(default=5, ge=0)
    """Most redirects of one URL."""
    max_image_bytes: int = Field(default=20_000_000, ge=1)
    """Largest body, as sent and as unpacked."""
    max_pixels: int = Field(default=MAX_PIXELS, ge=1)
    """An image with more pixels is rejected."""
    stored_side_px: int | None = Field(default=None, ge=8)
    """Shrink the shorter side to this on arrival, as sRGB JPEG of quality 95, never up; None keeps images as they came.

    The stored bytes follow from the image, this setting and the versions of Pillow and torch, not from the CPU.
    """

    speed: DownloadSpeed = DownloadSpeed()
