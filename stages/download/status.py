"""The ways in which the download of a URL ends, and the table of them for a shard."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import MISSING, dataclass, field, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from core.errors import ShardFailed, is_transient

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

SUCCESS = "success"
MAX_ERROR_CHARS = 200
MAX_URL_CHARS = 2048
_CREDENTIALS = re.compile(r"^(\s*(?:[a-zA-Z][a-zA-Z0-9+.-]*:)?(?://)?)[^/?#]*@")


class LaionReject(StrEnum):
    """Why a row of the table is not a sample."""

    MISSING_CAPTION = "missing_caption"  # no text in the caption column
    EMPTY_CAPTION = "empty_caption"  # the caption is blank
    FILTERED_SIMILARITY = "filtered_similarity"  # less than min_similarity, or no value
    FILTERED_PUNSAFE = "filtered_punsafe"  # more than max_punsafe, or no value
    FILTERED_PWATERMARK = "filtered_pwatermark"  # more than max_pwatermark, or no value
    FILTERED_SIZE = "filtered_size"  # declared smaller than min_width_px or min_height_px, or no value
    FILTERED_ASPECT_RATIO = "filtered_aspect_ratio"  # declared longer and thinner than max_aspect_ratio, or no value
    NOT_AN_URL = "not_an_url"  # nothing that can be asked for
    FORBIDDEN_SCHEME = "forbidden_scheme"  # neither http nor https, at first or after a redirect
    FORBIDDEN_ADDRESS = "forbidden_address"  # the host is, or resolves to, no public address
    DNS_FAILURE = "dns_failure"  # the host's name could not be resolved
    CONNECTION_FAILURE = "connection_failure"  # no connection, no TLS, or it broke off
    TIMEOUT = "timeout"  # not all there after timeout_s
    SERVER_BUSY = "server_busy"  # HTTP 408, 425, 429 or 5xx
    HTTP_ERROR = "http_error"  # any other HTTP status that is no success
    TOO_MANY_REDIRECTS = "too_many_redirects"  # more than max_redirects, or in a circle
    OPTED_OUT = "opted_out"  # X-Robots-Tag asks not to use it
    TOO_LARGE = "too_large"  # more bytes than max_image_bytes, as sent or unpacked
    WRONG_CONTENT_TYPE = "wrong_content_type"  # declared as something else, and no image by its first bytes
    BROKEN_ENCODING = "broken_encoding"  # no image in a Content-Encoding that cannot be undone, or cut off in it
    EMPTY_IMAGE = "empty_image"  # no bytes
    NOT_AN_IMAGE = "not_an_image"  # bytes that are no image of a format that is read
    PIXEL_BOMB = "pixel_bomb"  # more pixels than max_pixels
    TOO_COMPLEX = "too_complex"  # more scans, chunks or strips than an image has


TRANSIENT = frozenset(
    {LaionReject.DNS_FAILURE, LaionReject.CONNECTION_FAILURE, LaionReject.TIMEOUT, LaionReject.SERVER_BUSY}
)
"""Ends that may not come again: tried several times, and anew by `editloom retry`."""

UNANSWERED = frozenset({LaionReject.DNS_FAILURE, LaionReject.CONNECTION_FAILURE, LaionReject.TIMEOUT})
"""Ends at which the host gave no answer, unless some byte of one had come."""

UNASKED = frozenset(
    {
        LaionReject.MISSING_CAPTION, LaionReject.EMPTY_CAPTION, LaionReject.FILTERED_SIMILARITY,
        LaionReject.FILTERED_PUNSAFE, LaionReject.FILTERED_PWATERMARK, LaionReject.FILTERED_SIZE,
        LaionReject.FILTERED_ASPECT_RATIO, LaionReject.NOT_AN_URL,
    }
)  # fmt: skip
"""Ends that the table alone decides: nothing was asked for, and never will be."""


class DownloadFailed(Exception):
    """The URL ended otherwise than with an image. `wait_s` is how long the server asked to be left alone.

    `is_hopeless` marks a failure that would repeat within a build, although its reason is a temporary one.
    `is_answered` is True once the host has sent any answer.
    """

    def __init__(
        self,
        reason: LaionReject,
        detail: str,
        *,
        http_status: int | None = None,
        wait_s: float | None = None,
        is_hopeless: bool = False,
    ) -> None:
        super().__init__(detail)
        self.reason, self.http_status, self.wait_s = reason, http_status, wait_s
        self.detail = bounded(detail)
        self.is_worth_again = reason in TRANSIENT and not is_hopeless
        self.is_answered = reason not in UNANSWERED


@dataclass(kw_only=True, slots=True)
class UrlStatus:
    """One row of the status table: the row of the input and how its URL ended."""

    key: str
    """Number of the row in its file, nine digits or more: the sample's key in the tar."""
    url: str
    caption: str | None
    metadata: str
    """JSON object of all other columns."""
    status: str = ""
    """`success` or a `LaionReject`; empty while it is not known."""
    error: str = ""
    http_status: int | None = None
    attempts: int = 0
    bytes: int | None = None
    """Size as received, content encoding undone."""
    seconds: float = 0.0
    """From asking to having, all attempts together, without the waits between them."""
    final_url: str | None = None
    """Where the redirects led, if there were any."""
    suffix: str | None = None
    sha256: str | None = None
    """Of the image as received."""
    width: int | None = None
    height: int | None = None
    original_width: int | None = None
    original_height: int | None = None
    stored_sha256: str | None = None
    """Of the image as it is in the tar."""

    def end(self, failure: DownloadFailed) -> None:
        """Record this failure as the URL's end."""
        self.status, self.error, self.http_status = failure.reason.value, failure.detail, failure.http_status

    def sample_json(self) -> str:
        """The content of `<key>.json` as img2dataset writes it: the table's columns, then facts about the image."""
        ours: dict[str, Any] = {
            "url": self.url, "caption": self.caption, "key": self.key, "status": self.status,
            "error_message": self.error or None, "width": self.width, "height": self.height,
            "original_width": self.original_width, "original_height": self.original_height, "sha256": self.sha256,
        }  # fmt: skip
        found: dict[str, Any] = json.loads(self.metadata)
        kept = {(f"input_{name}" if name in ours else name): value for name, value in found.items()}
        return json.dumps(kept | ours, ensure_ascii=False)


_TYPES = {"str": pa.string(), "int": pa.int64(), "float": pa.float64()}
SCHEMA = pa.schema([(f.name, _TYPES[str(f.type).split(" ")[0]]) for f in fields(UrlStatus)])

REQUIRED = [f.name for f in fields(UrlStatus) if f.default is MISSING]
"""Columns that every status table has."""

IDENTITY = b"editloom_identity"
"""Key of the file's metadata: which rows the statuses are of."""
TAR_SHA256 = b"editloom_tar_sha256"
"""Key of the file's metadata: the tar that the statuses tell of."""


def identity_of(statuses: Iterable[UrlStatus]) -> str:
    """Hash of the rows as they came from their table: neither its place nor its time is in it."""
    sha = hashlib.sha256()
    for status in statuses:
        row = json.dumps([status.key, status.url, status.caption, status.metadata])
        sha.update(f"{row}\n".encode())
    return sha.hexdigest()


def write_statuses(statuses: Iterable[UrlStatus], path: Path, identity: str = "", tar_sha256: str = "") -> None:
    """One Parquet file, a row a URL, in the order given."""
    rows = list(statuses)
    table = pa.table([pa.array([getattr(s, f.name) for s in rows], f.type) for f in SCHEMA], schema=SCHEMA)
    table = table.replace_schema_metadata({IDENTITY: identity, TAR_SHA256: tar_sha256})
    pq.write_table(table, path, compression="zstd")


def read_statuses(path: Path) -> list[UrlStatus]:
    """The rows of a status table. Columns that it does not have are None. Raises `ShardFailed` for no such table."""
    return read_labelled(path)[0]


def read_labelled(path: Path) -> tuple[list[UrlStatus], str, str]:
    """(the rows of a status table, identity, sha256 of the tar). Raises `ShardFailed` for no such table."""
    try:
        table = pq.read_table(path)
        table.validate(full=True)
        labels = table.schema.metadata or {}
        identity, tar_sha256 = (labels.get(key, b"").decode() for key in (IDENTITY, TAR_SHA256))
    except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
        if is_transient(error):
            raise
        raise ShardFailed(f"no status table ({bounded(str(error))})") from None
    if any(column not in SCHEMA for column in table.schema) or not set(REQUIRED) <= set(table.column_names):
        raise ShardFailed("a status table with other columns")
    return [UrlStatus(**row) for row in table.to_pylist()], identity, tar_sha256


def without_credentials(url: str) -> str:
    """The URL as it may be kept, without user and password. It is cut with a mark at `MAX_URL_CHARS`.

    A URL that was cut is longer than a URL may be, mark included, so that it is never requested by mistake.
    """
    plain = _CREDENTIALS.sub(r"\1", url)
    plain = plain if len(plain) <= MAX_URL_CHARS else plain.strip()
    return plain if len(plain) <= MAX_URL_CHARS else f"{plain[:MAX_URL_CHARS]}…"


def bounded(text: str, limit: int = MAX_ERROR_CHARS) -> str:
    """The text on one line of at most `limit` characters."""
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


@dataclass(kw_only=True, slots=True)
class KeptImage:
    """An image that is kept: its bytes and its entries in the status table. Sizes in px, upright."""

    data: bytes = field(repr=False)
    suffix: str
    sha256: str
    width: int
    height: int
    original_width: int
    original_height: int
