"""The names of members in a tar, written and read by one table."""

import pytest

from core.errors import ContractError
from samples.columns import COLUMNS
from samples.members import JSON, MEMBERS, column_of, meaning_of, member, suffix_of, values_of


def test_members_are_declared_columns_of_pixels_or_vectors():
    assert all(COLUMNS[name].bulk for name in MEMBERS)
    named = [one.format_column for one in MEMBERS.values() if one.format_column]
    assert named == [
        "source_format", "target_format", "rejected_format", "anchor_format", "example_source_formats",
        "example_target_formats",
    ]  # fmt: skip
    assert set(named) <= set(COLUMNS)


@pytest.mark.parametrize("name", MEMBERS)
def test_each_suffix_leads_back_to_its_column(name):
    for image_format in MEMBERS[name].formats:
        assert column_of(MEMBERS[name].suffix(image_format)) == name
        assert meaning_of(MEMBERS[name].suffix(image_format))


def test_further_source_images_have_numbers_from_one():
    assert [MEMBERS["source_images"].suffix("png", n) for n in (0, 1, 12)] == [
        "source.png",
        "source1.png",
        "source12.png",
    ]
    assert column_of("source12.png") == "source_images"
    assert meaning_of("source1.png") != meaning_of("source.png")
    assert column_of("example_target2.webp") == "example_target_images"
    assert meaning_of("example_target2.webp") == meaning_of("example_target.webp")


@pytest.mark.parametrize(
    "suffix", [JSON, "", "png", "source", "source.gif", "source0.jpg", "source01.jpg", "target1.jpg", "mask.png",
               "source_mask1.png", "source_latent.png", "source.jpg.bak", "a.source.jpg"],
)  # fmt: skip
def test_other_suffixes_belong_to_no_column(suffix):
    assert column_of(suffix) is None
    assert bool(meaning_of(suffix)) == (suffix == JSON)


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("ab-e1.source.jpg", "source.jpg"),
        ("x/y.z/ab.Source_Mask.PNG", "source_mask.png"),
        ("ab", ""),
        (".json", "json"),
    ],
)
def test_a_suffix_is_what_follows_the_first_dot(name, suffix):
    assert suffix_of(name) == suffix


def test_values_are_read_in_the_order_in_which_they_were_written():
    raw = {"source1.png": b"b", "source.png": b"a", "source3.png": b"d", "target.webp": b"t", JSON: b"{}"}
    assert values_of("source_images", raw) == [b"a", b"b"]
    assert values_of("target_image", raw) == [b"t"]
    assert values_of("target_mask_png", raw) == []


def test_a_column_without_members_is_refused_with_the_nearest_name():
    with pytest.raises(ContractError, match=r"'target_images' is no member of a tar \(did you mean 'target_image'\?\)"):
        member("target_images")
    with pytest.raises(ContractError):
        values_of("caption", {})


def test_messages_name_all_formats_of_a_member():
    assert MEMBERS["target_image"].described == "target.jpg|png|webp"
    assert MEMBERS["source_latent"].described == "source_latent.npy"
