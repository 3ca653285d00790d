"""What a format declares and does: the settings, what it carries of a sample, how it writes a shard, its last files.

A format is a frozen value, as a stage is. Its fields are the settings that decide what is written. `open` is called
once for each shard, in a process that may hold several shards one after another. `finish` is called once, when every
shard has its record. Formats are in `export.formats`, one file each; `export.run` runs them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar, Literal

from core.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from export.exported import Exported
    from export.rows import Row
    from export.shard_folder import ShardFolder


class Content(StrEnum):
    """Something in a dataset that a format has a place for, or has not. The values are the words of the card."""

    SOURCES = "more than one source image"
    MASK = "mask"
    REJECTED = "rejected edit of the same image"
    CAPTIONS = "captions of source and target"
    REVERSE = "reverse instruction"
    EDIT_TYPE = "edit type"
    SCORES = "scores and all other columns"
    TURNS = "turns of a session"
    IDS = "sample id"


class LeftOut(StrEnum):
    """Why a row is not in an export."""

    LACKS_COLUMN = "lacks_column"
    SEVERAL_SOURCES = "several_sources"
    UNREADABLE_IMAGE = "unreadable_image"
    SIZES_DIFFER = "sizes_differ"


class LeftOutError(Exception):
    """Raised by a format for a row that it has no place for, before it writes anything of the row."""

    def __init__(self, reason: LeftOut, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


@dataclass(frozen=True, kw_only=True)
class Guide:
    """How the export is used: lines for its card.

    `usage` is Markdown. `files` says of each file beside the images what it is. `front_matter` is YAML for the card's
    head, without licence, which the card adds itself.
    """

    usage: str
    files: Mapping[str, str] = field(default_factory=dict)
    front_matter: str = ""


class Format(Settings, ABC):
    """Settings of a format; with `open` it writes shards, with `finish` what describes all of them."""

    name: ClassVar[str]
    """The name that `--to` takes."""
    version: ClassVar[int]
    """Raised when the same dataset and settings would give other files."""
    reader: ClassVar[str]
    """Who reads the format."""
    source: ClassVar[str]
    """Where the reader's rules are written: repository, file, commit."""
    direction: ClassVar[str] = "The target image carries the text (`{caption}`), the source image is the control."
    """What the images of a row are to each other, for the card."""
    needs: ClassVar[tuple[str, ...]] = ("source_images", "target_image")
    """Columns without which a row is left out, in addition to the caption."""
    carries: ClassVar[Mapping[Content, str]]
    """Content of a dataset -> where it is in the export. The card names all others as not carried."""
    encoding: ClassVar[str] = "as stored, byte for byte"
    """How images are written, for the card."""

    caption: Literal["instruction", "target_caption"] = "instruction"
    """The text that the target image carries."""

    @abstractmethod
    def open(self, shard: ShardFolder) -> AbstractContextManager[Callable[[Row], None]]:
        """A function that writes one row, which has all that the format needs.

        It raises LeftOutError or ImageProblem for a row that it cannot write. The same rows give the same files.
        """

    @abstractmethod
    def finish(self, export: Exported) -> Guide:
        """Write the files that describe all shards, through `export`. They hold no time and no random number."""

    @property
    def required(self) -> tuple[str, ...]:
        """Columns without which a row is left out."""
        return tuple(dict.fromkeys((*self.needs, self.caption)))
