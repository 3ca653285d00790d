import pyarrow as pa
import pytest

from core.licences.uses import Role, StatedBy
from pipeline.sink import RunSummary
from samples.columns import column
from stages.report.licences import MOST_LISTED, licences_of, shown_licences
from stages.report.tallies import Tallies


def found(source, target=None, stated=None, stages=()):
    """The licences of a run with these columns of licences and stages."""
    columns = {"source_licence": source} | ({"target_licence": target} if target else {})
    tallies = Tallies(list(columns))
    tallies.add(pa.table({name: pa.array(values, column(name).type) for name, values in columns.items()}))
    run = RunSummary(
        manifest={"name": "d", "license": "mit", "stated_licences": {"input": None, "models": {}} | (stated or {})},
        columns=tuple(columns), shard_files={"a": {"rows": len(source)}}, further_files={}, stages=stages,
        parts=lambda: iter(()), rejects=lambda: iter(()), read=None, open=None,
    )  # fmt: skip
    return licences_of(run, tallies)


def counted(licences):
    return [(one.images, one.licence, one.samples, one.stated_by) for one in licences.inputs]


def test_samples_are_counted_by_licence_the_most_first():
    assert counted(found(["mit", "cc0", "cc0", None])) == [
        ("source", "cc0", 2, StatedBy.SAMPLE), ("source", "mit", 1, StatedBy.SAMPLE),
        ("source", None, 1, StatedBy.NOBODY),
    ]  # fmt: skip


def test_the_manifest_states_the_licence_of_samples_that_name_none():
    licences = found(["mit", None], [None, "cc0"], {"input": "cc-by-4.0"})
    assert ("source", "cc-by-4.0", 1, StatedBy.MANIFEST) in counted(licences)
    assert ("target", "cc-by-4.0", 1, StatedBy.MANIFEST) in counted(licences)


def test_only_retrieved_targets_are_counted_apart():
    assert {images for images, *_ in counted(found(["mit"]))} == {"source"}
    assert {images for images, *_ in counted(found(["mit"], ["mit"]))} == {"source", "target"}


def test_made_up_licences_are_listed_in_part_and_the_rest_is_unknown():
    licences = found([f"my own {n}" for n in range(MOST_LISTED + 5)] + ["mit"] * 2)
    assert len(licences.inputs) == MOST_LISTED
    assert counted(licences)[0][1] == "mit"
    assert licences.samples_under_others == 6
    shown = shown_licences(licences)
    assert (len(shown.inputs), shown.num_more) == (20, MOST_LISTED - 20)
    assert shown.verdict == "unknown"


@pytest.mark.parametrize(("stated", "verdict"), [({}, "non-commercial"), ({"hf:x": "mit"}, "permissive")])
def test_models_are_listed_by_role_and_the_manifest_counts(stated, verdict):
    stage = {
        "name": "draw", "models": {"hf:x": "r1", "zoo:judge": "r2"}, "licences": {"hf:x": "cc-by-nc-4.0"},
        "roles": {"hf:x": Role.MAKES, "zoo:judge": Role.SCORES},
    }  # fmt: skip
    licences = found(["mit"], stated={"models": stated}, stages=[stage])
    assert [(one.model, one.revision, one.role, one.stages) for one in licences.models] == [
        ("hf:x", "r1", Role.MAKES, ("draw",)), ("zoo:judge", "r2", Role.SCORES, ("draw",)),
    ]  # fmt: skip
    shown = shown_licences(licences)
    assert shown.verdict == verdict
    assert "with the models that only score or choose samples: unknown" in shown.lines
