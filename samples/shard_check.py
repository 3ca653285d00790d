"""Checks the tars of a finished dataset against its list of shards."""

from __future__ import annotations

import hashlib
import tarfile
from typing import IO, TYPE_CHECKING

from core.errors import DatasetError, one_line
from samples.shards import SHARD_LIST, parse_shards

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from samples.shards import ShardFile


def wrong_shards(
    folder: str, sizes: Mapping[str, int], open_file: Callable[[str], IO[bytes]], *, deep: bool
) -> Iterator[str]:
    """Yield each fault of the list and its tars as a line. `deep` hashes and reads every tar.

    `sizes` has the bytes of each file in the dataset's folder, `open_file` opens one by name.
    """
    try:
        with open_file(SHARD_LIST) as handle:
            listed = parse_shards(handle.read(), folder).shards
    except DatasetError as error:
        yield str(error)
        return
    seen: dict[str, str] = {}
    for shard in listed:
        name, size = shard.file, sizes.get(shard.file)
        if size != shard.num_bytes:
            yield f"{folder}/{name}: {size} bytes, shards.json says {shard.num_bytes}"
        elif deep:
            with open_file(name) as handle:
                yield from (f"{folder}/{name}: {problem}" for problem in _wrong_tar(handle, shard, seen))
    names = {shard.file for shard in listed}
    for name in sizes:
        if name.endswith(".tar") and name not in names:
            yield f"{folder}/{name}: not listed in shards.json"


def _wrong_tar(handle: IO[bytes], shard: ShardFile, seen: dict[str, str]) -> Iterator[str]:
    """Yield what is wrong with one tar. `seen` maps each sample to its tar, and gets those of this one."""
    if hashlib.file_digest(handle, "sha256").hexdigest() != shard.sha256:  # type: ignore[arg-type]
        yield "sha256 differs from shards.json"
        return
    handle.seek(0)
    keys: list[str] = []
    try:
        with tarfile.open(fileobj=handle, mode="r:") as tar:
            for member in tar:
                key = member.name.partition(".")[0]
                if not keys or keys[-1] != key:
                    keys.append(key)
    except tarfile.TarError as error:
        yield f"cannot be read as a tar ({one_line(error)})"
        return
    if len(keys) != shard.num_samples:
        yield f"{len(keys)} samples, shards.json says {shard.num_samples}"
    for key in keys:
        if key in seen:
            yield f"sample {key} is also in {seen[key]}, or its members are not adjacent"
        seen[key] = shard.file
