"""The last step of a sink: it publishes the files of all shards as `dataset/`."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING

from pipeline.run.run_summary import summarise
from pipeline.run.shard_output import provenance
from pipeline.stage import SinkStage
from pipeline.store.records import ALL_SHARDS, PUBLISHED_FILES, Record, output_digest
from pipeline.store.run_folder import DATASET
from pipeline.store.storage import FileEntry, describe_file

if TYPE_CHECKING:
    from pipeline.run.step import Step


def run_publish(step: Step) -> Record:
    """Collect the sink's files, have it write the files that describe all of them, and fill `dataset/`."""
    planned, stage, storage = step.planned, step.planned.stage, step.storage
    assert isinstance(stage, SinkStage)
    started = time.time()
    folder = storage.scratch() / f"collate-{planned.index}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    summary = summarise(step.plan, step.folder, step.beat)
    stage.collate(folder, summary)
    step.folder.unmark_published()
    files = {file.name: describe_file(file) for file in sorted(folder.iterdir())}
    links = {}
    for shard, entry in summary.shard_files.items():
        name = f"{shard}{stage.suffix}"
        files[name] = FileEntry(bytes=entry["bytes"], sha256=entry["sha256"])
        links[name] = f"{planned.folder}/{name}"
    storage.publish_folder(folder, DATASET, links)
    rows = sum(entry["rows"] for entry in summary.shard_files.values())
    record = Record(
        stage=planned.name, fingerprint=planned.fingerprint, shard=ALL_SHARDS, input_digest=step.task.input_digest,
        output_digest=output_digest(files), rows_in=rows, rows_kept=rows, rows_out=rows,
        files={f"{PUBLISHED_FILES}{name}": entry for name, entry in files.items()},
        **provenance(started, step.task.attempt),
    )  # fmt: skip
    step.folder.mark_published(record)
    return record
