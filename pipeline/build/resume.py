"""Decides which steps are done: those with a record for this plan and this input whose files exist."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.plan.steps import Key, input_digest, needs_of, steps
from pipeline.stage import GlobalStage, SinkStage
from pipeline.store.records import ALL_SHARDS, PUBLISHED_FILES, Record
from pipeline.store.run_folder import DATASET

if TYPE_CHECKING:
    from pipeline.plan.plan import Plan, PlannedStage
    from pipeline.store.run_folder import RunFolder


class DoneSteps:
    """The steps of a plan that are done in a run folder."""

    def __init__(self, plan: Plan, folder: RunFolder) -> None:
        self.plan, self._folder = plan, folder

    def find(self, key: Key, digest: str) -> Record | None:
        """The record of step `key` for an input of that digest, or None when the step has to be done."""
        index, shard = key
        planned = self.plan.stages[index]
        if not self._folder.has_record(planned.folder, shard):
            return None
        record = self._folder.record(planned.folder, shard)
        if record is None or record.fingerprint != planned.fingerprint or record.input_digest != digest:
            return None
        if not self._folder.has_files(planned.folder, record):
            return None
        if shard == ALL_SHARDS and isinstance(planned.stage, SinkStage):
            return record if self._is_published(planned.stage, record) else None
        if isinstance(planned.stage, GlobalStage) and self.verdicts(planned, digest) is None:
            return None
        return record

    def verdicts(self, planned: PlannedStage, digest: str) -> dict[Key, Record] | None:
        """The records of a global stage's row files, or None unless all exist for an input of that digest."""
        found: dict[Key, Record] = {}
        for shard in self.plan.shards if planned.has_rows else ():
            record = self._folder.record(planned.folder, shard.name)
            if record is None or record.input_digest != digest or not self._folder.has_files(planned.folder, record):
                return None
            found[planned.index, shard.name] = record
        return found

    def all(self) -> dict[Key, Record]:
        """The records of all steps that are done, and whose needs are done, in the order of the chain."""
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

    def _is_published(self, sink: SinkStage, record: Record) -> bool:
        """True when `dataset/` holds this result. The list of its files is hashed, since a change may keep its size."""
        entry = record.files.get(f"{PUBLISHED_FILES}{sink.list_file}")
        is_listed = entry is None or self._folder.has_content(f"{DATASET}/{sink.list_file}", entry)
        return is_listed and self._folder.is_published(record)
