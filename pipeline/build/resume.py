"""What is done already: which steps have a record that stands for this plan, this input and files that are there."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from core.strict_json import State
from pipeline.plan.steps import Key, input_digest, needs_of, steps
from pipeline.run.global_steps import PUBLISHED
from pipeline.stage import GlobalStage, SinkStage
from pipeline.store.records import ALL_SHARDS, PUBLISHED_FILES, Record, read_record
from pipeline.store.storage import DATASET
from samples.shards import SHARD_LIST

if TYPE_CHECKING:
    from pipeline.plan.plan import Plan, PlannedStage
    from pipeline.store.storage import Storage


class Published(State):
    """Result that `dataset/` holds."""

    output_digest: str


class RecordBook:
    """Looks records up; folders are listed once, so it is for one look at a run folder."""

    def __init__(self, plan: Plan, storage: Storage) -> None:
        self.plan, self.storage = plan, storage
        self._sizes: dict[str, dict[str, int]] = {}

    def find(self, key: Key, digest: str) -> Record | None:
        """The record of step `key` for an input of that digest, or None when the step has to be done."""
        index, shard = key
        planned = self.plan.stages[index]
        if f"{shard}.json" not in self._listing(planned.folder):
            return None
        record = read_record(self.storage, planned.folder, shard)
        if record is None or record.fingerprint != planned.fingerprint or record.input_digest != digest:
            return None
        if shard == ALL_SHARDS and isinstance(planned.stage, SinkStage) and not is_published(self.storage, record):
            return None
        if shard == ALL_SHARDS and isinstance(planned.stage, GlobalStage) and self.verdicts(planned, digest) is None:
            return None
        return record if self._has_files(planned, record) and self._has_list(record) else None

    def verdicts(self, planned: PlannedStage, digest: str) -> dict[Key, Record] | None:
        """The records of a global stage's row files, or None unless all are there from one pass over that input."""
        found: dict[Key, Record] = {}
        for shard in self.plan.shards if planned.has_rows else ():
            record = read_record(self.storage, planned.folder, shard.name)
            if record is None or record.input_digest != digest or not self._has_files(planned, record):
                return None
            found[planned.index, shard.name] = record
        return found

    def walk(self) -> dict[Key, Record]:
        """All records that stand, in the order of the chain: those whose own needs stand too."""
        done: dict[Key, Record] = {}
        outputs: dict[Key, str] = {}
        for key in steps(self.plan):
            if not all(need in outputs for need in needs_of(self.plan, key)):
                continue
            digest = input_digest(self.plan, key, outputs)
            record = self.find(key, digest)
            if record is None:
                continue
            found = {key: record}
            if key[1] == ALL_SHARDS and isinstance(self.plan.stages[key[0]].stage, GlobalStage):
                found |= self.verdicts(self.plan.stages[key[0]], digest) or {}
            done |= found
            outputs |= {k: r.output_digest for k, r in found.items()}
        return done

    def _has_files(self, planned: PlannedStage, record: Record) -> bool:
        for name, entry in record.files.items():
            folder, _, file = f"{planned.folder}/{name}".rpartition("/")
            if self._listing(folder.replace(f"{planned.folder}/../..", "").strip("/")).get(file) != entry.bytes:
                return False
        return True

    def _has_list(self, record: Record) -> bool:
        """False when the dataset's list of shards is not the one that was published, even if it is as long."""
        entry = record.files.get(f"{PUBLISHED_FILES}{SHARD_LIST}")
        rel = f"{DATASET}/{SHARD_LIST}"
        return entry is None or hashlib.sha256(self.storage.read_bytes(rel)).hexdigest() == entry.sha256

    def _listing(self, folder: str) -> dict[str, int]:
        if folder not in self._sizes:
            self._sizes[folder] = self.storage.sizes(folder)
        return self._sizes[folder]


def is_published(storage: Storage, record: Record) -> bool:
    """True when `dataset/` is there and holds the result of this record of a sink's last step."""
    published = storage.read_state(PUBLISHED, Published)
    return published is not None and published.output_digest == record.output_digest and storage.exists(DATASET)
