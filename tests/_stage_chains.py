"""Any stage of the catalogue with the settings of its case, and at its place in a chain."""

from enum import StrEnum
from typing import ClassVar

import pytest
from _fakes import entry, manifest_of
from _stage_cases import CASES

from pipeline.plan.manifest import StageEntry
from pipeline.plan.plan import plan_stages
from pipeline.plan.plugins import stage_class
from pipeline.stage import GlobalStage, SourceStage


def case_of(name):
    if name not in CASES:
        pytest.fail(f"stage {name} has no entry in CASES of tests/_stage_cases.py: add one", pytrace=False)
    return CASES[name]


def stage_of(name, **settings):
    return stage_class(name)(**{**case_of(name).settings, **settings})


def planned(name, stage, **run_on):
    """The stage at its place in a chain that provides all it reads."""
    if isinstance(stage, SourceStage):
        return plan_stages(manifest_of(StageEntry(name=name, stage=stage, run_on=run_on)))[0]

    class Feeder(SourceStage):
        version: ClassVar = 1
        writes: ClassVar = (*stage.reads, *stage.reads_if_present, *stage.needs_columns(), *stage.gathers)

        def list_shards(self, inputs):
            return []

        def open(self, ctx):
            return None

    class Judge(GlobalStage):  # gathering needs a stage that waits for all shards
        version: ClassVar = 1
        rejects: ClassVar = Reason

        def open(self, ctx):
            return None

    makers = [makes(artifact) for artifact in stage.needs_artifacts()]
    chain = (entry(Feeder()), *makers, entry(Judge()), StageEntry(name=name, stage=stage, run_on=run_on))
    return plan_stages(manifest_of(*chain))[-1]


class Reason(StrEnum):
    ANY = "any"


def makes(artifact_name):
    """A stage that leaves the artifact of that name."""

    class Maker(GlobalStage):
        version: ClassVar = 1
        artifact: ClassVar = artifact_name

        def open(self, ctx):
            return None

    return StageEntry(name=f"makes_{artifact_name}", stage=Maker())
