import pytest

from core.licences.uses import Role, StatedBy
from samples.licence_file import DatasetLicences, InputLicence, ModelLicence, read_licences, shown_text


def licences(**changes):
    fields = {
        "dataset": "d", "license": "other", "samples_under_others": 0,
        "inputs": (
            InputLicence(images="source", licence="mit", stated_by=StatedBy.SAMPLE, samples=2),
            InputLicence(images="target", licence=None, stated_by=StatedBy.NOBODY, samples=1),
        ),
        "models": (
            ModelLicence(
                model="zoo:x", revision="r", role=Role.SCORES, licence="gemma", stated_by=StatedBy.MANIFEST,
                card_licence="mit", stages=("a", "b"),
            ),
        ),
    }  # fmt: skip
    return DatasetLicences(**{**fields, **changes})


def test_what_is_written_is_read_back(tmp_path):
    (tmp_path / "licences.json").write_text(licences().model_dump_json())
    assert read_licences(str(tmp_path)) == licences()
    assert read_licences(f"file://{tmp_path}/") == licences()


def test_parts_are_named_by_number_and_kind():
    used = [(use.what, use.role, use.licence) for use in licences().uses]
    assert used == [
        ("2 source images", Role.SOURCE, "mit"), ("1 target image", Role.TARGET, None), ("zoo:x", Role.SCORES, "gemma"),
    ]  # fmt: skip
    assert licences().model_uses[0].card_licence == "mit"


def test_images_under_licences_that_are_not_listed_are_unknown():
    (_, _, others, _) = licences(samples_under_others=1234).uses
    assert (others.what, others.licence) == ("1,234 images under further licences", None)


@pytest.mark.parametrize(("text", "expected"), [(None, "not stated"), ("", "not stated"), ("a\x1b[1m\nb", "a?[1m b")])
def test_texts_are_shown_on_one_line(text, expected):
    assert shown_text(text) == expected
