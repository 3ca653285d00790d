"""Paths and fsspec URLs: the file system of a URL, and whether a URL is below a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fsspec.core import url_to_fs

from core.errors import MissingDependencyError, PlanError


def connect(url: str) -> tuple[Any, str]:
    """The file system of a path or fsspec URL, and the path in it. Raises `PlanError` for an unknown protocol.

    Raises `MissingDependencyError` for one whose package is not installed.
    """
    try:
        fs, path = url_to_fs(url)
    except ValueError as error:
        raise PlanError(f"{url!r} cannot be used: {error}") from None
    except ImportError as error:  # fsspec names the package that a URL's protocol needs
        raise MissingDependencyError(f"{url!r} cannot be used: {error}") from None
    return fs, str(path)


def lies_in(url: str, folder: str) -> bool:
    """True when the URL is the folder or below it. Local links are followed. Remote paths are compared as text."""
    (fs, path), (folder_fs, folder_path) = connect(url), connect(folder)
    if protocols(fs) != protocols(folder_fs):
        return False
    if "file" in protocols(fs):
        return Path(path).resolve().is_relative_to(Path(folder_path).resolve())
    return f"{path}/".startswith(f"{folder_path.rstrip('/')}/")


def protocols(fs: Any) -> tuple[str, ...]:
    """The protocols of a file system. The local one has `file` among them."""
    return (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)
