"""Writes datasets in the trainer's layout: tars of samples, and the list of shards, which is written last.

Owns files and their order. What a member is called is `samples.members`' business. Same samples, same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from itertools import islice
from typing import TYPE_CHECKING, Any

from samples.shards import SHARD_LIST, read_shards

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    Sample = tuple[str, Mapping[str, bytes]]
    """Key, and the members of the sample by suffix."""


def add_member(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    """Append a file whose header depends on its name and size alone."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def write_shards(folder: Path, name: str, samples: Iterable[Sample], samples_per_shard: int) -> int:
    """Write `00000.tar` … and shards.json of a dataset called `name`. Return the number of samples."""
    folder.mkdir(parents=True, exist_ok=True)
    left = iter(samples)
    listed: list[dict[str, Any]] = []
    while chunk := list(islice(left, samples_per_shard)):
        listed.append(_write_shard(folder / f"{len(listed):05d}.tar", chunk))
    temporary = folder / f"{SHARD_LIST}.tmp"
    temporary.write_text(json.dumps({"dataset": name, "shards": listed}, indent=1) + "\n", encoding="utf-8")
    temporary.replace(folder / SHARD_LIST)
    return sum(int(shard["samples"]) for shard in listed)


def _write_shard(path: Path, samples: list[Sample]) -> dict[str, Any]:
    temporary = path.with_suffix(".tmp")
    with tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as tar:
        for key, members in samples:
            for suffix, content in members.items():
                add_member(tar, f"{key}.{suffix}", content)
    content = temporary.read_bytes()
    temporary.replace(path)
    digest = hashlib.sha256(content).hexdigest()
    return {"file": path.name, "samples": len(samples), "bytes": len(content), "sha256": digest}


def read_samples(folder: Path) -> Iterator[tuple[str, dict[str, bytes]]]:
    """(key, members by suffix) of every sample of a dataset, in the order of its tars."""
    for shard in read_shards(folder).shards:
        members: dict[str, dict[str, bytes]] = {}
        with tarfile.open(folder / shard.file) as tar:
            for info in tar:
                key, _, suffix = info.name.partition(".")
                members.setdefault(key, {})[suffix] = tar.extractfile(info).read()  # type: ignore[union-attr]  # a file
        yield from members.items()
