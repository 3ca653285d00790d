"""What the user may write for SHARDS: a brace list, glob, folder, file, fsspec URL, or a text file of those.

Owns expansion to a list of URLs and the naming of shards. Does not open any shard.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from pipeline.errors import PlanError
from pipeline.stage import Shard
from pipeline.storage import connect

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"^(-?\d+)\.\.(-?\d+)$")
_GLOB = re.compile(r"[*?\[]")
STAMPS = ("ETag", "etag", "mtime", "LastModified", "Last-Modified", "last_modified", "updated", "created")
"""What file systems call an entity tag or a time of change."""
MAX_NAME = 120
"""Longest shard name in characters: leaves room for suffixes in a 255-byte file name."""


def expand_braces(pattern: str) -> list[str]:
    """Bash-like expansion of `{a,b}` and `{000..012}`, leading zeros kept. Raises `PlanError` on an empty range."""
    found = _BRACES.search(pattern)
    if found is None:
        return [pattern]
    head, tail, body = pattern[: found.start()], pattern[found.end() :], found.group(1)
    span = _RANGE.match(body)
    if span:
        low, high = int(span[1]), int(span[2])
        if high < low:
            raise PlanError(f"shards {pattern!r}: range {{{body}}} runs backwards")
        width = max(len(span[1]), len(span[2])) if span[1].startswith("0") or span[2].startswith("0") else 0
        parts = [f"{n:0{width}d}" for n in range(low, high + 1)]
    else:
        parts = body.split(",")
    return [full for part in parts for full in expand_braces(f"{head}{part}{tail}")]


def expand_inputs(inputs: Sequence[str], suffixes: tuple[str, ...]) -> list[str]:
    """URLs behind the user's inputs, sorted, without repeats.

    A folder stands for the files in it that end in one of `suffixes` (for itself when `suffixes` is empty); a `.txt`
    file stands for the inputs it lists, one a line. Raises `PlanError` for an input that matches nothing.
    """
    found: list[str] = []
    for text in inputs:
        for one in expand_braces(text):
            found.extend(_expand_one(one, suffixes))
    return sorted(set(found))


def _expand_one(text: str, suffixes: tuple[str, ...]) -> list[str]:
    fs, path = connect(text)
    if text.endswith(".txt") and fs.isfile(path):
        return [url for line in _listed(text, fs.cat_file(path)) for url in _expand_line(text, line, suffixes)]
    if fs.isdir(path):
        if not suffixes:
            return [_with_protocol(text, path)]
        files = sorted(name for name in fs.find(path) if name.endswith(suffixes))
        if not files:
            raise PlanError(f"folder {text!r} holds no {' or '.join(suffixes)} file")
        return [_with_protocol(text, name) for name in files]
    if _GLOB.search(text) and not fs.exists(path):
        files = sorted(fs.glob(path))
        if not files:
            raise PlanError(f"shards {text!r} match no file")
        return [_with_protocol(text, name) for name in files]
    if not fs.exists(path):
        raise PlanError(f"shard {text!r} is not there: no such file or folder")
    return [_with_protocol(text, path)]


def _listed(text: str, content: bytes) -> list[str]:
    try:
        lines = [line.strip() for line in content.decode("utf-8-sig").splitlines()]
    except UnicodeDecodeError:
        raise PlanError(f"list of shards {text!r} is not UTF-8 text") from None
    return [line for line in lines if line and not line.startswith("#")]


def _expand_line(text: str, line: str, suffixes: tuple[str, ...]) -> list[str]:
    if line.endswith(".txt"):
        raise PlanError(f"list of shards {text!r} names another list, {line!r}; name its shards instead")
    return [url for one in expand_braces(line) for url in _expand_one(one, suffixes)]


def _with_protocol(text: str, name: str) -> str:
    protocol, separator, _ = text.partition("://")
    return f"{protocol}://{name.removeprefix('/')}" if separator and protocol != "file" else name


def file_identity(url: str) -> tuple[str, int]:
    """(identity, bytes) of a file: the identity changes when the file's content is replaced or another file is meant.

    Raises `PlanError` when the file cannot be looked at.
    """
    fs, path = connect(url)
    try:
        info = fs.info(path)
    except OSError as error:
        raise PlanError(f"shard {url!r} cannot be looked at: {error}") from None
    size = int(info.get("size") or 0)
    return f"{size}:{file_stamp(info)}:{path}", size


def file_stamp(info: Mapping[str, Any]) -> str:
    """What in a file system's details of a file changes with its content: an entity tag or a time."""
    stamps = (info.get(key) for key in STAMPS)
    return str(next((s for s in stamps if s), ""))


def name_shards(urls: Sequence[str]) -> dict[str, str]:
    """Shard name -> URL. The name is the file's stem, with parent folders put before it where stems collide."""
    depth = dict.fromkeys(urls, 1)
    while True:
        names: dict[str, list[str]] = {}
        for url in urls:
            names.setdefault(_name(url, depth[url]), []).append(url)
        clashes = [group for group in names.values() if len(group) > 1]
        if not clashes:
            return {name: group[0] for name, group in sorted(names.items())}
        for group in clashes:
            for url in group:
                depth[url] += 1
                if depth[url] > len(PurePosixPath(url).parts) + 1:
                    raise PlanError(f"shards {group[0]!r} and {group[1]!r} have names that cannot be told apart")


def _name(url: str, depth: int) -> str:
    parts = list(PurePosixPath(url.partition("://")[2] or str(Path(url).absolute())).parts)
    parts[-1] = PurePosixPath(parts[-1].removesuffix(".gz")).stem
    text = re.sub(r"[^a-z0-9_-]+", "-", "-".join(parts[-depth:]).lower()).strip("-_") or "shard"
    if len(text) > MAX_NAME:
        text = f"{text[: MAX_NAME - 9]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    return text


def shards_of_files(urls: Sequence[str]) -> list[Shard]:
    """One shard a file, named by `name_shards`, in name order."""
    shards = []
    for name, url in name_shards(urls).items():
        identity, size = file_identity(url)
        shards.append(Shard(name=name, uri=url, identity=identity, num_bytes=size))
    return shards
