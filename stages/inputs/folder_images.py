"""Find the image files that a captions file names, inside its folder only, with size and time as their identity."""

from __future__ import annotations

import errno
import os
import posixpath
import stat
import unicodedata
from typing import TYPE_CHECKING, Any

from fsspec.core import url_to_fs

from pipeline.plan.inputs import file_stamp
from stages.inputs.image_values import MAX_NAME_BYTES
from stages.inputs.rows import InputReject, InputSample

if TYPE_CHECKING:
    from collections.abc import Callable

ROW_ERRNOS = frozenset({errno.ENOENT, errno.EISDIR, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG,
                        errno.ELOOP, errno.EINVAL})  # fmt: skip
"""Errors that say that this one image cannot be read; any other is the machine's."""


class ImageFolder:
    """The folder of one captions file."""

    def __init__(self, captions_url: str) -> None:
        self._fs, self._captions = url_to_fs(captions_url)
        self._folder = url_to_fs(posixpath.dirname(captions_url) or ".")[1]
        self._is_local = "file" in self._fs.protocol
        self._real_folders: tuple[str, ...] = ()

    def load(self, sample: InputSample, name: str, max_bytes: int) -> None:
        """Give the sample its image, or the reason why it has none."""
        if len(name) > MAX_NAME_BYTES:  # to follow links costs the square of the folders in a name
            sample.problem, sample.detail = InputReject.UNREADABLE_IMAGE, f"a name of {len(name)} characters"
            return
        for one in self._spellings(name):
            path = posixpath.join(self._folder, one)
            if not is_inside(one) or (self._is_local and not self._is_linked_inside(path)):
                sample.problem, sample.detail = InputReject.UNSAFE_PATH, name[:200]
                return
            try:
                self._read(sample, path, name, max_bytes)
            except FileNotFoundError:
                continue
            except OSError as error:
                if error.errno not in ROW_ERRNOS:
                    raise
                sample.problem, sample.detail = InputReject.UNREADABLE_IMAGE, f"{type(error).__name__}: {name[:200]}"
            return
        sample.problem, sample.detail = InputReject.UNREADABLE_IMAGE, f"FileNotFoundError: {name[:200]}"

    def _read(self, sample: InputSample, path: str, name: str, max_bytes: int) -> None:
        info = self._fs.info(path)
        size = int(info["size"] or 0)
        if info["type"] != "file":  # a folder, or a pipe without a writer
            sample.problem, sample.detail = InputReject.UNREADABLE_IMAGE, f"{info['type']}: {name[:200]}"
        elif size > max_bytes:
            sample.problem, sample.detail = InputReject.OVERSIZE_IMAGE, f"{size} bytes"
        else:
            sample.image = self._fs.cat_file(path)

    def _spellings(self, name: str) -> list[str]:
        """The name below the folder as it is, with Windows' separators, and with accents composed and decomposed."""
        if self._is_local and name.startswith(f"{self._folder}/"):
            name = name[len(self._folder) + 1 :]
        spelled = [name, name.replace("\\", "/")]
        spelled += [unicodedata.normalize(form, spelled[-1]) for form in ("NFC", "NFD")]
        return list(dict.fromkeys(spelled))

    def stamps(self) -> Callable[[Any], tuple[int, str]]:
        """A function from an image's name to (bytes, text that changes with the file), or (0, "") for none."""
        look = self._local_stamp if self._is_local else self._listed_stamps()

        def stamp(name: Any) -> tuple[int, str]:
            for one in self._spellings(name) if isinstance(name, str) else ():
                found = look(one) if is_inside(one) else None
                if found is not None:
                    return found
            return 0, ""

        return stamp

    def _local_stamp(self, name: str) -> tuple[int, str] | None:
        try:
            found = os.stat(f"{self._folder}/{name}")  # noqa: PTH116  a million of them
        except (OSError, ValueError):
            return None
        return (found.st_size, str(found.st_mtime_ns)) if stat.S_ISREG(found.st_mode) else None

    def _listed_stamps(self) -> Callable[[str], tuple[int, str] | None]:
        """The same by one listing of all that is below the folder: elsewhere each look costs a request."""
        found = self._fs.find(self._folder, detail=True)
        stamps = {
            posixpath.relpath(path, self._folder): (int(info.get("size") or 0), file_stamp(info))
            for path, info in found.items()
        }
        return lambda name: stamps.get(posixpath.normpath(name))

    def _is_linked_inside(self, path: str) -> bool:
        """True when a path, links followed, is below the folder of the captions file, or of what that links to.

        The second is the layout of Hugging Face's cache: captions file and images are links into one folder of blobs.
        """
        if not self._real_folders:
            folders = (posixpath.realpath(self._folder), posixpath.dirname(posixpath.realpath(self._captions)))
            self._real_folders = tuple(f"{folder.rstrip('/')}/" for folder in folders)
        return posixpath.realpath(path).startswith(self._real_folders)


def is_inside(name: str) -> bool:
    """True for a relative path that stays below its folder."""
    try:
        name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # no file can be called so
        return False
    plain = posixpath.normpath(name.replace("\\", "/"))
    return not (plain.startswith(("/", "../")) or plain == ".." or "\0" in name or ":" in plain.split("/")[0])
