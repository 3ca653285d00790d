"""Paired folders: target images with a caption of the same name beside each, source images in folders of their own.

    target/<shard>/<sample_id>.jpg, .txt       source/<shard>/<sample_id>.jpg       mask/<shard>/<sample_id>.png

Rows with several source images lie apart, below `<number>-sources/`, because trainers want the same number of control
images for all images of a folder: the second ones are in `2-sources/source_2/`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from export.format import Format, LeftOut, LeftOutError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from export.exported import Exported
    from export.rows import Encoded, Row
    from export.shard_folder import ShardFolder

TARGET, SOURCE, MASK = "target", "source", "mask"
_FOLDER = re.compile(rf"(?:([0-9]+)-sources/)?{TARGET}/([^/]+)")


class PairedFormat(Format):
    """A format of paired folders with a file of settings for its trainer."""

    root: str | None = None
    """The folder that paths in the trainer's file begin with; none: the output folder, as an absolute path."""

    def begin(self, export: Exported) -> str:
        """What paths in the trainer's file begin with."""
        return (self.root if self.root is not None else str(export.out.resolve())).rstrip("/")


@dataclass(frozen=True, slots=True)
class PairFolder:
    """One folder of targets: how many source images its rows have, and its name below `target/` and `source/`."""

    num_sources: int
    name: str

    @property
    def group(self) -> str:
        """The folder above `target`, with a slash, or empty."""
        return group_of(self.num_sources)

    @property
    def target(self) -> str:
        """The folder of targets and captions."""
        return f"{self.group}{TARGET}/{self.name}"

    @property
    def mask(self) -> str:
        """The folder of masks."""
        return f"{self.group}{MASK}/{self.name}"

    @property
    def sources(self) -> list[str]:
        """The folders of source images, in their order."""
        return [f"{self.group}{source_of(number)}/{self.name}" for number in range(1, self.num_sources + 1)]


def group_of(num_sources: int) -> str:
    """The folder above those of rows with so many source images, with a slash; empty for one."""
    return "" if num_sources == 1 else f"{num_sources}-sources/"


def source_of(number: int) -> str:
    """The folder of the source images at place `number`, counted from 1."""
    return SOURCE if number == 1 else f"{SOURCE}_{number}"


def put_pair(shard: ShardFolder, row: Row, images: list[Encoded], text: str, mask: Encoded | None) -> None:
    """Write the target (first of `images`), its caption, the source images (the others), and the mask."""
    target, *sources = images
    group, name = group_of(len(sources)), f"{shard.folder}/{row.sample_id}"
    for number, source in enumerate(sources, start=1):
        shard.put(f"{group}{source_of(number)}/{name}.{source.suffix}", source.content)
    if mask is not None:
        shard.put(f"{group}{MASK}/{name}.{mask.suffix}", mask.content)
    put_target(shard, f"{group}{TARGET}/{name}", target, text)


def put_target(shard: ShardFolder, place: str, target: Encoded, text: str) -> None:
    """Write a target and its caption under the same name. No line end follows: a trainer may read it as a caption."""
    shard.put(f"{place}.{target.suffix}", target.content)
    shard.put(f"{place}.txt", text.encode())


def images_of(row: Row, most_sources: int, reader: str) -> list[Encoded]:
    """The target, then the source images. Raises LeftOutError for more than the reader takes."""
    sources = row.images("source_images")
    if len(sources) > most_sources:
        raise LeftOutError(LeftOut.SEVERAL_SOURCES, f"{len(sources)} source images; {reader} takes {most_sources}")
    return [row.image("target_image"), *sources]


def pair_folders(export: Exported) -> Iterator[PairFolder]:
    """The folders of targets, in the order of the shards."""
    for folder in export.folders():
        found = _FOLDER.fullmatch(folder)
        if found:
            yield PairFolder(int(found[1] or 1), found[2])


def quoted(text: str) -> str:
    """A text as a double-quoted string of TOML, YAML and JSON."""
    return json.dumps(text, ensure_ascii=False)
