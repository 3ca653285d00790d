"""Read images of one tar by name. The tar is indexed once, kept open, and nothing is extracted to disk.

An image is found by the last two parts of its name, or by the last where a table has no more: a tar's own top folders
are not always those of the table. Where several members end so, the folder before counts, and without one the image
is not known.
"""

from __future__ import annotations

from collections import Counter
from typing import IO, TYPE_CHECKING, NamedTuple

from core.errors import ShardFailed
from stages.inputs.folder_images import is_inside
from stages.inputs.image_tars import ImageTar, clean_name, images_in
from stages.inputs.image_values import MAX_NAME_BYTES
from stages.inputs.joined_file import joined
from stages.inputs.rows import InputReject
from stages.inputs.tar_headers import FULL_NOTE, NoTarError, TarWalk

if TYPE_CHECKING:
    from stages.inputs.rows import InputSample

MAX_INDEX_BYTES = 768 << 20
MEMBER_BYTES = 320
"""Memory of an indexed image at most, without its name. Measured with names of 60 characters: 280 with the name."""


class _Place(NamedTuple):
    top: str
    """Folders above the last two parts of the name."""
    offset: int
    size: int


class TarImages:
    """The images of one tar by their names, for `InputEdit.add_image`."""

    def __init__(self, tar: ImageTar) -> None:
        """Read the tar's headers. Raises `ShardFailed` for a file that is no tar."""
        self.tar = tar
        self.notes: Counter[str] = Counter()
        """Of what could not be read; they belong to each reading."""
        self._size = sum(tar.sizes)
        self._handle: IO[bytes] = joined(tar.urls, tar.sizes)
        self._places: dict[str, _Place] = {}
        self._repeated: dict[str, dict[str, _Place]] = {}
        self._by_file: dict[str, list[str]] | None = None
        try:
            self._index()
        except NoTarError as error:
            self._handle.close()
            raise ShardFailed(f"{tar.urls[0]}: not a tar archive ({error})") from None

    def _index(self) -> None:
        num_bytes = 0
        tops: dict[str, str] = {}
        for name, offset, size in images_in(TarWalk(self._handle, self._size), self.notes):
            num_bytes += MEMBER_BYTES + 4 * len(name)
            if num_bytes > MAX_INDEX_BYTES:
                self.notes[FULL_NOTE] += self._size - offset
                return
            parts = name.rsplit("/", 2)
            top, tail = ("/".join(parts[:-2]), "/".join(parts[-2:]))
            place = _Place(tops.setdefault(top, top), offset, size)
            known = self._places.get(tail)
            if known is None or known.top == top:  # of one name the last counts, as where a tar is unpacked
                self._places[tail] = place
            else:
                self._repeated.setdefault(tail, {})[top] = place

    def load(self, sample: InputSample, name: str, max_bytes: int) -> None:
        """Give the sample its image, or the reason why it has none."""
        if len(name) > MAX_NAME_BYTES:
            sample.problem, sample.detail = InputReject.UNREADABLE_IMAGE, f"a name of {len(name)} characters"
            return
        if not is_inside(name):
            sample.problem, sample.detail = InputReject.UNSAFE_PATH, name[:200]
            return
        places = self._places_of(clean_name(name))
        if len(places) != 1:
            found = "several members end so" if places else "no such member"
            sample.problem, sample.detail = InputReject.UNREADABLE_IMAGE, f"{found} in {self.tar.stem}: {name[:200]}"
            return
        place = places[0]
        if place.size > max_bytes:
            sample.problem, sample.detail = InputReject.OVERSIZE_IMAGE, f"{place.size} bytes"
        elif place.offset + place.size > self._size:
            detail = f"the archive {self.tar.stem} ends within it: {name[:200]}"
            sample.problem, sample.detail = InputReject.UNREADABLE_IMAGE, detail
        else:
            self._handle.seek(place.offset)
            sample.image = self._handle.read(place.size)
            if len(sample.image) < place.size:
                raise ShardFailed(
                    f"{self.tar.stem}.tar: {len(sample.image)} of {place.size} bytes of {name[:200]!r}; the archive "
                    "was changed while it was read; run the same command again"
                )

    def _places_of(self, name: str) -> list[_Place]:
        """The members that a name of a table may be."""
        parts = name.split("/")
        tails = ["/".join(parts[-2:])] if len(parts) > 1 else self._named(name)
        places = [place for tail in tails if (place := self._places.get(tail))]
        places += [place for tail in tails for place in self._repeated.get(tail, {}).values()]
        if len(places) > 1 and len(parts) > 2:
            places = [place for place in places if place.top.split("/")[-1] == parts[-3]]
        return places

    def _named(self, file: str) -> list[str]:
        """The last two parts of members of this file name, whatever their folder."""
        if self._by_file is None:
            self._by_file = {}
            for tail in self._places:
                self._by_file.setdefault(tail.rpartition("/")[2], []).append(tail)
        return self._by_file.get(file, [])

    def close(self) -> None:
        """Close the tar."""
        self._handle.close()
