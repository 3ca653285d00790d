"""Read InstructPix2Pix's folders: `<id>/prompt.json` and `<id>/metadata.jsonl` beside `<seed>_0.jpg`, `<seed>_1.jpg`.

UltraEdit's generator writes the same without prompt.json: its texts are in metadata.jsonl, its masks `<seed>_mask.jpg`.
Folders are found by what they hold, at any depth; links to folders are not followed. `seeds.json` is not read: the
published one lists folders that are not there.
"""

from __future__ import annotations

import contextlib
import posixpath
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fsspec.core import url_to_fs

from core.errors import PlanError
from pipeline.plan.inputs import file_stamp, followed
from pipeline.store.records import digest
from samples.images import IMAGE_SUFFIXES
from stages.inputs.edit_rows import EditReject, InputEdit
from stages.inputs.edit_texts import json_object
from stages.inputs.folder_images import ImageFolder
from stages.inputs.rows import MAX_TEXT_BYTES, InputSample

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator, Mapping

PROMPT_FILE, METADATA_FILE = "prompt.json", "metadata.jsonl"
ROLES = {"0": "source_image", "1": "target_image", "mask": "mask_image"}
_PAIR = re.compile(rf"(\d{{1,20}})_(0|1|mask)\.(?:{'|'.join(IMAGE_SUFFIXES)})", re.IGNORECASE)
CHANGED = "the folder was changed after the plan; run the same command again"


@dataclass(frozen=True, kw_only=True, slots=True)
class PairFolder:
    """One folder of pairs that share their texts: its name below the root, and what its files are."""

    name: str
    num_pairs: int
    num_bytes: int
    identity: str
    """Changes when a file is added, removed or replaced."""


def list_pair_folders(url: str) -> list[PairFolder]:
    """The folders of pairs below `url`, by name. Nothing is opened."""
    fs, root = url_to_fs(url)
    found = []
    for folder, _, files in fs.walk(root, detail=True):
        seeds = {match[1] for name in files if (match := _PAIR.fullmatch(name)) and match[2] == "0"}
        if seeds and (PROMPT_FILE in files or METADATA_FILE in files):
            stamps = sorted((name, int(info.get("size") or 0), _stamp(fs, info)) for name, info in files.items())
            name = "" if folder == root else posixpath.relpath(folder, root)
            found.append(
                PairFolder(
                    name=name, num_pairs=len(seeds), num_bytes=sum(size for _, size, _ in stamps),
                    identity=digest([f"{size}:{stamp}:{name}" for name, size, stamp in stamps]),
                )
            )  # fmt: skip
    return sorted(found, key=lambda one: one.name)


def _stamp(fs: Any, info: Mapping[str, Any]) -> str:
    with contextlib.suppress(PlanError):  # a link that leads nowhere may be no file of a pair
        info = followed(fs, info["name"], info)
    return file_stamp(info)


def read_pairs(url: str, folder: PairFolder, max_bytes: int, notes: Counter[str]) -> Iterator[InputEdit]:
    """The pairs of one folder, by seed."""
    fs, root = url_to_fs(url)
    images = ImageFolder(posixpath.join(url, PROMPT_FILE))
    files: dict[str, dict[str, str]] = {}
    for path in sorted(fs.ls(posixpath.join(root, folder.name) if folder.name else root, detail=False)):
        match = _PAIR.fullmatch(posixpath.basename(path))
        if match:
            files.setdefault(match[1], {}).setdefault(ROLES[match[2].lower()], match[0])
    prompt, is_broken = _prompt(images, folder.name)
    lines = _lines_by_seed(images, folder.name, notes)
    for seed in sorted(files, key=lambda digits: (int(digits), digits)):
        if "source_image" not in files[seed]:
            notes["images without a source image, ignored"] += 1
            continue
        row = None if is_broken else {**prompt, **lines.get(int(seed), {})}
        edit = InputEdit(key=posixpath.join(folder.name, seed), row=row)
        for role, name in files[seed].items():
            edit.add_file(role, posixpath.join(folder.name, name), images, max_bytes)
        yield edit


def _text_file(images: ImageFolder, name: str) -> bytes | None:
    file = InputSample(key=name)
    images.load(file, name, MAX_TEXT_BYTES)
    is_absent = file.problem is not None and file.problem.value == EditReject.UNREADABLE_IMAGE.value
    return None if is_absent else (file.image or b"")


def _prompt(images: ImageFolder, folder: str) -> tuple[dict[str, Any], bool]:
    """(the texts that all pairs of the folder share, True where they are no JSON object)."""
    raw = _text_file(images, posixpath.join(folder, PROMPT_FILE))
    found = {} if raw is None else json_object(raw)
    return found or {}, found is None


def _lines_by_seed(images: ImageFolder, folder: str, notes: Counter[str]) -> dict[int, dict[str, Any]]:
    """The line of each seed in metadata.jsonl, with its scores."""
    raw = _text_file(images, posixpath.join(folder, METADATA_FILE)) or b""
    found: dict[int, dict[str, Any]] = {}
    for line in raw.splitlines():
        row = json_object(line) if line.strip() else {}
        seed = row.get("seed") if row else None
        if isinstance(seed, int) and not isinstance(seed, bool):
            found.setdefault(seed, row or {})
        elif line.strip():
            notes[f"lines of {METADATA_FILE} without a seed, ignored"] += 1
    return found
