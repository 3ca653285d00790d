"""An object store in memory that counts requests and takes 30 ms for each, as `slow://`.

One request is what it is on S3: a listing of up to 1,000 names, the details of one name, one whole or partial download,
one upload, one copy within the store, one removal of up to 1,000 names. A file that is opened is read in blocks.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import Any, ClassVar

import fsspec
from fsspec.spec import AbstractBufferedFile, AbstractFileSystem

NAMES_PER_REQUEST = 1000


class SlowStore(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """Objects by name, each request counted and delayed by `delay_s`."""

    protocol = "slow"
    objects: ClassVar[dict[str, bytes]] = {}
    requests: ClassVar[Counter[str]] = Counter()
    delay_s: ClassVar[float] = 0.0
    _lock: ClassVar[Any] = threading.Lock()

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(path).removeprefix("slow://").strip("/")

    def _request(self, kind: str, count: int = 1) -> None:
        with self._lock:
            self.requests[kind] += count
        if self.delay_s:
            time.sleep(self.delay_s * count)

    def find(
        self, path: str, maxdepth: int | None = None, withdirs: bool = False, detail: bool = False, **_: Any
    ) -> Any:
        """All objects below a prefix, and with `withdirs` the folders that their names imply."""
        root = self._strip_protocol(path)
        prefix = f"{root}/" if root else ""
        found = {name: self._entry(name) for name in sorted(self.objects) if name.startswith(prefix) or name == root}
        if withdirs:
            for name in list(found):
                parts = name.removeprefix(prefix).split("/")[:-1]
                for depth in range(1, len(parts) + 1):
                    folder = prefix + "/".join(parts[:depth])
                    found[folder] = {"name": folder, "size": 0, "type": "directory"}
        if maxdepth is not None:
            found = {n: e for n, e in found.items() if n.removeprefix(prefix).count("/") < maxdepth}
        self._request("list", -(-max(1, len(found)) // NAMES_PER_REQUEST))
        return dict(sorted(found.items())) if detail else sorted(found)

    def ls(self, path: str, detail: bool = True, **_: Any) -> Any:
        """Objects and folders directly below a name."""
        root = self._strip_protocol(path)
        prefix = f"{root}/" if root else ""
        found: dict[str, dict[str, Any]] = {}
        for name in list(self.objects):
            if name.startswith(prefix):
                first, _slash, rest = name.removeprefix(prefix).partition("/")
                own = prefix + first
                folder: dict[str, Any] = {"name": own, "size": 0, "type": "directory"}
                found[own] = folder if rest else self._entry(name)
        self._request("list", -(-max(1, len(found)) // NAMES_PER_REQUEST))
        if not found:
            if root in self.objects:
                found = {root: self._entry(root)}
            else:
                raise FileNotFoundError(path)
        return [found[n] for n in sorted(found)] if detail else sorted(found)

    def _entry(self, name: str) -> dict[str, Any]:
        return {"name": name, "size": len(self.objects[name]), "type": "file", "ETag": str(hash(self.objects[name]))}

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Details of one name."""
        name = self._strip_protocol(path)
        self._request("info")
        if name in self.objects:
            return self._entry(name)
        if any(one.startswith(f"{name}/") for one in self.objects):
            return {"name": name, "size": 0, "type": "directory"}
        raise FileNotFoundError(path)

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        """The content, or a part of it."""
        self._request("get")
        try:
            return self.objects[self._strip_protocol(path)][start:end]
        except KeyError:
            raise FileNotFoundError(path) from None

    def get_file(self, rpath: str, lpath: str, **_: Any) -> None:
        """Download one object to a local file."""
        data = self.cat_file(rpath)
        with open(lpath, "wb") as handle:  # noqa: PTH123  fsspec gives text paths
            handle.write(data)

    def pipe_file(self, path: str, value: bytes, **_: Any) -> None:
        """Upload one object."""
        self._request("put")
        self.objects[self._strip_protocol(path)] = bytes(value)

    def put_file(self, lpath: str, rpath: str, **_: Any) -> None:
        """Upload a local file."""
        with open(lpath, "rb") as handle:  # noqa: PTH123  fsspec gives text paths
            self.pipe_file(rpath, handle.read())

    def cp_file(self, path1: str, path2: str, **_: Any) -> None:
        """Copy within the store."""
        self._request("copy")
        self.objects[self._strip_protocol(path2)] = self.objects[self._strip_protocol(path1)]

    def copy(self, path1: str, path2: str, **_: Any) -> None:
        """Copy within the store."""
        self.cp_file(path1, path2)

    def rm(self, path: str, recursive: bool = False, **_: Any) -> None:
        """Remove an object, or all below a prefix."""
        root = self._strip_protocol(path)
        names = [n for n in list(self.objects) if n == root or (recursive and n.startswith(f"{root}/"))]
        if recursive:
            self._request("list", -(-max(1, len(names)) // NAMES_PER_REQUEST))
        self._request("remove", -(-max(1, len(names)) // NAMES_PER_REQUEST))
        for name in names:
            self.objects.pop(name, None)

    def _open(self, path: str, mode: str = "rb", **_: Any) -> Any:
        if mode != "rb":
            raise NotImplementedError(mode)
        return _SlowFile(self, self._strip_protocol(path), mode)

    def invalidate_cache(self, path: str | None = None) -> None:
        """Do nothing: listings are not kept."""


class _SlowFile(AbstractBufferedFile):  # type: ignore[misc]  # fsspec has no types
    def _fetch_range(self, start: int, end: int) -> bytes:
        return bytes(self.fs.cat_file(self.path, start, end))


def register() -> None:
    """Make `slow://` known to fsspec."""
    fsspec.register_implementation("slow", SlowStore, clobber=True)
