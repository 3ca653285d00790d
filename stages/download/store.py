"""Store a downloaded shard: a WebDataset tar in img2dataset's layout and the status of every URL.

`<shard>.tar` is stored first and `<shard>.status.parquet` last; the second has the hashes of the tar and of the input's
rows. Both are in the order of the input's rows, whatever order the answers came in. The shard's record lists them.
`<shard>.retry` asks for some URLs again: those with a temporary failure or, where the file holds the word `all`, all
that were requested and failed.
"""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
import uuid
from collections import Counter
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Self, cast

from core.errors import ShardFailed
from stages.download.status import SUCCESS, TRANSIENT, UNASKED, LaionReject, UrlStatus, read_labelled, write_statuses
from stages.inputs.rows import InputReject, InputSample
from stages.inputs.tar_samples import read_samples

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from pipeline.context import ShardStore

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
        self._held.clear()  # a reference to the spool must not keep the images
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """A shard that was downloaded before."""

    tar: Path | None
    statuses: list[UrlStatus]
    is_whole: bool
    """True when the tar is the one that the statuses tell of, byte for byte."""


@contextlib.contextmanager
def published(
    store: ShardStore, shard: str, statuses: Sequence[UrlStatus], image_of: Callable[[UrlStatus], bytes], identity: str
) -> Iterator[Path]:
    """Store the shard's tar, then its status table. Gives the tar's local path for the block."""
    folder = store.scratch()
    names = f"{shard}.tar", f"{shard}.status.parquet"
    tar, table = (folder / f"{uuid.uuid4().hex}-{name}" for name in names)
    try:
        write_tar(statuses, image_of, tar)
        write_statuses(statuses, table, identity, store.keep(tar, names[0]))
        store.keep(table, names[1])
        here = store.put(tar, names[0])
        store.put(table, names[1])
        yield here
    finally:
        tar.unlink(missing_ok=True)
        table.unlink(missing_ok=True)


@contextlib.contextmanager
def stored(store: ShardStore, shard: str, identity: str) -> Iterator[Stored | None]:
    """The shard as stored, for its record to list, or None without a readable status table of these rows."""
    with contextlib.ExitStack() as stack:
        table = stack.enter_context(store.fetch(f"{shard}.status.parquet"))
        try:
            statuses, found, tar_sha256 = read_labelled(table) if table is not None else ([], "", "")
        except ShardFailed:  # it is damaged
            table = None
        if table is None or found != identity:
            yield None
            return
        store.keep(table, f"{shard}.status.parquet")
        tar = stack.enter_context(store.fetch(f"{shard}.tar"))
        is_whole = tar is not None and store.keep(tar, f"{shard}.tar") == tar_sha256
        yield Stored(tar=tar, statuses=statuses, is_whole=is_whole)


@contextlib.contextmanager
def reread(store: ShardStore, shard: str, source: str) -> Iterator[tuple[Path, list[UrlStatus]]]:
    """(tar, statuses) as the stage `source` left them. Raises `ShardFailed` when they are not there."""
    with store.fetch(f"{shard}.status.parquet") as table, store.fetch(f"{shard}.tar") as tar:
        if table is None or tar is None:
            name = f"{shard}.status.parquet" if table is None else f"{shard}.tar"
            raise ShardFailed(
                f"{name} of stage {source} is not there any more; build again: what is missing is downloaded anew"
            )
        try:
            statuses, _, _ = read_labelled(table)
        except ShardFailed as error:
            raise ShardFailed(f"{shard}.status.parquet of stage {source}: {error}; {_advice(source, shard)}") from None
        yield tar, statuses


def _advice(source: str, shard: str) -> str:
    return f"remove {shard}.parquet in the folder of stage {source} and build again: what is damaged is downloaded anew"


def sound_images(tar: Path, statuses: Iterable[UrlStatus]) -> Iterator[tuple[str, bytes]]:
    """(key, image) of the successes that a damaged tar still has, byte for byte."""
    wanted = {s.key: s.stored_sha256 for s in statuses if s.status == SUCCESS}
    with contextlib.suppress(ShardFailed):  # no tar at all
        for sample in read_samples(str(tar), _UNLIMITED, Counter()):
            if sample.image and sample.key in wanted and _sha256(sample.image) == wanted[sample.key]:
                yield sample.key, sample.image


def marker_of(store: ShardStore, shard: str) -> str | None:
    """The text of the shard's marker, in lower case, or None without one."""
    with store.fetch(f"{shard}.retry") as marker:
        return None if marker is None else marker.read_text(errors="replace").strip().lower()


def is_retried(status: UrlStatus, *, wants_all: bool) -> bool:
    """True for a URL that a retry asks for again."""
    kept_out = {SUCCESS, *(reason.value for reason in UNASKED)}
    return status.status not in kept_out if wants_all else status.status in {reason.value for reason in TRANSIENT}


def read_back(tar: Path, statuses: Iterable[UrlStatus], source: str, shard: str) -> Iterator[InputSample]:
    """A sample for every status, in order: the stored image, or the reason why there is none.

    Raises `ShardFailed` when the tar does not have them; stage and shard are for its message.
    """
    samples = read_samples(str(tar), _UNLIMITED, Counter())
    for status in statuses:
        if status.status == SUCCESS:
            yield _next(samples, status, source, shard)
            continue
        yield InputSample(
            key=status.key, text=None if status.caption is None else status.caption.encode("utf-8", "replace"),
            metadata=status.sample_json().encode("utf-8", "replace"),
            problem=cast("InputReject", LaionReject(status.status)), detail=status.error,
        )  # fmt: skip


def _next(samples: Iterator[InputSample], status: UrlStatus, source: str, shard: str) -> InputSample:
    """The sample of a success."""
    try:
        found = next((s for s in samples if s.key == status.key), None)
    except ShardFailed:  # no tar at all
        found = None
    if found is None or not found.image or status.stored_sha256 not in (None, _sha256(found.image)):
        raise ShardFailed(
            f"{shard}.tar of stage {source}: sample {status.key} is missing or damaged; {_advice(source, shard)}"
        )
    return found


def _sha256(image: bytes) -> str:
    return hashlib.sha256(image).hexdigest()
