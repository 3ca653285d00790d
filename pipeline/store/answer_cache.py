"""Answers of costly models in a run folder, by key, kept across builds: one small file of JSON lines a call of `put`.

A file is written whole, under a new name, so that any number of workers write side by side, on object stores too, and
a killed one leaves no half of a file. A line that is damaged all the same is ignored: its answer is asked for again.
"""

from __future__ import annotations

import contextlib
import json
import uuid
import zlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pipeline.store.storage import Storage

MOST_FILES = 64
"""Files whose answers are in memory at the same time. Rows that were asked about together are in one."""


class AnswerCache:
    """The `AnswerStore` that stages get. What other workers put after the first `get` is not seen."""

    def __init__(self, storage: Storage, folder: str) -> None:
        self._storage, self._folder = storage, folder
        self._files: list[str] = []
        self._file_of: dict[int, int] | None = None
        """Beginning of a key, as a number -> the file that has it. A hundred bytes an answer; answers stay on disk."""
        self._read: dict[int, dict[str, Any]] = {}

    def get(self, keys: Sequence[str]) -> dict[str, Any]:
        """The answers that are kept, by key. A key without one is left out."""
        places = self._places()
        found: dict[str, Any] = {}
        for key in keys:
            number = places.get(_short(key))
            answers = {} if number is None else self._answers(number)
            if key in answers:
                found[key] = answers[key]
        return found

    def put(self, answers: Mapping[str, Any]) -> None:
        """Keep these answers: they are in one new file when the call returns."""
        if not answers:
            return
        places = self._places()
        name = f"{self._folder}/{uuid.uuid4().hex}.jsonl"
        self._storage.write_bytes(name, "".join(_line(key, answer) for key, answer in answers.items()).encode())
        self._files.append(name)
        places.update(dict.fromkeys(map(_short, answers), len(self._files) - 1))

    def _places(self) -> dict[int, int]:
        """The file of each answer. The first call reads all files."""
        if self._file_of is None:
            names = sorted(name for name in self._storage.sizes(self._folder) if name.endswith(".jsonl"))
            self._files = [f"{self._folder}/{name}" for name in names]
            self._file_of = {}
            for number, content in enumerate(self._storage.contents(self._files)):
                self._file_of.update((_short(key), number) for key, _ in _parsed(content))
        return self._file_of

    def _answers(self, number: int) -> dict[str, Any]:
        """The answers of one file, which is read again where others were needed since."""
        answers = self._read.pop(number, None)
        if answers is None:
            answers = {}
            with contextlib.suppress(FileNotFoundError):
                answers = dict(_parsed(self._storage.read_bytes(self._files[number])))
        self._read[number] = answers  # the last one now
        if len(self._read) > MOST_FILES:
            del self._read[next(iter(self._read))]
        return answers


def _line(key: str, answer: Any) -> str:
    body = json.dumps([key, answer], ensure_ascii=True, allow_nan=False)
    return f"{zlib.crc32(body.encode()):08x} {body}\n"


def _parsed(content: bytes) -> Iterator[tuple[str, Any]]:
    """(key, answer) of each line that is as it was written."""
    for line in content.split(b"\n"):
        check, _, body = line.partition(b" ")
        if check == f"{zlib.crc32(body):08x}".encode():
            with contextlib.suppress(ValueError, TypeError, RecursionError):
                key, answer = json.loads(body)
                yield key, answer


def _short(key: str) -> int:
    return int(key[:16], 16)
