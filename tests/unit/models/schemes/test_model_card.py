import pytest

from models.schemes.model_card import MAX_BYTES, card_licence, licence_in, licence_of_readme


@pytest.mark.parametrize(
    ("front", "expected"),
    [
        ("license: mit", "mit"),
        ("license: mit # as the code", "mit"),
        ("license:\n- mit\n- apache-2.0\ntags:\n- a", "mit, apache-2.0"),
        ("license:\n  - mit", "mit"),
        ("license: [mit, 'cc-by-4.0']", "mit, cc-by-4.0"),
        ("license: other\nlicense_name: >-\n  sam-license\nlicense_link: x", "sam-license"),
        ("license_name: sam-license", "sam-license"),
        ("license: unknown\nlicense_name: gemma", "gemma"),
        ("license: other\nlicense_link: LICENSE", "other"),
        ("license: mit\nlicense_name: MIT License", "mit"),
        ("license: apache-2.0\nlicense_name: flux-1-dev-non-commercial-license",
         "apache-2.0, flux-1-dev-non-commercial-license"),
        ("tags:\n- license: mit", None),
        ("license:", None),
    ],
)  # fmt: skip
def test_licence_of_a_card_is_read_in_every_usual_form(front, expected):
    assert licence_in(f"---\n{front}\n---\n# A model") == expected
    assert licence_in(f"---\r\n{front}\r\n---\r\n".replace("\n", "\r\n").replace("\r\r", "\r")) == expected


def test_text_below_the_front_matter_states_nothing():
    assert licence_in("# A model\n---\nlicense: mit\n---\n") is None
    assert licence_in("---\ntags: a\n---\nlicense: mit\n") is None


def test_a_giant_card_is_read_in_part(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_bytes(b"---\nlicense: mit\nx: " + b"y" * MAX_BYTES + b"\n---\n")
    assert licence_of_readme(readme) is None
    readme.write_bytes(b"---\nlicense: mit\n---\n\xff" + b"y" * 10_000_000)
    assert licence_of_readme(readme) == "mit"
    assert licence_of_readme(tmp_path / "none.md") is None


def test_fields_of_the_hub_are_bounded_and_on_one_line():
    assert card_licence({"license": "other", "license_name": "a\n" * 1000}) == "a " * 99 + "a…"
    assert card_licence({"license": ["mit", None]}) == "mit, None"
    assert card_licence({}) is None
