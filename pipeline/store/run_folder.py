"""The layout of a run folder: names of its files, its records, and which result `dataset/` holds.

Everything that reads a record uses `RunFolder`; `pipeline.store.record_log` has the format of their files, and writes
them. Does not know a plan: which record counts for which step is decided in `pipeline.build.resume`.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from core.errors import DamagedFileError
from core.strict_json import State, parse
from pipeline.store.record_log import read_lines
from pipeline.store.records import PUBLISHED_FILES, Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pipeline.store.storage import FileEntry, Storage

PLAN = "run/plan.json"
"""The plan of the latest build, written before its first result: a folder with this file is a run folder."""
PUBLISHED = "run/published.json"
"""States which result `dataset/` holds."""
STAGES = "stages"
"""Folder of the results of stages."""
DATASET = "dataset"
"""Folder that a sink publishes to."""
ANSWERS = "answers"
"""Folder with a folder for each stage that keeps answers across builds, see `pipeline.store.answer_cache`."""
STORE = "store"
"""Folder in a source stage's folder that holds the files it keeps."""

EXCHANGE = "exchange"
"""Folder in a stage's folder with rows that the rounds of the stage send to each other; removed at their end."""

WHERE = "where"
"""Folder in the folder of a stage that gathers rows, with the place of each id."""


class Published(State):
    """The result that `dataset/` holds."""

    output_digest: str


class RunFolder:
    """Records and files below one storage. Each folder is read once, so use a new object for a new look.

    All `stage_folder` arguments are paths below the run folder, as `PlannedStage.folder`.
    """

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self._listings: dict[str, dict[str, int]] = {}
        self._lines: dict[str, dict[str, bytes]] = {}

    def files(self, folder: str) -> dict[str, int]:
        """Name -> bytes of the files directly in `folder`, as they were at the first call."""
        if folder not in self._listings:
            self._listings[folder] = self.storage.sizes(folder)
        return self._listings[folder]

    def has_record(self, stage_folder: str, shard: str) -> bool:
        """True when there is a line about the shard among the stage's records. Its content is not checked."""
        return shard in self._records_of(stage_folder)

    def record(self, stage_folder: str, shard: str) -> Record | None:
        """The record, or None when it does not exist or is damaged: the step is then done again."""
        line = self._records_of(stage_folder).get(shard)
        if line is None:
            return None
        try:
            record = parse(Record, line, f"{stage_folder}/{shard}")
        except DamagedFileError:
            return None
        return record if record.shard == shard and record.is_consistent else None

    def records(self, stage_folder: str, shards: Iterable[str]) -> Iterator[Record]:
        """The records of these shards that exist, in order."""
        found = (self.record(stage_folder, shard) for shard in shards)
        return (record for record in found if record is not None)

    def forget(self, stage_folder: str) -> None:
        """Drop what was read of the folder, and of folders in it, from memory. The next call reads it again."""
        self._lines.pop(stage_folder, None)
        for name in [name for name in self._listings if f"{name}/".startswith(f"{stage_folder}/")]:
            del self._listings[name]

    def _records_of(self, stage_folder: str) -> dict[str, bytes]:
        if stage_folder not in self._lines:
            self._lines[stage_folder] = read_lines(self.storage, stage_folder)
        return self._lines[stage_folder]

    def has_files(self, stage_folder: str, record: Record) -> bool:
        """True when every file that the record lists has the size stated there."""
        return all(self.size(stage_folder, name) == entry.bytes for name, entry in record.files.items())

    def size(self, stage_folder: str, name: str) -> int | None:
        """Bytes of a file that a record lists under `name`, or None when the file does not exist."""
        folder, _, file = path_of(stage_folder, name).rpartition("/")
        return self.files(folder).get(file)

    def has_content(self, rel: str, entry: FileEntry) -> bool:
        """True when the file at `rel` exists now and has the sha256 of the entry. The whole file is read."""
        try:
            with self.storage.open(rel) as handle:
                return hashlib.file_digest(handle, "sha256").hexdigest() == entry.sha256  # type: ignore[arg-type]
        except FileNotFoundError:  # removed since it was listed
            return False

    def is_published(self, record: Record) -> bool:
        """True when `dataset/` exists and holds the result of this record of a sink's last step."""
        published = self.storage.read_state(PUBLISHED, Published)
        is_same = published is not None and published.output_digest == record.output_digest
        return is_same and self.storage.exists(DATASET)

    def mark_published(self, record: Record) -> None:
        """State that `dataset/` holds the result of this record."""
        content = Published(output_digest=record.output_digest).model_dump()
        self.storage.write_bytes(PUBLISHED, json.dumps(content).encode())

    def unmark_published(self) -> None:
        """State that `dataset/` holds no result. Call this before `dataset/` changes."""
        self.storage.remove(PUBLISHED)


def path_of(stage_folder: str, name: str) -> str:
    """The path below the run folder of a file that a record of the stage lists under `name`."""
    if name.startswith(PUBLISHED_FILES):
        return f"{DATASET}/{name.removeprefix(PUBLISHED_FILES)}"
    return f"{stage_folder}/{name}"
