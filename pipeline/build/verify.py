"""Checks the records, files and dataset of a run folder against each other. Changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.build.funnel import EMPTY_REMEDY, why_empty
from pipeline.build.resume import DoneSteps
from pipeline.build.status import stage_tallies
from pipeline.sink import PublishedFiles
from pipeline.stage import GlobalStage, PartitionedStage, SinkStage
from pipeline.store.records import ALL_SHARDS, PUBLISHED_FILES
from pipeline.store.run_folder import DATASET, RunFolder, path_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.plan.plan import Plan, PlannedStage
    from pipeline.store.records import Record
    from pipeline.store.storage import FileEntry, Storage


def verify(plan: Plan, storage: Storage, *, deep: bool) -> list[str]:
    """Everything that is wrong with the run folder, a line each. `deep` also hashes every file."""
    steps = DoneSteps(plan, RunFolder(storage))
    tallies = stage_tallies(plan, steps.each())
    wrong = _all_wrong(plan, RunFolder(storage), steps, deep=deep)
    empty = None if wrong or plan.manifest.allow_empty else why_empty(tallies)
    return [*wrong, f"empty dataset: {empty}{EMPTY_REMEDY}"] if empty else wrong


def wrong_files(plan: Plan, storage: Storage) -> list[str]:
    """Records and files that are wrong, a line each. Files are not hashed, and a dataset may be empty."""
    steps = DoneSteps(plan, RunFolder(storage))
    for _ in steps.each():
        pass
    return _all_wrong(plan, RunFolder(storage), steps, deep=False)


def _all_wrong(plan: Plan, folder: RunFolder, steps: DoneSteps, *, deep: bool) -> list[str]:
    wrong: list[str] = []
    kept: dict[str, int] = {}
    for planned in plan.stages:
        wrong.extend(_wrong_places(planned, folder, steps, deep=deep))
        for shard in _shard_names(plan, planned):
            where = f"stage {planned.name}, shard {shard}"
            record = folder.record(planned.folder, shard)
            if record is None:
                wrong.append(f"{where}: no record")
                continue
            found = [*_wrong_record(planned, record), *_wrong_stage_files(planned, record, folder, deep=deep)]
            if not found and _is_out_of_date(planned, shard, steps):
                found = ["made from an earlier input; build again"]
            wrong.extend(f"{where}: {problem}" for problem in found)
            if shard != ALL_SHARDS and planned.has_rows:
                if shard in kept and kept[shard] != record.rows_in:
                    wrong.append(f"{where}: {record.rows_in} rows came in, the stage before left {kept[shard]}")
                kept[shard] = record.rows_out
        if planned is not plan.stages[-1]:
            folder.forget(planned.folder)
    last = plan.stages[-1]
    if isinstance(last.stage, SinkStage):
        record = folder.record(last.folder, ALL_SHARDS)
        now = RunFolder(folder.storage)  # the hashes before may have taken hours
        wrong.extend(_wrong_dataset(last.stage, now, record, deep=deep))
    return wrong


def _wrong_places(planned: PlannedStage, folder: RunFolder, steps: DoneSteps, *, deep: bool) -> Iterator[str]:
    """Yield what is wrong with the places of rows that a stage found before it gathered them by id."""
    if not planned.gathered:
        return
    if any(index == planned.index and shard not in steps.plan.shard_numbers for index, shard in steps.waiting):
        yield f"stage {planned.name}: the places of the rows that it gathers are not there, or out of date; build again"
    for name in sorted(steps.of_rounds[planned.index]):
        record = folder.record(planned.folder, name)
        for problem in _wrong_stage_files(planned, record, folder, deep=deep) if record is not None else ():
            yield f"stage {planned.name}: {problem}"


def _is_out_of_date(planned: PlannedStage, shard: str, steps: DoneSteps) -> bool:
    """True when the step's record does not count though all its needs are done. `dataset/` is checked elsewhere."""
    if isinstance(planned.stage, SinkStage) and shard == ALL_SHARDS:
        return False
    if isinstance(planned.stage, PartitionedStage):
        return planned.index in steps.waiting_stages and shard not in steps.of_rounds[planned.index]
    return (planned.index, shard) in steps.waiting


def _wrong_record(planned: PlannedStage, record: Record) -> Iterator[str]:
    if record.fingerprint != planned.fingerprint:
        yield f"the record is of another result ({record.fingerprint[:12]})"
    if record.rows_in != record.rows_kept + sum(record.rejects.values()):
        yield f"{record.rows_in} rows in, {record.rows_kept} kept, {sum(record.rejects.values())} rejected"


def _wrong_stage_files(planned: PlannedStage, record: Record, folder: RunFolder, *, deep: bool) -> Iterator[str]:
    for name, entry in record.files.items():
        if not name.startswith(PUBLISHED_FILES):
            yield from _wrong_file(folder, path_of(planned.folder, name), name, entry, deep=deep)


def _wrong_file(folder: RunFolder, rel: str, shown: str, entry: FileEntry, *, deep: bool) -> Iterator[str]:
    place, _, name = rel.rpartition("/")
    size = folder.files(place).get(name)
    if size != entry.bytes:
        yield f"{shown} has {size} bytes, the record says {entry.bytes}"
    elif deep and not folder.has_content(rel, entry):
        yield f"{shown} is not what was written (sha256 differs)"


def _wrong_dataset(sink: SinkStage, folder: RunFolder, record: Record | None, *, deep: bool) -> Iterator[str]:
    sizes = folder.files(DATASET)
    if sink.list_file not in sizes:
        yield f"{DATASET}/{sink.list_file}: not there; build again"
        return
    if record is not None and not folder.is_published(record):
        yield f"{DATASET}/ holds another result; build again"
        return
    for listed, entry in record.files.items() if record is not None else ():
        rel = path_of("", listed)
        if not rel.endswith((sink.suffix, f"/{sink.list_file}")):  # the sink itself checks those
            yield from _wrong_file(folder, rel, rel, entry, deep=deep)
    published = PublishedFiles(
        folder=DATASET, sizes=sizes, open=lambda name: folder.storage.open(f"{DATASET}/{name}")
    )  # fmt: skip
    yield from sink.check(published, deep=deep)


def _shard_names(plan: Plan, planned: PlannedStage) -> list[str]:
    names = [s.name for s in plan.shards] if planned.has_rows else []
    return [*names, ALL_SHARDS] if isinstance(planned.stage, GlobalStage | SinkStage) else names
