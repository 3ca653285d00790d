"""Find the tars of images that belong to a table of names: `NAME.tar`, or its pieces `NAME.tar.split.000` and so on.

They are looked for in the table's folder, and in the folders of FOLDERS beside it, where ImgEdit has them. Which tar
holds a table's images is found by names alone, since table, tar and folders in the tar seldom agree in ImgEdit:

1. a tar whose first image lies in the folder that the table's names begin with
2. a tar with the name of that folder
3. a tar with the name of the table, or `results_` and that name

Where (1) holds for several tars, (2) and (3) choose between them. A table is refused where they do not: images of the
wrong tar may have the same names.

By the lists in public scripts that unpack the published set, (1) and (2) serve all tables but `replace_part0` and
`action_part1` to `action_part4`.
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fsspec.core import url_to_fs

from core.errors import ShardFailed
from pipeline.plan.inputs import file_stamp, followed
from pipeline.store.records import digest
from samples.images import IMAGE_SUFFIXES
from stages.inputs.joined_file import joined
from stages.inputs.tar_headers import NoTarError, TarWalk

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

FOLDERS = ("Singleturn", "Multiturn")
LOOKED_AT_MEMBERS = 100
"""Members of a tar that are looked at for its first image."""
PREFIX = "results_"
_TAR = re.compile(r"(?P<stem>.+)\.tar(?:\.split\.(?P<piece>\d{1,9}))?")


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageTar:
    """One tar: its name without suffix, the files that hold it, in order, with their sizes, and what they are."""

    stem: str
    urls: tuple[str, ...]
    sizes: tuple[int, ...]
    identity: str
    """Changes when a file is added, removed or replaced."""


def list_image_tars(table_url: str) -> list[ImageTar]:
    """The tars near a table, by name. Raises `ShardFailed` for one of which a piece is missing."""
    found: dict[tuple[str, str], dict[int, tuple[str, int, str]]] = {}
    fs, path = url_to_fs(table_url)
    own = posixpath.dirname(path)
    for folder in (own, *(posixpath.join(posixpath.dirname(own), name) for name in FOLDERS)):
        for info in fs.ls(folder, detail=True) if fs.isdir(folder) else ():
            name = str(info["name"])
            match = _TAR.fullmatch(posixpath.basename(name))
            if match and info["type"] != "directory":
                details = followed(fs, name, info)
                place = (fs.unstrip_protocol(name), int(details.get("size") or 0), file_stamp(details))
                found.setdefault((match["stem"], folder), {})[int(match["piece"] or 0)] = place
    return [_tar(stem, pieces) for (stem, _), pieces in sorted(found.items())]


def _tar(stem: str, pieces: dict[int, tuple[str, int, str]]) -> ImageTar:
    numbers = sorted(pieces)
    if numbers != list(range(len(numbers))):
        lacking = next(n for n in range(len(numbers)) if n not in pieces)
        raise ShardFailed(f"{stem}.tar: piece {lacking:03d} is missing of {numbers[-1] + 1} or more; download it")
    places = [pieces[number] for number in numbers]
    return ImageTar(
        stem=stem, urls=tuple(url for url, _, _ in places), sizes=tuple(size for _, size, _ in places),
        identity=digest([f"{size}:{stamp}:{url}" for url, size, stamp in places]),
    )  # fmt: skip


def tar_of(table_url: str, names: Sequence[str], tars: Sequence[ImageTar]) -> ImageTar:
    """The tar with the images that a table names; `names` are its first. Raises `ShardFailed` where there is none."""
    table = posixpath.splitext(posixpath.basename(table_url))[0]
    counted = Counter(clean_name(name).split("/")[0] for name in names if "/" in clean_name(name))
    folders = [folder for folder, _ in counted.most_common()]  # a few of the names may be wrong
    by_stem = {tar.stem: tar for tar in tars}
    own_names = (table, f"{PREFIX}{table}")
    for folder in folders:
        found = _tars_of_folder(folder, tars, by_stem)
        chosen = found if len(found) < 2 else _named(found, own_names)
        if chosen:
            return chosen[0]
        if found:
            stems = ", ".join(tar.stem for tar in found)[:200]
            raise ShardFailed(
                f"{table_url}: several tars have a folder {folder!r}: {stems}; give the right one the name of the table"
            )
    if named := _named(tars, own_names):
        return named[0]
    looked_for = ", ".join(dict.fromkeys([*folders[:1], *own_names]))
    raise ShardFailed(
        f"{table_url}: no tar holds its images; looked for {looked_for}, found "
        f"{', '.join(by_stem)[:200] or 'none'} in its folder and in {' and '.join(FOLDERS)} beside it"
    )


def _named(tars: Sequence[ImageTar], stems: Sequence[str]) -> list[ImageTar]:
    """The tars with one of these names, in the order of the names."""
    return [tar for stem in stems for tar in tars if tar.stem == stem]


def _tars_of_folder(folder: str, tars: Sequence[ImageTar], by_stem: Mapping[str, ImageTar]) -> list[ImageTar]:
    """The tar of that name where its first image is in such a folder, else all tars of which that is true.

    Where no tar has such a folder, it is the tar of that name, if there is one.
    """
    own = [by_stem[folder]] if folder in by_stem else []
    return next(
        (found for some in (own, tars) if (found := [tar for tar in some if folder in _first_folders(tar)])), own
    )


def _first_folders(tar: ImageTar) -> tuple[str, ...]:
    """The folders of the tar's first image, or none for a tar without image."""
    with joined(tar.urls, tar.sizes) as handle:
        try:
            for number, (name, _, _) in enumerate(images_in(TarWalk(handle, sum(tar.sizes)), Counter())):
                return tuple(name.split("/")[:-1]) if number < LOOKED_AT_MEMBERS else ()
        except NoTarError:
            return ()
    return ()


def images_in(walk: TarWalk, notes: Counter[str]) -> Iterator[tuple[str, int, int]]:
    """(name, place, bytes) of each image of a tar. Raises NoTarError for a file that is none."""
    for member in walk.members(notes):
        name = clean_name(member.name)
        if member.is_file and not member.is_sparse and name.lower().endswith(_SUFFIXES):
            yield name, member.offset, member.size


_SUFFIXES = tuple(f".{suffix}" for suffix in IMAGE_SUFFIXES)


def clean_name(name: str) -> str:
    """A name of a member, or one of a table, without `./` and such: relative to the top of the tar."""
    return posixpath.normpath(name.replace("\\", "/").lstrip("/"))
