"""Expands inputs to URLs (brace lists, globs, folders, files, fsspec URLs, text files of these) and names shards.

Does not open any shard.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import PlanError
from core.locations import connect
from pipeline.stage import Shard
from pipeline.store.run_folder import DATASET, PLAN, STAGES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

RESULTS = (STAGES, DATASET)
"""Folders of results in a run folder; the user may have removed one of them."""
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"^(-?\d+)\.\.(-?\d+)$")
_GLOB = re.compile(r"[*?\[]")
_ESCAPED = re.compile(r"\\([{},*?\[\]\\])")
_HELD_FROM = 0xE000
"""Start of a private range of Unicode: it replaces characters after a backslash while patterns are expanded."""
_HELD = re.compile(f"[{chr(_HELD_FROM)}-{chr(_HELD_FROM + 127)}]")
STAMPS = ("ETag", "etag", "mtime", "LastModified", "Last-Modified", "last_modified", "updated", "created")
"""Names that file systems use for an entity tag or a time of change."""
MANY_NAMES = 8
"""Names in one folder from which the folder is listed, so that there is no request for each."""
LOOK_UPS_AT_ONCE = 16
MAX_NAME = 120
"""Longest shard name in characters: leaves room for suffixes in a 255-byte file name."""
_PLAIN_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_SUFFIX = re.compile(r"(?<=.)\.[A-Za-z][A-Za-z0-9]*$")
"""Suffix of a file name; `.0` in the folder name `v1.0` is not one."""


def expand_braces(pattern: str) -> list[str]:
    """Bash-like expansion of `{a,b}` and `{000..012}`, leading zeros kept. Other braces are plain text.

    Raises `PlanError` on a range that runs backwards.
    """
    for found in _BRACES.finditer(pattern):
        head, tail, body = pattern[: found.start()], pattern[found.end() :], found.group(1)
        span = _RANGE.match(body)
        if span or "," in body:
            parts = _range(pattern, span) if span else body.split(",")
            return [full for part in parts for full in expand_braces(f"{head}{part}{tail}")]
    return [pattern]


def _range(pattern: str, span: re.Match[str]) -> list[str]:
    low, high = int(span[1]), int(span[2])
    if high < low:
        raise PlanError(f"shards {pattern!r}: range {{{span[0]}}} runs backwards")
    width = max(len(span[1]), len(span[2])) if span[1].startswith("0") or span[2].startswith("0") else 0
    return [f"{n:0{width}d}" for n in range(low, high + 1)]


def expand_inputs(inputs: Sequence[str], suffixes: tuple[str, ...]) -> list[str]:
    """URLs behind the user's inputs, sorted, without repeats.

    A folder means the files in it that end in one of `suffixes` (the folder itself when `suffixes` is empty). A `.txt`
    file means the inputs that it lists, one a line. An existing name is not a pattern; in a pattern, a backslash makes
    the next character literal. Files in run folders are left out unless a `dataset` folder is named. Raises `PlanError`
    for an input that matches nothing.
    """
    return sorted(_expand(inputs, suffixes))


def identify_inputs(inputs: Sequence[str], suffixes: tuple[str, ...]) -> dict[str, tuple[str, int]]:
    """As `expand_inputs`, each URL with the identity and bytes of its file (see `file_identity`).

    They come from listings where a folder or pattern was given, or several files of one folder.
    """
    found = _expand(inputs, suffixes)
    return {url: _identity(*found[url]) for url in sorted(found)}


_Details = tuple[str, "Mapping[str, Any]"]
"""Path of a file in its file system, and what the file system says about it."""


def _expand(texts: Sequence[str], suffixes: tuple[str, ...], listed_in: str = "") -> dict[str, _Details]:
    """URL -> details of the files behind the texts."""
    found: dict[str, _Details] = {}
    patterns: list[str] = []
    for text, info in _look_up(texts):
        if listed_in and text.endswith(".txt"):
            raise PlanError(f"list of shards {listed_in!r} names another list, {text!r}; name its shards instead")
        if info is not None:
            found |= _existing(text, info, suffixes)
        else:
            patterns.append(text)
    for text in patterns:
        spelt = expand_braces(_ESCAPED.sub(lambda sign: chr(_HELD_FROM + ord(sign[1])), text))
        plain = [_HELD.sub(lambda held: chr(ord(held[0]) - _HELD_FROM), one) for one in spelt]
        for one, (url, info) in zip(spelt, _look_up(plain), strict=True):
            if info is not None:
                found |= _existing(url, info, suffixes)
            elif _GLOB.search(one):
                found |= _matching(url, _HELD.sub(_literal_in_glob, one))
            else:
                raise PlanError(f"shard {url!r} is not there: no such file or folder")
    return found


def _look_up(urls: Sequence[str]) -> Iterator[tuple[str, Mapping[str, Any] | None]]:
    """Each URL with what its file system says about it, or None when it does not exist.

    A folder of which many names are asked for is listed once. Where that is not possible, several requests run at once.
    """
    places = [(url, *connect(url)) for url in urls]
    folders = Counter((id(fs), path.rpartition("/")[0]) for _, fs, path in places)
    known: dict[tuple[int, str], Mapping[str, Any]] = {}
    file_systems = {id(fs): fs for _, fs, _ in places}
    for (own, folder), count in folders.items():
        if count >= MANY_NAMES:
            with contextlib.suppress(OSError, NotImplementedError, ValueError):
                listed = file_systems[own].ls(folder, detail=True)
                known |= {(own, str(info["name"]).rstrip("/")): info for info in listed if not info.get("islink")}

    def details(place: tuple[str, Any, str]) -> Mapping[str, Any] | None:
        _, fs, path = place
        info = known.get((id(fs), path.rstrip("/")))
        if info is None:
            try:
                info = fs.info(path)
            except FileNotFoundError:
                return None
            except OSError:
                return None if not fs.exists(path) else {}
        return info

    if len(places) < MANY_NAMES or len(known) >= len(places):
        yield from ((place[0], details(place)) for place in places)
        return
    with ThreadPoolExecutor(LOOK_UPS_AT_ONCE) as pool:
        yield from zip(urls, pool.map(details, places), strict=True)


def _literal_in_glob(held: re.Match[str]) -> str:
    sign = chr(ord(held[0]) - _HELD_FROM)
    return f"[{sign}]" if sign in "*?[" else sign


def _existing(text: str, info: Mapping[str, Any], suffixes: tuple[str, ...]) -> dict[str, _Details]:
    fs, path = connect(text)
    if info.get("type") != "directory":
        if text.endswith(".txt"):
            return _expand(_listed(text, fs.cat_file(path)), suffixes, text)
        return {_with_protocol(text, path): (path, info)}
    if _is_run_folder(fs, path):
        raise PlanError(
            f"folder {text!r} is the run folder of a build; name its dataset/ folder, or the input of that build"
        )
    if not suffixes:
        return {_with_protocol(text, path): (path, info)}
    below: dict[str, Mapping[str, Any]] = fs.find(path, detail=True)
    runs = {name.removesuffix(f"/{PLAN}") for name in below if name.endswith(f"/{PLAN}")}
    runs = {run for run in runs if any(name.startswith(tuple(f"{run}/{part}/" for part in RESULTS)) for name in below)}
    files = [n for n in below if n.endswith(suffixes) and runs.isdisjoint(_above(n))]
    if not files:
        aside = " (run folders aside)" if runs else ""
        raise PlanError(f"folder {text!r} holds no {' or '.join(suffixes)} file{aside}")
    return {_with_protocol(text, name): (name, followed(fs, name, below[name])) for name in files}


def followed(fs: Any, path: str, info: Mapping[str, Any]) -> Mapping[str, Any]:
    """Details of a listed file: of that behind a symbolic link, of which a listing describes the link itself.

    Raises `PlanError` where the link leads nowhere.
    """
    return _described(fs, path) if info.get("islink") else info


def _described(fs: Any, path: str) -> Mapping[str, Any]:
    try:
        info: Mapping[str, Any] = fs.info(path)
    except OSError as error:
        raise PlanError(f"shard {path!r} cannot be looked at: {error}") from None
    return info


def _matching(text: str, pattern: str) -> dict[str, _Details]:
    """The files that a glob matches, without files in run folders. `…/dataset/*` matches those of a dataset."""
    fs, path = connect(pattern)
    base = path[: _GLOB.search(path).start()].rpartition("/")[0]  # type: ignore[union-attr]
    names_datasets = path.split("/")[-2:-1] == [DATASET]
    runs: dict[str, bool] = {"": False}

    def is_result(name: str) -> bool:
        for folder in (name, *_above(name)):
            if folder == name and found[name].get("type") != "directory":
                continue  # asking for it would be a request for each file
            if folder not in runs:
                runs[folder] = _is_run_folder(fs, folder)
            if runs[folder]:
                return not (names_datasets and name.rpartition("/")[0] == f"{folder}/{DATASET}")
            if len(folder) <= len(base):
                break
        return False

    found: dict[str, Mapping[str, Any]] = fs.glob(path, detail=True)
    files = [name for name in found if not is_result(name)]
    if not files:
        raise PlanError(f"shards {text!r} match no file{' (run folders aside)' if found else ''}")
    return {_with_protocol(text, name): (name, followed(fs, name, found[name])) for name in files}


def _above(name: str) -> list[str]:
    """The folders above a path, nearest first."""
    parts = name.split("/")
    return ["/".join(parts[:end]) for end in range(len(parts) - 1, 0, -1)]


def _is_run_folder(fs: Any, folder: str) -> bool:
    """True for a folder with the plan and a result of a build."""
    inside = folder.rstrip("/")
    return bool(fs.isfile(f"{inside}/{PLAN}") and any(fs.isdir(f"{inside}/{part}") for part in RESULTS))


def _listed(text: str, content: bytes) -> list[str]:
    try:
        lines = [line.strip() for line in content.decode("utf-8-sig").splitlines()]
    except UnicodeDecodeError:
        raise PlanError(f"list of shards {text!r} is not UTF-8 text") from None
    return [line for line in lines if line and not line.startswith("#")]


def _with_protocol(text: str, name: str) -> str:
    protocol, separator, _ = text.partition("://")
    return f"{protocol}://{name.removeprefix('/')}" if separator and protocol != "file" else name


def file_identity(url: str) -> tuple[str, int]:
    """Identity and bytes of a file. The identity differs for another file or a changed content.

    Raises `PlanError` when the file system does not describe it.
    """
    fs, path = connect(url)
    return _identity(path, _described(fs, path))


def _identity(path: str, info: Mapping[str, Any]) -> tuple[str, int]:
    size = int(info.get("size") or 0)
    return f"{size}:{file_stamp(info)}:{path}", size


def file_stamp(info: Mapping[str, Any]) -> str:
    """The entity tag or time of change in the details of a file, or empty where there is none."""
    stamp = next((found for found in map(info.get, STAMPS) if found), "")
    # some file systems give a time in one form when they list a folder, and in another when asked for a file
    return str(stamp.timestamp() if isinstance(stamp, datetime) else stamp)


def name_shards(urls: Sequence[str]) -> dict[str, str]:
    """Shard name -> URL. Names are distinct and have lower-case letters, digits, `-` and `_` only.

    The name is the file's stem; where other characters were replaced, a hash of the stem follows. So a name depends on
    its own file alone, and does not change when the folder is moved. Files of one stem in several folders are named by
    their folder's name and a hash of the whole URL instead.
    """
    level = dict.fromkeys(urls, 0)
    while True:
        named: dict[str, list[str]] = {}
        for url in level:
            named.setdefault(_name(url, level[url]), []).append(url)
        clashing = [url for group in named.values() if len(group) > 1 for url in group]
        if not clashing:
            return {name: group[0] for name, group in sorted(named.items())}
        for url in clashing:
            level[url] += 1


def _name(url: str, level: int) -> str:
    """A name by the stem (level 0), or by the URL with more digits of its hash at each level."""
    place = url.partition("://")[2] or str(Path(url).absolute())
    folder, _, file = place.rstrip("/").rpartition("/")
    stem = _SUFFIX.sub("", file.removesuffix(".gz"))
    if level == 0 and _PLAIN_NAME.fullmatch(stem) and len(stem) <= MAX_NAME:
        return stem
    shown, hashed = (stem, stem) if level == 0 else (f"{folder.rpartition('/')[2]}-{stem}", url)
    digits = hashlib.sha256(hashed.encode("utf-8", "surrogatepass")).hexdigest()[: 8 * max(1, level)]
    text = re.sub(r"[^a-z0-9_-]+", "-", shown.lower())[: MAX_NAME - len(digits) - 1].strip("-_") or "shard"
    return f"{text}-{digits}"


def shards_of_files(inputs: Sequence[str], suffixes: tuple[str, ...]) -> list[Shard]:
    """One shard for each file behind the inputs, named by `name_shards`, in name order."""
    files = identify_inputs(inputs, suffixes)
    return [
        Shard(name=name, uri=url, identity=files[url][0], num_bytes=files[url][1])
        for name, url in name_shards(list(files)).items()
    ]
