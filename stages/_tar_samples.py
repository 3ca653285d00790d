"""Reads samples out of a WebDataset tar that may be damaged or hostile. Nothing is ever extracted to disk.

A key is a member's path up to the first dot of its file name, as WebDataset has it. Members of one key need not lie
together: the headers are read first. A member that comes a second time under its key starts a further sample, which
is reported as a duplicate.
"""

from __future__ import annotations

import contextlib
import shutil
import tarfile
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Self, cast

from fsspec.core import url_to_fs

from pipeline.errors import ShardFailed
from samples.images import IMAGE_SUFFIXES
from stages._input_rows import InputReject, InputSample

if TYPE_CHECKING:
    from collections.abc import Iterator

TEXT_SUFFIX, JSON_SUFFIX = "txt", "json"
MAX_TEXT_BYTES = 1 << 20
MAX_KEY_CHARS = 512
BLOCK = 512
DAMAGE = (tarfile.TarError, EOFError, ValueError, OverflowError, IndexError, RecursionError)
"""What tarfile raises on headers that are cut, garbled or stacked a thousand deep."""
DAMAGE_NOTE = "archive damaged: the rest of it could not be read"
CUT_NOTE = "archive cut off: no end marker"
NAME_HEADERS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
MAX_NAME_HEADER_BYTES = 8192
"""Twice the longest path of Linux; tarfile's time on a pax header is quadratic in its size (CVE-2024-6232)."""


@dataclass
class _Group:
    key: str
    repeat: int = 0
    members: dict[str, tarfile.TarInfo] = field(default_factory=dict)


class _BoundedHeader(tarfile.TarInfo):
    """A header as tarfile reads it, unless it announces a name longer than any path."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """The header in a block. Raises `tarfile.ReadError` before a giant name is read."""
        header = super().frombuf(buf, encoding, errors)
        if header.type in NAME_HEADERS and header.size > MAX_NAME_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {header.size} bytes")
        return header


@contextlib.contextmanager
def open_local(url: str) -> Iterator[IO[bytes]]:
    """A seekable file with the content of `url`: the file itself, or a temporary copy of a remote one."""
    fs, path = url_to_fs(url)
    if "file" in ((fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol):
        with open(path, "rb") as handle:  # noqa: PTH123  fsspec gives text paths
            yield handle
        return
    with tempfile.TemporaryFile() as copy:
        with fs.open(path, "rb") as remote:
            shutil.copyfileobj(remote, copy, 1 << 20)
        copy.seek(0)
        yield cast("IO[bytes]", copy)


def read_samples(url: str, max_image_bytes: int, notes: Counter[str]) -> Iterator[InputSample]:
    """All samples of a tar in the order of their first member. Raises `ShardFailed` when it is no tar at all."""
    with open_local(url) as handle:
        size = handle.seek(0, 2)
        handle.seek(0)
        for group in _index(handle, url, size, notes):
            yield _sample(handle, group, size, max_image_bytes, notes)


def _index(handle: IO[bytes], url: str, size: int, notes: Counter[str]) -> list[_Group]:
    groups: dict[tuple[str, int], _Group] = {}
    repeats: Counter[str] = Counter()
    with _open_tar(handle, url, size) as tar:
        for member in _members(tar, notes):
            if not member.isreg():
                notes["members that are no files, ignored"] += not member.isdir()
                continue
            key, suffix = split_key(member.name)
            if not key or not suffix:
                notes["members without key or suffix, ignored"] += 1
                continue
            group = groups.setdefault((key, repeats[key]), _Group(key, repeats[key]))
            if suffix in group.members:
                repeats[key] += 1
                group = groups.setdefault((key, repeats[key]), _Group(key, repeats[key]))
            group.members[suffix] = member
        if not _is_ended(handle, tar.offset, size):
            readable = size - tar.offset >= BLOCK  # a whole header stands there, and is none
            notes[DAMAGE_NOTE if readable else CUT_NOTE] += not (readable and notes[DAMAGE_NOTE])
    return list(groups.values())


def _members(tar: tarfile.TarFile, notes: Counter[str]) -> Iterator[tarfile.TarInfo]:
    """Members in order, up to the end or to where the headers make no sense."""
    behind = -1
    while True:
        try:
            member = tar.next()
        except DAMAGE:
            notes[DAMAGE_NOTE] += 1
            return
        if member is None:
            return
        tar.members = []  # type: ignore[attr-defined]  # or it would grow with the archive
        if member.size < 0 or tar.offset <= behind:  # or it would be read for ever
            notes[DAMAGE_NOTE] += 1
            return
        behind = tar.offset
        yield member


def _open_tar(handle: IO[bytes], url: str, size: int) -> tarfile.TarFile:
    if size == 0:
        raise ShardFailed(f"{url}: the archive is empty (0 bytes)")
    try:
        return tarfile.open(fileobj=handle, mode="r:", errors="surrogateescape", tarinfo=_BoundedHeader)
    except DAMAGE as error:
        raise ShardFailed(
            f"{url}: not a tar archive ({error}); compressed tars are not read, unpack them first"
        ) from None


def _is_ended(handle: IO[bytes], offset: int, size: int) -> bool:
    """True when a block of zeros stands where the next header would."""
    if not 0 <= offset < size:
        return False
    handle.seek(offset)
    return handle.read(BLOCK) == bytes(BLOCK)


def split_key(name: str) -> tuple[str, str]:
    """(key, lower-cased suffix) of a member's name, split at the first dot of its last part."""
    folder, _, file = name.rpartition("/")
    stem, _, suffix = file.partition(".")
    if not stem:
        return "", ""
    return f"{folder}/{stem}" if folder else stem, suffix.lower()


def _sample(handle: IO[bytes], group: _Group, size: int, max_image_bytes: int, notes: Counter[str]) -> InputSample:
    members = group.members
    images = [s for s in IMAGE_SUFFIXES if s in members]
    extra = len(members) - len(images[:1]) - (TEXT_SUFFIX in members) - (JSON_SUFFIX in members)
    if extra and images:
        notes["extra members, ignored"] += extra
    sample = InputSample(key=group.key[:MAX_KEY_CHARS])
    if group.repeat:
        sample.problem, sample.detail = InputReject.DUPLICATE_KEY, f"occurrence {group.repeat + 1} of this key"
    if not images:
        sample.detail = f"members: {', '.join(sorted(members))[:200]}"
        return sample
    if members[images[0]].issparse():
        sample.problem, sample.detail = InputReject.UNREADABLE_IMAGE, "a sparse file, which no image is"
        return sample
    try:
        if members[images[0]].size > max_image_bytes:
            sample.problem, sample.detail = InputReject.OVERSIZE_IMAGE, f"{members[images[0]].size} bytes"
            return sample
        sample.image = _content(handle, members[images[0]], size)
        if TEXT_SUFFIX in members:
            sample.text = _whole_characters(_content(handle, members[TEXT_SUFFIX], size, MAX_TEXT_BYTES))
        if JSON_SUFFIX in members:
            sample.metadata = _content(handle, members[JSON_SUFFIX], size, MAX_TEXT_BYTES)
    except EOFError as error:
        sample.problem, sample.detail, sample.image = InputReject.TRUNCATED_SHARD, str(error), None
    return sample


def _content(handle: IO[bytes], member: tarfile.TarInfo, size: int, limit: int | None = None) -> bytes:
    if member.offset_data + member.size > size:
        raise EOFError(f"the archive ends within member {member.name[:80]!r}")
    handle.seek(member.offset_data)
    return handle.read(member.size if limit is None else min(member.size, limit))


def _whole_characters(text: bytes) -> bytes:
    """`text`, less the character that was cut in two where it was too long."""
    if len(text) < MAX_TEXT_BYTES:
        return text
    for back in range(1, 4):
        if text[-back] >= 0xC0:  # the first byte of a character of several
            return text[:-back]
        if text[-back] < 0x80:
            break
    return text
