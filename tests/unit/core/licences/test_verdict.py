from itertools import product

import pytest

from core.licences.classes import Ask, LicenceClass
from core.licences.names import find
from core.licences.uses import Role, StageModels, StatedBy, Use, model_uses
from core.licences.verdict import verdict_of
from core.licences.wording import verdict_lines

ONE_OF_EACH = {
    "cc0-1.0": "public-domain", "mit": "permissive", "cc-by-4.0": "attribution", "cc-by-sa-4.0": "share-alike",
    "openrail": "use-restricted", "cc-by-nc-4.0": "non-commercial", "cc-by-nd-4.0": "no-derivatives", "?": "unknown",
}  # fmt: skip
ORDER = list(ONE_OF_EACH.values())


def part(licence, role=Role.MAKES, what="m"):
    return Use(what=what, role=role, licence=licence)


def test_order_of_the_classes_is_the_documented_one():
    assert [str(one) for one in LicenceClass] == ORDER


@pytest.mark.parametrize("licences", list(product(ONE_OF_EACH, repeat=2)))
def test_the_most_restrictive_licence_wins(licences):
    expected = max((ONE_OF_EACH[one] for one in licences), key=ORDER.index)
    assert verdict_of([part(one) for one in licences]).licence_class == expected


def test_a_model_that_only_scores_is_told_apart():
    verdict = verdict_of([part("mit"), part("cc-by-nc-4.0", Role.SCORES, "judge")])
    assert (verdict.licence_class, verdict.with_scores) == ("permissive", "non-commercial")
    assert "with the models that only score or choose samples: non-commercial" in list(verdict_lines(verdict))


def test_unknown_parts_are_named_and_never_free():
    verdict = verdict_of([part("mit"), part(None, what="openai:x"), part("my own", Role.SOURCE, "7 source images")])
    assert verdict.licence_class is LicenceClass.UNKNOWN
    assert verdict.known_class is LicenceClass.PERMISSIVE
    assert verdict.unknown == ("openai:x: not stated", "7 source images: my own")
    assert list(verdict_lines(verdict)) == [
        "verdict: unknown; of what is known, permissive: mit (m)",
        "asked: keep the notice",
        "unknown, and not taken as free: openai:x: not stated; 7 source images: my own",
    ]


def test_a_dataset_of_nothing_is_unknown():
    assert verdict_of([]).licence_class is LicenceClass.UNKNOWN
    assert verdict_of([]).outside([LicenceClass.PERMISSIVE]) == [LicenceClass.UNKNOWN]
    assert verdict_of([part("mit", Role.SCORES)]).licence_class is LicenceClass.UNKNOWN


@pytest.mark.parametrize(
    ("one", "other", "conflict"),
    [
        ("cc-by-sa-4.0", "gfdl", "cc-by-sa-4.0 and gfdl: each asks for the same licence, its own"),
        ("cc-by-sa-3.0", "cc-by-sa-4.0", None),
        ("cc-by-sa-4.0", "cc-by-4.0", None),
        (
            "cc-by-sa-4.0",
            "cc-by-nd-4.0",
            "cc-by-sa-4.0 asks for the same licence, and cc-by-nd-4.0 adds: publish no ch",
        ),
        ("openrail", "odbl", "odbl asks for the same licence, and openrail adds: pass on the limits of use"),
        ("cc-by-nc-sa-4.0", "cc-by-nc-4.0", None),
        ("cc-by-nc-sa-4.0", "cc-by-sa-4.0", "each asks for the same licence, its own"),
        ("cc-by-nc-4.0", "cc-by-nd-4.0", None),
    ],
)
def test_conflicts_are_named_with_their_reason(one, other, conflict):
    found = verdict_of([part(one), part(other)]).conflicts
    assert [conflict in text for text in found] == ([True] if conflict else [])


def test_allowed_classes_must_hold_every_part():
    verdict = verdict_of([part("mit"), part("cc-by-sa-4.0"), part("cc-by-nc-4.0"), part("cc0-1.0")])
    wanted = ["permissive", "share-alike", "non-commercial"]
    assert verdict.outside([LicenceClass(one) for one in wanted]) == []
    for left_out in wanted:
        assert verdict.outside([LicenceClass(one) for one in wanted if one != left_out]) == [left_out]


def test_asks_are_those_of_all_known_licences():
    verdict = verdict_of([part("cc-by-4.0"), part("llama3"), part("?")])
    assert verdict.asks == (Ask.NOTICE, Ask.ATTRIBUTION, Ask.USE_LIMITS, Ask.NO_RIVAL_MODELS)


def test_many_parts_are_shortened_in_words():
    (line, *_) = verdict_lines(verdict_of([part("mit", what=f"m{n}") for n in range(1000)]))
    assert line.endswith("mit (m4); and 995 more")


def test_a_model_that_makes_something_anywhere_makes():
    stages = [
        StageModels(stage="score", licences={"a": "mit"}, roles={"a": Role.SCORES, "b": Role.SCORES}),
        StageModels(stage="draw", licences={"a": "mit"}, roles={"a": Role.MAKES}),
    ]
    used = {one.model: one for one in model_uses(stages, {"b": "gemma"})}
    assert (used["a"].role, used["a"].stages, used["a"].stated_by) == (Role.MAKES, ("score", "draw"), StatedBy.MODEL)
    assert (used["b"].role, used["b"].licence, used["b"].stated_by) == (Role.SCORES, "gemma", StatedBy.MANIFEST)


def test_every_licence_has_a_family_where_it_shares():
    assert find("cc-by-sa-2.0")[0].family == find("cc-by-sa-4.0")[0].family == "cc-by-sa"
