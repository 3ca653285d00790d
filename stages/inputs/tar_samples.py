"""Read samples of a WebDataset tar that may be damaged or hostile. Nothing is extracted to disk.

Members of one key need not lie together: the headers are read first, content one sample at a time. So the memory is
that of the index and of one sample, whose image has at most `max_image_bytes` and whose texts MAX_TEXT_BYTES each.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections import Counter
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from fsspec.core import url_to_fs

from core.errors import ShardFailed
from samples.images import IMAGE_SUFFIXES
from stages.inputs.rows import MAX_TEXT_BYTES, InputReject, InputSample
from stages.inputs.tar_headers import FULL_NOTE, NoTarError, TarWalk
from stages.inputs.tar_index import IndexFullError, Place, TarIndex, split_key

if TYPE_CHECKING:
    from collections.abc import Iterator

TEXT_SUFFIXES, JSON_SUFFIX = ("txt", "caption", "text"), "json"
"""Suffixes of the caption, of which a sample's first counts, and of the metadata."""
MAX_KEY_CHARS = 512
KEPT_INDEX_BYTES = 32 << 20


@contextlib.contextmanager
def open_local(url: str) -> Iterator[IO[bytes]]:
    """A seekable file with the content of `url`: the file itself, or a temporary copy of a remote one."""
    fs, path = url_to_fs(url)
    if "file" in ((fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol):
        with open(path, "rb") as handle:  # noqa: PTH123  fsspec gives text paths
            yield handle
        return
    with tempfile.NamedTemporaryFile() as copy:
        fs.get_file(path, copy.name)
        handle = open(copy.name, "rb")  # noqa: SIM115, PTH123  the download may have replaced the file
    with handle:  # it has no name any more: nothing is left of it, however this process ends
        yield handle


@dataclass(frozen=True, slots=True)
class _Known:
    """A tar that was read: its members by sample, its open file, and what closes it."""

    handle: IO[bytes]
    size: int
    index: TarIndex
    notes: Counter[str]
    """Of what was left out or ignored: they belong to each reading."""
    opened: contextlib.ExitStack


class TarReader:
    """Reads tars. It keeps the latest open with its members, since a source reads each shard twice in a short time.

    A tar whose index takes more than `KEPT_INDEX_BYTES` is closed when it was read.
    """

    def __init__(self) -> None:
        self._key = ("", "")
        self._known: _Known | None = None

    def samples(
        self, url: str, max_image_bytes: int, notes: Counter[str], *, identity: str = ""
    ) -> Iterator[InputSample]:
        """All samples of a tar, in the order of their first member. Raises `ShardFailed` for no tar.

        `identity` tells apart two contents of one URL; without it the tar is read anew.
        """
        if self._known is None or not identity or self._key != (url, identity):
            self.close()
            self._known, self._key = _read_index(url), (url, identity)
        notes.update(self._known.notes)
        try:
            yield from self._samples(self._known, max_image_bytes, notes)
        except OSError:
            self.close()  # a handle of a network disk may be out of date
            raise
        if self._known is not None and self._known.index.num_bytes > KEPT_INDEX_BYTES:
            self.close()

    @staticmethod
    def _samples(known: _Known, max_image_bytes: int, notes: Counter[str]) -> Iterator[InputSample]:
        handle, size = known.handle, known.size
        for key, repeat, members in known.index.groups():
            sample = InputSample(key=key[:MAX_KEY_CHARS])
            if repeat:
                sample.problem, sample.detail = InputReject.DUPLICATE_KEY, f"occurrence {repeat + 1} of this key"
            if extra := _num_extra(members):
                notes["extra members, ignored"] += extra
            yield _fill(handle, size, sample, members, max_image_bytes)

    def close(self) -> None:
        """Close the tar that is open."""
        if self._known is not None:
            self._known.opened.close()
            self._known = None


def read_samples(url: str, max_image_bytes: int, notes: Counter[str]) -> Iterator[InputSample]:
    """All samples of one tar, as `TarReader.samples`."""
    reader = TarReader()
    try:
        yield from reader.samples(url, max_image_bytes, notes)
    finally:
        reader.close()


def _read_index(url: str) -> _Known:
    notes: Counter[str] = Counter()
    with contextlib.ExitStack() as stack:
        handle = stack.enter_context(open_local(url))
        size = handle.seek(0, 2)
        if size == 0:
            raise ShardFailed(f"{url}: the archive is empty (0 bytes)")
        try:
            index = _index(handle, size, notes)
        except NoTarError as error:
            raise ShardFailed(
                f"{url}: not a tar archive ({error}); compressed tars are not read, unpack them first"
            ) from None
        return _Known(handle, size, index, notes, stack.pop_all())


def _index(handle: IO[bytes], size: int, notes: Counter[str]) -> TarIndex:
    index, walk = TarIndex(), TarWalk(handle, size)
    for member in walk.members(notes):
        if not member.is_file:
            notes["members that are no files, ignored"] += not member.is_folder
            continue
        key, suffix = split_key(member.name)
        if not key or not suffix:
            notes["members without key or suffix, ignored"] += 1
            continue
        if member.is_sparse and suffix not in IMAGE_SUFFIXES:
            notes["sparse members, ignored"] += 1
            continue
        try:
            is_kept = index.add(key, suffix, Place(member.offset, member.size, member.is_sparse))
        except IndexFullError:
            notes[FULL_NOTE] += size - member.start
            break
        if not is_kept:
            notes["extra members, ignored"] += 1
    return index


def _fill(
    handle: IO[bytes], size: int, sample: InputSample, members: dict[str, Place], max_image_bytes: int
) -> InputSample:
    """The sample with the content of its members, or the reason why it has none."""
    image, text = _first(members, IMAGE_SUFFIXES), _first(members, TEXT_SUFFIXES)
    if image is None or (text is None and JSON_SUFFIX not in members):
        sample.detail = _described(members)
    if image is None:
        return sample
    if image.is_sparse:
        sample.problem, sample.detail = InputReject.UNREADABLE_IMAGE, "a sparse file, which no image is"
    elif image.size > max_image_bytes:
        sample.problem, sample.detail = InputReject.OVERSIZE_IMAGE, f"{image.size} bytes"
    else:
        try:
            sample.image = _content(handle, image, size)
            if text is not None:
                sample.text = _whole_characters(_content(handle, text, size, MAX_TEXT_BYTES))
                if text.size > MAX_TEXT_BYTES:
                    sample.notes.append(f"texts cut after {MAX_TEXT_BYTES} bytes")
            if JSON_SUFFIX in members:
                sample.metadata = _content(handle, members[JSON_SUFFIX], size, MAX_TEXT_BYTES)
        except EOFError as error:
            sample.problem, sample.detail, sample.image = InputReject.TRUNCATED_SHARD, str(error), None
    return sample


def _first(members: dict[str, Place], suffixes: tuple[str, ...]) -> Place | None:
    return next((members[suffix] for suffix in suffixes if suffix in members), None)


def _described(members: dict[str, Place]) -> str:
    """The suffixes that a sample has, for a reject."""
    text = f"members: {', '.join(sorted(members))[:200]}"
    has_hidden = any(suffix.rpartition(".")[2] in IMAGE_SUFFIXES for suffix in members if "." in suffix)
    return f"{text}; a key ends at the first dot of a file's name" if has_hidden else text


def _num_extra(members: dict[str, Place]) -> int:
    """Members other than one image, the text and the metadata, or none where there is no image."""
    if _first(members, IMAGE_SUFFIXES) is None:
        return 0
    return len(members) - 1 - (_first(members, TEXT_SUFFIXES) is not None) - (JSON_SUFFIX in members)


def _content(handle: IO[bytes], place: Place, size: int, limit: int | None = None) -> bytes:
    if place.offset + place.size > size:
        raise EOFError("the archive ends within one of its members")
    handle.seek(place.offset)
    return handle.read(place.size if limit is None else min(place.size, limit))


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
