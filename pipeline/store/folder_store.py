"""Files that a source stage keeps from call to call, such as downloads: `store/` in the stage's folder."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.store.storage import FileEntry, describe_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.store.storage import Storage


class FolderStore:
    """The `ShardStore` that source stages get: a folder of files below the stage's own folder."""

    def __init__(self, storage: Storage, folder: str) -> None:
        self._storage, self._folder = storage, folder
        self.kept: dict[str, FileEntry] = {}
        """Files passed to `keep` since the last `kept.clear()`."""

    @contextlib.contextmanager
    def fetch(self, name: str) -> Iterator[Path | None]:
        """A local path of the stored file for the block, or None. A copy is removed afterwards."""
        rel = f"{self._folder}/{name}"
        if not self._storage.exists(rel):
            yield None
            return
        with self._storage.reading(rel) as path:
            yield path

    def put(self, local: Path, name: str) -> Path:
        """Move a finished local file into the store, in one step. Returns a local path to read it from."""
        rel = f"{self._folder}/{name}"
        self._storage.publish(local, rel)
        return Path(self._storage.path(rel)) if self._storage.is_local else local

    def keep(self, local: Path, name: str) -> str:
        """List this file, as it is at `local` now, in the shard's record. Returns its sha256."""
        self.kept[name] = describe_file(local)
        return self.kept[name].sha256

    def remove(self, name: str) -> None:
        """Delete a stored file. Do nothing when it does not exist."""
        self.kept.pop(name, None)
        self._storage.remove(f"{self._folder}/{name}")

    def scratch(self) -> Path:
        """A local folder for temporary files."""
        return self._storage.scratch()
