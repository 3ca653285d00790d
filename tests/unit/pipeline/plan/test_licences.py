from typing import Annotated, ClassVar, Protocol

import pyarrow as pa
import pytest
from _fakes import Pack, ReadLines, Upper, manifest_of, plan_of

from core.licences.uses import Role
from pipeline.plan.licences import expected_licences
from pipeline.plan.manifest import StatedLicences
from pipeline.plan.plan import plan_stages
from pipeline.stage import MapStage, Serves

CARDS = {"zoo:editor": "cc-by-nc-4.0", "zoo:judge": "gemma", "zoo:both": "mit", "zoo:silent": None}
FILES = {"a": ["one"]}


class Model(Protocol):
    pass


class Draws(MapStage):
    version: ClassVar = 1
    writes: ClassVar = ("caption",)
    model: Annotated[str, Serves(Model)]
    judge: Annotated[str | None, Serves(Model, only_scores=True)] = None

    def open(self, ctx):
        return lambda batch: batch.append_column("caption", pa.nulls(batch.num_rows, pa.string()))


@pytest.fixture(autouse=True)
def cards(monkeypatch):
    monkeypatch.setattr("pipeline.plan.plan.model_missing", lambda *_: [])
    monkeypatch.setattr("pipeline.plan.plan.model_refusal", lambda *_: None)
    monkeypatch.setattr("pipeline.plan.plan.model_revision", lambda model: "r1")
    monkeypatch.setattr("pipeline.plan.plan.model_licence", lambda model, _: CARDS.get(model))


def found(tmp_path, *stages, **fields):
    return expected_licences(plan_of(tmp_path, [ReadLines(), *stages, Pack()], FILES, **fields))


def test_roles_are_those_of_the_marks_and_making_wins():
    stage = Draws(model="zoo:editor", judge="zoo:judge")
    assert stage.model_roles() == {"zoo:editor": Role.MAKES, "zoo:judge": Role.SCORES}
    assert Draws(model="zoo:both", judge="zoo:both").model_roles() == {"zoo:both": Role.MAKES}
    assert Draws(model="zoo:both").model_roles() == {"zoo:both": Role.MAKES}


def test_plan_expects_the_verdict_of_models_that_make(tmp_path):
    expected = found(tmp_path, Draws(model="zoo:editor", judge="zoo:judge"), license="mit")
    assert (expected["class"], expected["covers"]) == ("non-commercial", "models")
    assert expected["lines"][0] == "verdict: non-commercial: cc-by-nc-4.0 (zoo:editor)"
    assert expected["warnings"] == [
        "the manifest says 'mit', but cc-by-nc-4.0 (zoo:editor) asks: name the author, no commercial use"
    ]


def test_plan_names_models_that_state_no_licence(tmp_path):
    expected = found(tmp_path, Draws(model="zoo:silent"))
    assert (expected["class"], expected["unknown"]) == ("unknown", ["zoo:silent: not stated"])


def test_stated_licences_count_in_the_plan(tmp_path):
    stated = StatedLicences(input="cc-by-sa-4.0", models={"zoo:silent": "mit"})
    expected = found(tmp_path, Draws(model="zoo:silent"), stated_licences=stated)
    assert (expected["class"], expected["covers"]) == ("share-alike", "models and input")


def test_a_chain_without_models_has_no_verdict_yet(tmp_path):
    assert found(tmp_path, Upper())["class"] is None


def test_stated_licences_change_no_fingerprint():
    chain = [ReadLines(), Draws(model="zoo:silent")]
    stated = StatedLicences(input="mit", models={"zoo:silent": "mit"})
    plain, other = (plan_stages(manifest_of(*chain, **fields)) for fields in ({}, {"stated_licences": stated}))
    assert [one.fingerprint for one in plain] == [one.fingerprint for one in other]
