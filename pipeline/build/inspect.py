"""Looks at a run folder without changing it: status, verify, explain. And `clean`, which removes what nobody needs."""

from __future__ import annotations

import hashlib
import tarfile
from collections import Counter
from functools import cache
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

from core.errors import DatasetError, one_line
from pipeline.build.funnel import EMPTY_REMEDY, why_empty
from pipeline.build.resume import RecordBook, is_published
from pipeline.plan.steps import needs_of, steps
from pipeline.run.global_steps import ROWS_PER_READ
from pipeline.stage import GlobalStage, SinkStage
from pipeline.store.lock import describe, is_alive, read_holder
from pipeline.store.records import ALL_SHARDS, Record, read_record
from pipeline.store.storage import DATASET, STAGES
from pipeline.store.tables import read_batches
from samples.columns import PARENT_ID, SAMPLE_ID
from samples.shards import SHARD_LIST, parse_shards

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from pipeline.plan.plan import Plan, PlannedStage
    from pipeline.plan.steps import Key
    from pipeline.store.storage import FileEntry, Storage


def status(plan: Plan, storage: Storage) -> dict[str, Any]:
    """How far the run folder is with this plan, and who is at work on it."""
    holder = read_holder(storage)
    stages = _stages(plan, RecordBook(plan, storage).walk())
    complete = all(s["done"] == s["total"] for s in stages)
    return {
        "out": storage.url,
        "holder": describe(holder) if holder and is_alive(holder) else None,
        "stages": stages,
        "complete": complete,
        "empty": why_empty(stages) if complete else None,
        "may_be_empty": plan.manifest.allow_empty,
    }


def _stages(plan: Plan, done: Mapping[Key, Record]) -> list[dict[str, Any]]:
    total = Counter(index for index, _ in steps(plan))
    stages = []
    for planned in plan.stages:
        own = {shard: record for (index, shard), record in done.items() if index == planned.index}
        if isinstance(planned.stage, GlobalStage):
            own = {shard: record for shard, record in own.items() if shard == ALL_SHARDS}
        rows = [r for shard, r in own.items() if not (shard == ALL_SHARDS and isinstance(planned.stage, SinkStage))]
        rejects: Counter[str] = Counter()
        for record in rows:
            rejects.update(record.rejects)
        stages.append(
            {
                "stage": planned.name,
                "fingerprint": planned.fingerprint,
                "done": len(own),
                "total": total[planned.index],
                "rows_in": sum(r.rows_in for r in rows),
                "rows_kept": sum(r.rows_kept for r in rows),
                "rows_out": sum(r.rows_out for r in rows),
                "rejects": dict(sorted(rejects.items())),
            }
        )
    return stages


def verify(plan: Plan, storage: Storage, *, deep: bool) -> list[str]:
    """Everything that is wrong with the run folder, a line each; `deep` also hashes every file."""
    standing = RecordBook(plan, storage).walk()
    wrong = wrong_files(plan, storage, deep=deep, standing=standing)
    empty = None if wrong or plan.manifest.allow_empty else why_empty(_stages(plan, standing))
    return [*wrong, f"empty dataset: {empty}{EMPTY_REMEDY}"] if empty else wrong


def wrong_files(plan: Plan, storage: Storage, *, deep: bool, standing: Mapping[Key, Record] | None = None) -> list[str]:
    """Records and files that are wrong, a line each; `standing` are the records that count, where they are known."""
    wrong: list[str] = []
    standing = RecordBook(plan, storage).walk() if standing is None else standing
    kept: dict[str, int] = {}
    sizes = cache(storage.sizes)
    for planned in plan.stages:
        for shard in _shard_names(plan, planned):
            where = f"stage {planned.name}, shard {shard}"
            record = read_record(storage, planned.folder, shard)
            if record is None:
                wrong.append(f"{where}: no record")
                continue
            found = [*_wrong_record(planned, record), *_wrong_files(planned, record, storage, sizes, deep=deep)]
            if not found and _is_stale(plan, (planned.index, shard), standing):
                found = ["made from other input than there is now; build again"]
            wrong.extend(f"{where}: {problem}" for problem in found)
            if shard != ALL_SHARDS and planned.has_rows:
                if shard in kept and kept[shard] != record.rows_in:
                    wrong.append(f"{where}: {record.rows_in} rows came in, the stage before left {kept[shard]}")
                kept[shard] = record.rows_out
    if isinstance(plan.stages[-1].stage, SinkStage):
        record = read_record(storage, plan.stages[-1].folder, ALL_SHARDS)
        wrong.extend(_wrong_dataset(storage, record, deep=deep))
    return wrong


def _is_stale(plan: Plan, key: Key, standing: Mapping[Key, Record]) -> bool:
    """True when the step's record does not stand though all it needs does; the published dataset is another matter."""
    stage, is_over_all = plan.stages[key[0]].stage, key[1] == ALL_SHARDS
    if isinstance(stage, SinkStage if is_over_all else GlobalStage):
        return False
    return key not in standing and all(need in standing for need in needs_of(plan, key))


def _wrong_record(planned: PlannedStage, record: Record) -> Iterator[str]:
    if record.fingerprint != planned.fingerprint:
        yield f"the record is of another result ({record.fingerprint[:12]})"
    if record.rows_in != record.rows_kept + sum(record.rejects.values()):
        yield f"{record.rows_in} rows in, {record.rows_kept} kept, {sum(record.rejects.values())} rejected"


def _wrong_files(
    planned: PlannedStage, record: Record, storage: Storage, sizes: Callable[[str], dict[str, int]], *, deep: bool
) -> Iterator[str]:
    for name, entry in record.files.items():
        if name.startswith(".."):
            continue  # the published dataset is looked at by itself
        rel = f"{planned.folder}/{name}"
        yield from _wrong_file(storage, rel, name, entry, sizes(rel.rpartition("/")[0]), deep=deep)


def _wrong_file(
    storage: Storage, rel: str, shown: str, entry: FileEntry, sizes: dict[str, int], *, deep: bool
) -> Iterator[str]:
    size = sizes.get(rel.rpartition("/")[2])
    if size != entry.bytes:
        yield f"{shown} has {size} bytes, the record says {entry.bytes}"
    elif deep and _sha256(storage, rel) != entry.sha256:
        yield f"{shown} is not what was written (sha256 differs)"


def _wrong_dataset(storage: Storage, record: Record | None, *, deep: bool) -> Iterator[str]:
    try:
        listed = parse_shards(storage.read_bytes(f"{DATASET}/{SHARD_LIST}"), DATASET).shards
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        yield f"{DATASET}/{SHARD_LIST}: not there; build again"
        return
    except DatasetError as error:
        yield str(error)
        return
    sizes = storage.sizes(DATASET)
    if record is not None and not is_published(storage, record):
        yield f"{DATASET}/ holds another result; build again"
        return
    yield from _wrong_pages(storage, record, sizes, deep=deep)
    seen: dict[str, str] = {}
    for entry in listed:
        name = entry.file
        if sizes.get(name) != entry.num_bytes:
            yield f"{DATASET}/{name}: {sizes.get(name)} bytes, shards.json says {entry.num_bytes}"
            continue
        if deep:
            if _sha256(storage, f"{DATASET}/{name}") != entry.sha256:
                yield f"{DATASET}/{name}: sha256 differs from shards.json"
                continue
            yield from _wrong_tar(storage, name, entry.num_samples, seen)
    for name in sizes:
        if name.endswith(".tar") and name not in {entry.file for entry in listed}:
            yield f"{DATASET}/{name}: not listed in shards.json"


def _wrong_pages(storage: Storage, record: Record | None, sizes: dict[str, int], *, deep: bool) -> Iterator[str]:
    """What is wrong with the files of the dataset besides its tars and the list of them."""
    for path, written in record.files.items() if record is not None else ():
        rel = f"{DATASET}/{path.rpartition('/')[2]}"
        if not rel.endswith((".tar", "/shards.json")):
            yield from _wrong_file(storage, rel, rel, written, sizes, deep=deep)


def _wrong_tar(storage: Storage, name: str, num_samples: int, seen: dict[str, str]) -> Iterator[str]:
    keys: list[str] = []
    try:
        with storage.open(f"{DATASET}/{name}") as handle, tarfile.open(fileobj=handle, mode="r:") as tar:
            for member in tar:
                key = member.name.partition(".")[0]
                if not keys or keys[-1] != key:
                    keys.append(key)
    except tarfile.TarError as error:
        yield f"{DATASET}/{name}: cannot be read as a tar ({one_line(error)})"
        return
    if len(keys) != num_samples:
        yield f"{DATASET}/{name}: {len(keys)} samples, shards.json says {num_samples}"
    for key in keys:
        if key in seen:
            yield f"{DATASET}/{name}: sample {key} stands in {seen[key]} too, or its members lie apart"
        seen[key] = name


def _sha256(storage: Storage, rel: str) -> str:
    with storage.open(rel) as handle:
        sha = hashlib.sha256()
        while chunk := handle.read(1 << 20):
            sha.update(chunk)
    return sha.hexdigest()


def explain(plan: Plan, storage: Storage, sample_id: str) -> list[dict[str, Any]]:
    """All that each stage did with a sample, its ancestors and its children, in the order of the chain."""
    root = sample_id.split("-", 1)[0]
    story: list[dict[str, Any]] = []
    for planned in plan.stages:
        if not planned.has_rows:
            continue
        sizes = storage.sizes(planned.folder)
        for shard in plan.shards:
            for suffix, fate in ((".parquet", "kept"), (".rejects.parquet", "rejected")):
                if f"{shard.name}{suffix}" in sizes:
                    rows = _rows_of(storage, f"{planned.folder}/{shard.name}{suffix}", root)
                    story.extend(
                        {"stage": planned.name, "shard": shard.name, "fate": fate, "row": row}
                        for row in rows
                        if _is_kin(str(row[SAMPLE_ID]), sample_id)
                    )
    return story


def _is_kin(own: str, asked: str) -> bool:
    return own == asked or asked.startswith(f"{own}-") or own.startswith(f"{asked}-")


def _rows_of(storage: Storage, rel: str, root: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    with storage.open(rel) as handle:
        for rows in read_batches(handle, None, ROWS_PER_READ, rel):
            found.extend(rows.filter(pc.starts_with(rows[SAMPLE_ID], root)).to_pylist())
    for row in found:
        if row.get(PARENT_ID) is None:
            row.pop(PARENT_ID, None)
    return found


def clean(needed: Collection[str], storage: Storage, *, dry_run: bool) -> list[tuple[str, int]]:
    """(folder, bytes) of stage folders that are not in `needed`; removed unless `dry_run`."""
    folders = [f"{STAGES}/{name}" for name in storage.folders(STAGES)]
    gone = [(folder, storage.tree_bytes(folder)) for folder in folders if folder not in needed]
    if not dry_run:
        for folder, _ in gone:
            storage.remove(folder)
    return gone


def _shard_names(plan: Plan, planned: PlannedStage) -> list[str]:
    names = [s.name for s in plan.shards] if planned.has_rows else []
    return [*names, ALL_SHARDS] if isinstance(planned.stage, GlobalStage | SinkStage) else names
