import pytest

from core.licences.names import MAX_CHARS
from stages.inputs.rows import InputSample, to_row
from stages.inputs.sample_licence import licence_in


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"license": "cc-by-4.0"}, "cc-by-4.0"),
        ({"LICENSE": "CC BY 2.0"}, "CC BY 2.0"),
        ({"License": "https://creativecommons.org/licenses/by/2.0/"}, "https://creativecommons.org/licenses/by/2.0/"),
        ({"licence": "mit"}, "mit"),
        ({"license": 4}, "4"),
        ({"license": ["mit", " apache-2.0 "]}, "mit, apache-2.0"),
        ({"license_name": "Attribution License", "license_url": "https://x/by/2.0"}, "https://x/by/2.0"),
        ({"license": "?", "license_name": "CC BY"}, "CC BY"),
        ({"license": " a\nb "}, "a b"),
        (
            {"license": 4, "license_url": "http://creativecommons.org/licenses/by/2.0/"},
            "http://creativecommons.org/licenses/by/2.0/",
        ),
    ],
)
def test_licence_of_a_sample_is_found_under_usual_keys(metadata, expected):
    assert licence_in(metadata) == expected


@pytest.mark.parametrize(
    "value", [None, "", " ", "?", "Unknown", "NaN", "none", True, {"a": 1}, [], 1.5, b"x", [["mit"]]]
)
def test_metadata_without_a_licence_give_none(value):
    assert licence_in({"license": value, "caption": "a dog"}) is None


@pytest.mark.parametrize("value", ["x" * 1_000_000, ["mit"] * 1_000_000, "<script>\x1b[2J", "\u202e" * 500])
def test_hostile_licences_are_bounded_to_one_printable_line(value):
    found = licence_in({"license": value})
    assert 0 < len(found) <= MAX_CHARS
    assert found.isprintable()


def test_lists_without_end_within_a_licence_cost_no_shard():
    deep = b'{"license": ' + b"[" * 400 + b'"mit"' + b"]" * 400 + b"}"
    row = to_row(InputSample(key="a", image=b"x", text=b"a dog", metadata=deep), "s", require_caption=True)
    assert (row["source_licence"], row["reject_reason"]) == (None, None)


def test_the_row_of_a_sample_has_its_licence():
    sample = InputSample(key="a", image=b"x", text=b"a dog", metadata=b'{"License": "CC BY 4.0\\ud800"}')
    row = to_row(sample, "s", require_caption=True)
    assert row["source_licence"] == "CC BY 4.0?"
