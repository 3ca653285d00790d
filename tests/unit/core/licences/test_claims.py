import pytest

from core.licences.claims import warnings
from core.licences.uses import ModelUse, Role, StatedBy, Use


def parts(*licences, role=Role.MAKES):
    return [Use(what=f"m{n}", role=role, licence=one) for n, one in enumerate(licences)]


def test_a_claim_that_asks_less_than_a_part_is_a_contradiction():
    assert warnings("mit", parts("apache-2.0", "cc-by-nc-4.0"), []) == [
        "the manifest says 'mit', but cc-by-nc-4.0 (m1) asks: name the author, no commercial use"
    ]


def test_unknown_parts_contradict_a_claim_in_one_line():
    assert warnings("apache-2.0", parts(None, "my own"), []) == [
        "the manifest says 'apache-2.0', and these licences are unknown: m0: not stated; m1: my own"
    ]


@pytest.mark.parametrize(
    ("claimed", "licence"),
    [("mit", "apache-2.0"), ("cc-by-4.0", "mit"), ("cc-by-sa-4.0", "cc-by-sa-3.0"), ("cc-by-nc-4.0", "cc-by-4.0"),
     ("other", "cc-by-nc-nd-4.0"), ("my own", None), ("mit", "cc0-1.0")],
)  # fmt: skip
def test_a_claim_that_asks_as_much_or_promises_nothing_is_fine(claimed, licence):
    assert warnings(claimed, parts(licence), []) == []


@pytest.mark.parametrize("claimed", ["cc-by-4.0", "gfdl", "cc-by-nc-sa-4.0"])
def test_share_alike_asks_for_its_own_licence(claimed):
    (found,) = warnings(claimed, parts("cc-by-sa-4.0"), [])
    assert "publish under the same licence" in found


def test_models_that_only_score_contradict_no_claim():
    assert warnings("mit", parts("cc-by-nc-4.0", None, role=Role.SCORES), []) == []


@pytest.mark.parametrize(("stated", "own", "is_told"), [("mit", "gemma", True), ("gemma", "mit", False)])
def test_a_manifest_that_loosens_a_models_licence_is_reported(stated, own, is_told):
    model = ModelUse(
        model="hf:a", role=Role.MAKES, licence=stated, stated_by=StatedBy.MANIFEST, stages=("s",), card_licence=own
    )  # fmt: skip
    expected = [f"the manifest states {stated!r} for hf:a, which itself states {own!r}"] if is_told else []
    assert warnings("other", [model.use], [model]) == expected
