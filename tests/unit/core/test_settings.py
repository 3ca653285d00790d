import math
from typing import Annotated, Literal

import pytest
from pydantic import Field

from core.errors import ManifestError, SettingError
from core.settings import Settings, checked, overlaid, parse_pairs, read_toml


class Speed(Settings):
    workers: int = Field(1, ge=1)


class Paint(Settings):
    colour: Literal["red", "blue"] = "red"
    ratio: float | None = Field(0.5, ge=0, le=1)
    run_on: Speed = Speed()


def test_an_unknown_key_is_refused_with_the_nearest_name():
    with pytest.raises(SettingError, match=r"^paint: unknown key 'color' \(did you mean 'colour'\?\)$"):
        checked(Paint, {"color": "red"}, "paint")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"ratio": 2.0}, r"^m\.toml: ratio: input should be less than or equal to 1, got 2\.0$"),
        ({"ratio": math.nan}, r"^m\.toml: ratio: input should be a finite number, got nan$"),
        ({"ratio": "0.5"}, r"^m\.toml: ratio: input should be a valid number, got '0\.5'$"),
        ({"run_on": {"workers": 0}}, r"^m\.toml: run_on\.workers: input should be greater than or equal to 1, got 0$"),
    ],
)
def test_a_wrong_value_is_named_with_its_key(values, message):
    with pytest.raises(ManifestError, match=message):
        checked(Paint, values, "m.toml", ManifestError)


def test_the_text_none_unsets_what_may_be_unset():
    assert checked(Paint, {"ratio": "none"}, "paint").ratio is None
    with pytest.raises(SettingError, match="colour"):
        checked(Paint, {"colour": "none"}, "paint")


def test_pairs_are_values_in_the_notation_of_toml_or_texts():
    found = parse_pairs(["a=1", "b = 0.5", "c=true", "d=[1, 2]", "e=plain text", 'f="7"', "g=", "run_on.workers=2"])
    assert found == {
        "a": 1, "b": 0.5, "c": True, "d": [1, 2], "e": "plain text", "f": "7", "g": "", "run_on": {"workers": 2},
    }  # fmt: skip


@pytest.mark.parametrize("pair", ["a", "=1", "a.=1", ""])
def test_what_is_no_pair_is_refused(pair):
    with pytest.raises(SettingError, match="expected key=value"):
        parse_pairs([pair])


def test_a_key_cannot_be_setting_and_section():
    with pytest.raises(SettingError, match="a is a setting and cannot hold others"):
        parse_pairs(["a=1", "a.b=2"])
    with pytest.raises(SettingError, match="a is a section and cannot be a value"):
        parse_pairs(["a.b=2", "a=1"])


def test_a_text_of_several_lines_stays_a_text():
    assert parse_pairs(["a=1\nb = 2"]) == {"a": "1\nb = 2"}


def test_values_nested_beyond_measure_stay_a_text():
    text = "[" * 100_000
    assert parse_pairs([f"a={text}"]) == {"a": text}


def test_changes_overlay_a_section_key_by_key():
    found = overlaid({"a": 1, "s": {"x": 1, "y": 1}, "t": 1}, {"a": 2, "s": {"y": 2}, "t": {"x": 2}})
    assert found == {"a": 2, "s": {"x": 1, "y": 2}, "t": {"x": 2}}


def test_a_file_that_is_no_toml_is_refused(tmp_path):
    with pytest.raises(SettingError, match="no such file"):
        read_toml(tmp_path / "x.toml")
    (tmp_path / "x.toml").write_text("a =")
    with pytest.raises(ManifestError, match="cannot be read as TOML"):
        read_toml(tmp_path / "x.toml", ManifestError)


def test_an_unknown_key_of_a_section_is_refused_with_the_nearest_name():
    with pytest.raises(SettingError, match=r"^x: run_on: unknown key 'worker' \(did you mean 'workers'\?\)$"):
        checked(Paint, {"run_on": {"worker": 1}}, "x")


class Drawer(Settings):
    by_name: dict[str, Annotated[Paint, Field(strict=False)]] = Field(default_factory=dict)
    in_order: tuple[Annotated[Paint, Field(strict=False)], ...] = Field(default=(), strict=False)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"by_name": {"a": {"color": "red"}}}, r"drawer: by_name\.a: unknown key 'color' \(did you mean 'colour'\?\)$"),
        ({"in_order": [{"ratios": 1.0}]}, r"drawer: in_order\.0: unknown key 'ratios' \(did you mean 'ratio'\?\)$"),
    ],
)
def test_an_unknown_key_in_a_table_has_the_nearest_name(values, message):
    with pytest.raises(SettingError, match=message):
        checked(Drawer, values, "drawer")


class Needed(Settings):
    colour: str


def test_a_setting_without_default_is_asked_for():
    with pytest.raises(SettingError, match=r"^needed: colour: this setting has no default; give it a value$"):
        checked(Needed, {}, "needed")
