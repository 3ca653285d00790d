"""What is kept of a downloaded shard: a WebDataset tar in img2dataset's layout and the status of every URL.

`<shard>.tar` is put first and `<shard>.status.parquet` last, so that the second says that both are whole. Both are in
the order of the input's rows, whatever order the answers came in. `<shard>.retry` asks for some URLs to be tried anew:
those whose failure may pass, or, where it holds the word `all`, all that were asked for and failed.
"""

from __future__ import annotations

import tempfile
import uuid
from collections import Counter
from typing import IO, TYPE_CHECKING, Self, cast

from pipeline.errors import ShardFailed
from stages._download_status import SUCCESS, TRANSIENT, UNASKED, LaionReject, UrlStatus, read_statuses, write_statuses
from stages._input_rows import InputReject, InputSample
from stages._tar_samples import read_samples

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from pipeline.stage import ShardStore

BLOCK = 512
RECORD = 20 * BLOCK
SPOOL_BYTES = 64 << 20
"""Images of a shard up to so many bytes stay in memory until the tar is written."""
_UNLIMITED = 1 << 62


class Spool:
    """Images in the order they came in: in memory up to `SPOOL_BYTES`, in a temporary file beyond."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[str, bytes] = {}
        self._places: dict[str, tuple[int, int]] = {}
        self._held_bytes = 0
        self._file: IO[bytes] | None = None

    def add(self, key: str, data: bytes) -> None:
        """Keep an image."""
        if self._held_bytes + len(data) <= SPOOL_BYTES:
            self._held[key] = data
            self._held_bytes += len(data)
            return
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115  closed in __exit__
        self._places[key] = (self._file.seek(0, 2), len(data))
        self._file.write(data)

    def __contains__(self, key: str) -> bool:
        return key in self._held or key in self._places

    def __getitem__(self, key: str) -> bytes:
        if key in self._held:
            return self._held[key]
        start, size = self._places[key]
        assert self._file is not None
        self._file.seek(start)
        return self._file.read(size)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._file is not None:
            self._file.close()


def write_tar(statuses: Iterable[UrlStatus], image_of: Callable[[UrlStatus], bytes], path: Path) -> None:
    """The successes as `<key>.<suffix>`, `<key>.txt`, `<key>.json`: the same samples give the same bytes."""
    with path.open("wb") as tar:
        for status in statuses:
            if status.status != SUCCESS:
                continue
            _add(tar, f"{status.key}.{status.suffix}", image_of(status))
            if status.caption is not None:
                _add(tar, f"{status.key}.txt", status.caption.encode("utf-8", "replace"))
            _add(tar, f"{status.key}.json", status.sample_json().encode("utf-8", "replace"))
        tar.write(bytes(2 * BLOCK))
        tar.write(bytes(-tar.tell() % RECORD))


_HEADER = (
    b"%b" + b"0000644\0" + b"0000000\0" * 2 + b"%011o\0" + b"00000000000\0" + b"%b" + b"0" + bytes(100)
    + b"ustar\x0000" + bytes(64) + b"0000000\0" * 2 + bytes(167)
)  # fmt: skip
"""A USTAR header of a file: owner and time are 0. To fill in: name, size, checksum."""


def _add(tar: IO[bytes], name: str, content: bytes) -> None:
    field = name.encode().ljust(100, b"\0")
    blank = _HEADER % (field, len(content), b" " * 8)
    tar.write(_HEADER % (field, len(content), b"%06o\0 " % sum(blank)))
    tar.write(content)
    tar.write(bytes(-len(content) % BLOCK))


def publish(
    store: ShardStore, shard: str, statuses: Sequence[UrlStatus], image_of: Callable[[UrlStatus], bytes], identity: str
) -> None:
    """Put tar and status table of the shard into the store, in that order."""
    folder = store.scratch()
    tar, table = (folder / f"{uuid.uuid4().hex}-{shard}{suffix}" for suffix in (".tar", ".status.parquet"))
    try:
        write_tar(statuses, image_of, tar)
        write_statuses(statuses, table, identity)
        store.put(tar, f"{shard}.tar")
        store.put(table, f"{shard}.status.parquet")
    finally:
        tar.unlink(missing_ok=True)
        table.unlink(missing_ok=True)


def stored(store: ShardStore, shard: str, identity: str) -> tuple[Path, list[UrlStatus]] | None:
    """(the tar, the statuses) of a shard that was downloaded before; None without either, or when of other input."""
    table = store.fetch(f"{shard}.status.parquet")
    tar = store.fetch(f"{shard}.tar") if table is not None else None
    statuses = read_statuses(table, identity) if table is not None and tar is not None else None
    return None if tar is None or statuses is None else (tar, statuses)


def asked_again(store: ShardStore, shard: str, statuses: Iterable[UrlStatus]) -> list[UrlStatus] | None:
    """The URLs that the shard's marker asks to be tried anew; None without a marker."""
    marker = store.fetch(f"{shard}.retry")
    if marker is None:
        return None
    wants_all = marker.read_bytes().strip().lower() == b"all"
    return [s for s in statuses if is_retried(s, wants_all=wants_all)]


def is_retried(status: UrlStatus, *, wants_all: bool) -> bool:
    """True for a URL that a retry asks for again."""
    kept_out = {SUCCESS, *(reason.value for reason in UNASKED)}
    return status.status not in kept_out if wants_all else status.status in {reason.value for reason in TRANSIENT}


def kept_images(tar: Path, statuses: Iterable[UrlStatus]) -> Iterator[tuple[UrlStatus, InputSample]]:
    """(status, sample) of each success, in order. Raises `ShardFailed` when the tar is not the statuses' own."""
    samples = read_samples(str(tar), _UNLIMITED, Counter())
    for status in statuses:
        if status.status != SUCCESS:
            continue
        sample = next((s for s in samples if s.key == status.key), None)
        if sample is None or not sample.image:
            raise ShardFailed(f"{tar}: sample {status.key} is missing or damaged; remove the file and build again")
        yield status, sample


def read_back(tar: Path, statuses: Iterable[UrlStatus]) -> Iterator[InputSample]:
    """A sample for every status, in order: the stored image, or the reason why there is none."""
    statuses = list(statuses)
    images = kept_images(tar, statuses)
    for status in statuses:
        if status.status == SUCCESS:
            yield next(images)[1]
            continue
        yield InputSample(
            key=status.key, text=None if status.caption is None else status.caption.encode("utf-8", "replace"),
            metadata=status.sample_json().encode("utf-8", "replace"),
            problem=cast("InputReject", LaionReject(status.status)), detail=status.error,
        )  # fmt: skip
