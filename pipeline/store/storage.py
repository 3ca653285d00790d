"""Storage: files below one root, a local path or any fsspec URL. A file appears complete or not at all.

A file is written to a temporary local path and then moved (local) or uploaded (remote) to its name. Temporary files
of a local run are in `<run folder>/tmp/<run id>`, so the next run finds and removes those of a killed one. Temporary
files of a remote run are in this machine's temporary folder (`pipeline.store.scratch`). Does not know the layout of a
run folder: see `pipeline.store.run_folder`.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import shutil
import threading
import uuid
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

from pydantic import ConfigDict

from core.errors import DamagedFileError
from core.locations import connect, protocols
from core.strict_json import Count, State, parse
from pipeline.store.scratch import Scratch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

S = TypeVar("S", bound=State)
A = TypeVar("A")
B = TypeVar("B")

REQUESTS_AT_ONCE = 16
"""Requests to a remote file system that wait for an answer at the same time."""

MOST_RECENT_BYTES = 64 << 20
"""Bytes of remote files that a process keeps in memory: the next stage on a shard reads what the last one wrote."""


class FileEntry(State):
    """Size and sha256 of a file that a stage wrote."""

    model_config = ConfigDict(extra="forbid")

    bytes: Count
    sha256: str


class _Recent:
    """Content of remote files that were written or read last, up to `MOST_RECENT_BYTES`, for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._data: dict[str, bytes] = {}
        self._num_bytes = 0

    def get(self, rel: str) -> bytes | None:
        with self._lock:
            data = self._data.pop(rel, None)
            if data is not None:
                self._data[rel] = data  # the last one now
            return data

    def keep(self, rel: str, data: bytes) -> None:
        with self._lock:
            self._drop(rel)
            self._data[rel] = data
            self._num_bytes += len(data)
            while self._num_bytes > MOST_RECENT_BYTES:
                self._drop(next(iter(self._data)))

    def drop(self, rel: str) -> None:
        """Drop a file, or the files of a folder."""
        with self._lock:
            for name in [name for name in self._data if f"{name}/".startswith(f"{rel}/")]:
                self._drop(name)

    def _drop(self, rel: str) -> None:
        self._num_bytes -= len(self._data.pop(rel, b""))


class Storage:
    """Files under one root. All `rel` arguments are `/`-separated paths below it. Picklable."""

    def __init__(self, url: str, run_id: str = "") -> None:
        self.url = url
        self.run_id = run_id or uuid.uuid4().hex[:12]
        self._connect()

    def _connect(self) -> None:
        self.fs, self.root = connect(self.url)
        self.is_local = "file" in protocols(self.fs)
        self._elsewhere = None if self.is_local else Scratch(self.run_id)
        self._recent = _Recent()

    def __getstate__(self) -> dict[str, str]:
        url = self.root if self.is_local else self.url  # absolute: a worker may have another current folder
        return {"url": url, "run_id": self.run_id}

    def __setstate__(self, state: dict[str, str]) -> None:
        self.url, self.run_id = state["url"], state["run_id"]
        self._connect()

    def path(self, rel: str) -> str:
        """The full path of `rel` in the file system."""
        return f"{self.root.rstrip('/')}/{rel}" if rel else self.root

    def exists(self, rel: str) -> bool:
        """True when a file or folder exists now."""
        self.fs.invalidate_cache()
        return bool(self.fs.exists(self.path(rel)))

    def read_bytes(self, rel: str) -> bytes:
        """The whole file. Raises `FileNotFoundError`."""
        data: bytes = self.fs.cat_file(self.path(rel))
        return data

    def read_range(self, rel: str, start: int, stop: int) -> bytes:
        """Bytes `start` to `stop` of a file. Raises `FileNotFoundError`."""
        data: bytes = self.fs.cat_file(self.path(rel), start=start, end=stop)
        return data

    def contents(self, rels: Iterable[str]) -> Iterator[bytes]:
        """The whole content of each file, in order. Remote files are read ahead. Raises `FileNotFoundError`."""
        return self.in_parallel(self.read_bytes, rels)

    def in_parallel(self, function: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
        """`function` of each item, in order: one after the other on a local disk, else `REQUESTS_AT_ONCE` at a time."""
        if self.is_local:
            yield from map(function, items)
            return
        with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
            running: deque[Future[B]] = deque()
            try:
                for item in items:
                    running.append(pool.submit(function, item))
                    if len(running) >= REQUESTS_AT_ONCE:
                        yield running.popleft().result()
                while running:
                    yield running.popleft().result()
            finally:
                for future in running:
                    future.cancel()

    def read_state(self, rel: str, model: type[S]) -> S | None:
        """The file as `model`, or None when it does not exist or cannot be read as one."""
        try:
            return parse(model, self.read_bytes(rel), rel)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError, DamagedFileError):
            return None

    def open(self, rel: str) -> IO[bytes]:
        """A seekable binary file open for reading."""
        handle: IO[bytes] = open(self.path(rel), "rb") if self.is_local else self.fs.open(self.path(rel), "rb")  # noqa: SIM115, PTH123  the caller closes it
        return handle

    def open_whole(self, rel: str) -> IO[bytes]:
        """As `open`, for a file that is read as a whole: a remote one is fetched at once, or was kept by `publish`."""
        if self.is_local:
            return self.open(rel)
        data = self._recent.get(rel)
        if data is None:
            data = self.read_bytes(rel)
            self._recent.keep(rel, data)
        return io.BytesIO(data)

    def sizes(self, rel: str) -> dict[str, int]:
        """Name -> bytes of the files directly in folder `rel`, or empty when the folder does not exist."""
        if self.is_local:
            return _local_sizes(self.path(rel))
        self.fs.invalidate_cache()
        try:
            found: list[dict[str, Any]] = self.fs.ls(self.path(rel), detail=True)
        except FileNotFoundError:
            return {}
        return {f["name"].rsplit("/", 1)[-1]: int(f["size"]) for f in found if f["type"] == "file"}

    def folders(self, rel: str) -> list[str]:
        """Names of the folders directly in folder `rel`, sorted."""
        self.fs.invalidate_cache()
        try:
            found: list[dict[str, Any]] = self.fs.ls(self.path(rel), detail=True)
        except FileNotFoundError:
            return []
        return sorted(f["name"].rstrip("/").rsplit("/", 1)[-1] for f in found if f["type"] == "directory")

    def remove(self, rel: str) -> None:
        """Delete a file, or a folder with its content. Do nothing when it does not exist."""
        if self.is_local:
            path = Path(self.path(rel))
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
            return
        self._recent.drop(rel)
        if self.fs.exists(self.path(rel)):
            self.fs.rm(self.path(rel), recursive=True)

    def scratch(self) -> Path:
        """A local folder for temporary files of this run, on the device of a local run folder."""
        if self._elsewhere is not None:
            return self._elsewhere.folder()
        folder = Path(self.path(f"tmp/{self.run_id}"))
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @contextlib.contextmanager
    def writing(self, rel: str) -> Iterator[Path]:
        """A local path to write to. The file appears at `rel` when the block succeeds, or is removed."""
        temporary = self.scratch() / f"{uuid.uuid4().hex}-{Path(rel).name[-80:]}"
        try:
            yield temporary
            self.publish(temporary, rel)
        finally:
            temporary.unlink(missing_ok=True)

    def publish(self, temporary: Path, rel: str, *, is_read_again: bool = False) -> None:
        """Move a finished local file to `rel`. An existing file is replaced in one step.

        With `is_read_again` this process keeps the content of a small file for `open_whole`.
        """
        if self.is_local:
            final = Path(self.path(rel))
            try:
                temporary.replace(final)
            except FileNotFoundError:
                final.parent.mkdir(parents=True, exist_ok=True)
                temporary.replace(final)
            except IsADirectoryError:  # only the engine creates files here, so it is no result
                self.remove(rel)
                temporary.replace(final)
            return
        self._recent.drop(rel)
        self.fs.put_file(str(temporary), self.path(rel))
        if is_read_again and temporary.stat().st_size <= MOST_RECENT_BYTES // 16:
            self._recent.keep(rel, temporary.read_bytes())

    def forget_recent(self) -> None:
        """Drop what is kept in memory of files: after a failed step another process may write them anew."""
        self._recent = _Recent()

    def write_bytes(self, rel: str, data: bytes, *, survives_crash: bool = False) -> None:
        """Write a whole file at `rel`, atomically: with `survives_crash` also where the machine fails in between."""
        with self.writing(rel) as temporary, temporary.open("wb") as out:
            out.write(data)
            if survives_crash:
                out.flush()
                os.fsync(out.fileno())

    def fetch(self, rel: str, into: Path) -> Path:
        """A local path of the file, or of the folder of files: a copy where the run folder is remote."""
        if self.is_local:
            return Path(self.path(rel))
        names = self.sizes(rel)
        if names and not self.fs.isfile(self.path(rel)):
            folder = into / rel.replace("/", "_")
            folder.mkdir(parents=True, exist_ok=True)
            for name in names:
                self._copy_here(f"{rel}/{name}", folder / name)
            return folder
        into.mkdir(parents=True, exist_ok=True)
        local = into / rel.replace("/", "_")
        self._copy_here(rel, local)
        return local

    def _copy_here(self, rel: str, local: Path) -> None:
        if not local.exists():  # workers of one machine share the folder
            with self.reading(rel) as part:
                part.replace(local)

    @contextlib.contextmanager
    def reading(self, rel: str) -> Iterator[Path]:
        """A local path of the file for the block: a copy, removed afterwards, where the run folder is remote."""
        if self.is_local:
            yield Path(self.path(rel))
            return
        copy = self.scratch() / f"{uuid.uuid4().hex}-{Path(rel).name[-80:]}"
        try:
            self.fs.get_file(self.path(rel), str(copy))
            yield copy
        finally:
            copy.unlink(missing_ok=True)

    def tree_bytes(self, rel: str) -> int:
        """Bytes of all files below folder `rel`, or 0 when it does not exist."""
        return int(self.fs.du(self.path(rel))) if self.exists(rel) else 0

    def publish_folder(self, folder: Path, rel: str, links: Mapping[str, str]) -> None:
        """Make folder `rel` hold exactly the files of a local folder and the files in `links` (name -> path here).

        Locally, `links` become hard links (copies where the file system has none) and the folder is replaced in one
        step. Elsewhere the remote file system copies them, several at a time, before the other files are uploaded.
        """
        if self.is_local:
            for name, origin in links.items():
                _link(Path(self.path(origin)), folder / name)
            final, old = Path(self.path(rel)), self.scratch() / f"old-{uuid.uuid4().hex}"
            final.parent.mkdir(parents=True, exist_ok=True)
            if final.exists():
                final.rename(old)
            folder.rename(final)
            shutil.rmtree(old, ignore_errors=True)
            return
        made = sorted(folder.iterdir())
        stale = set(self.sizes(rel)) - set(links) - {file.name for file in made}
        paths = [(self.path(origin), self.path(f"{rel}/{name}")) for name, origin in links.items()]
        puts = [(str(file), self.path(f"{rel}/{file.name}")) for file in made]
        for _ in self.in_parallel(lambda at: self.fs.cp_file(*at), paths):
            pass
        for _ in self.in_parallel(lambda at: self.fs.put_file(*at), puts):
            pass
        for _ in self.in_parallel(self.remove, sorted(f"{rel}/{name}" for name in stale)):
            pass

    def clear_scratch(self) -> None:
        """Remove temporary files of all earlier runs. Call this only while holding the lock."""
        for name in self.folders("tmp") if self.is_local else []:
            if name != self.run_id:
                self.remove(f"tmp/{name}")

    def close(self) -> None:
        """Remove this run's temporary files."""
        if self._elsewhere is not None:
            self._elsewhere.remove()
            return
        folder = Path(self.path(f"tmp/{self.run_id}"))
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            folder.parent.rmdir()


def describe_file(path: Path) -> FileEntry:
    """Size and sha256 of a local file."""
    with path.open("rb") as handle:
        sha = hashlib.file_digest(handle, "sha256").hexdigest()
    return FileEntry(bytes=path.stat().st_size, sha256=sha)


def _local_sizes(folder: str) -> dict[str, int]:
    sizes: dict[str, int] = {}
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):  # removed since it was listed
                sizes |= {entry.name: entry.stat().st_size} if entry.is_file() else {}
    return sizes


def _link(origin: Path, to: Path) -> None:
    try:
        to.hardlink_to(origin)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EXDEV, errno.EMLINK, errno.ENOTSUP):
            raise
        shutil.copyfile(origin, to)
