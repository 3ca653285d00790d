"""Settings: one base, one check and one wording of what is wrong, for manifests, stages, recipes and editors.

Settings are frozen and strict: an unknown key is an error that offers the nearest valid name, no value is converted,
and infinities and NaN are refused. They come from TOML, or from `key=value` on the command line, in TOML's notation.
TOML has no null: the text "none" unsets a setting that may be unset, as in `max_distance = "none"`.
"""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError

from core.errors import SettingError, UsageError, nearest

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

NONE = "none"
"""Text that means None where a setting may be None."""


class Settings(BaseModel):
    """Base of all settings: a frozen value, checked when it is made."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=())


S = TypeVar("S", bound=BaseModel)


def checked(kind: type[S], values: Any, where: str, error: type[UsageError] = SettingError) -> S:
    """The settings, made of the table `values`. Raises `error`: `where`, the key, what is wrong with it, the value."""
    if not isinstance(values, dict):
        raise error(f"{where}: expected a table, got {values!r}")
    given = _given(kind, values, where, error)
    try:
        return kind.model_validate(given)
    except ValidationError as invalid:
        raise error(f"{where}: {wording(invalid, kind)}") from None


def _given(
    kind: type[BaseModel], values: Mapping[str, Any], where: str, error: type[UsageError]
) -> dict[str, Any]:  # fmt: skip
    """The values with None for the text "none", in sections too. Raises `error` for an unknown key."""
    refuse_unknown(values, kind.model_fields, where, error)
    given = {key: None if value == NONE and may_be_none(kind, key) else value for key, value in values.items()}
    for key, value in given.items():
        section = kind.model_fields[key].annotation
        if isinstance(value, dict) and isinstance(section, type) and issubclass(section, BaseModel):
            given[key] = _given(section, value, f"{where}: {key}", error)
    return given


def refuse_unknown(
    values: Mapping[str, Any], known: Collection[str], where: str, error: type[UsageError] = SettingError
) -> None:
    """Raise `error` for a key of `values` that is not in `known`, with the nearest that is."""
    for key in values:
        if key not in known:
            raise error(f"{where}: unknown key {key!r}{nearest(key, known)}")


def wording(invalid: ValidationError, kind: type[BaseModel] | None = None) -> str:
    """The first fault in one line: the key, what was expected, the value. An unknown key gets the nearest of `kind`."""
    first = invalid.errors(include_url=False)[0]
    *above, last = first["loc"] or ("",)
    if first["type"] == "extra_forbidden":
        place = "".join(f"{part}: " for part in [".".join(str(part) for part in above)] if part)
        known = _fields_at(kind, above)
        return f"{place}unknown key {last!r}{nearest(str(last), known) if known else ''}"
    key = "".join(f"{part}: " for part in [".".join(str(part) for part in first["loc"])] if part)
    if first["type"] == "missing":
        return f"{key}this setting has no default; give it a value"
    told = first["msg"].removeprefix("Value error, ")
    value = f", got {first['input']!r}" if key else ""
    return f"{key}{told[:1].lower()}{told[1:]}{value}"


def _fields_at(kind: Any, place: Sequence[int | str]) -> Collection[str]:
    """Names of the settings at a place below `kind`, through sections, tables and lists, or empty for none."""
    for part in place:
        fields = getattr(kind, "model_fields", {})
        if part in fields:
            kind = fields[part].annotation
        else:  # a key of a table, or a place in a list: go on with the type of its values
            inner = [one for one in get_args(_bare(kind)) if one not in (Ellipsis, type(None))]
            kind = inner[-1] if inner else None
        kind = _bare(kind)
    fields = getattr(_bare(kind), "model_fields", {})
    return tuple(fields)


def _bare(kind: Any) -> Any:
    """The type without `Annotated`."""
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def may_be_none(kind: type[BaseModel], key: str) -> bool:
    """True for a setting that may be None."""
    return type(None) in get_args(kind.model_fields[key].annotation)


def read_toml(path: Path, error: type[UsageError] = SettingError) -> dict[str, Any]:
    """The table in a TOML file. Raises `error` when it is not there or is no TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise error(f"{path}: no such file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError, RecursionError) as fault:
        raise error(f"{path}: cannot be read as TOML: {fault}") from None


def parse_pairs(pairs: Sequence[str]) -> dict[str, Any]:
    """Settings from `key=value` texts. A key with dots names a setting of a section, as in TOML.

    The value is in TOML's notation, or a text where that does not parse. Raises `SettingError` for a text without `=`
    and for a key that is both a setting and a section.
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        keys = [key.strip() for key in name.split(".")]
        if not equals or not all(keys):
            raise SettingError(f"--set {pair!r} is no setting; expected key=value")
        section = found
        for key in keys[:-1]:
            section = section.setdefault(key, {})
            if not isinstance(section, dict):
                raise SettingError(f"--set {pair!r}: {key} is a setting and cannot hold others")
        if isinstance(section.get(keys[-1]), dict):
            raise SettingError(f"--set {pair!r}: {keys[-1]} is a section and cannot be a value")
        section[keys[-1]] = _value(text.strip())
    return found


def overlaid(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`values` with `changes` over them, sections key by key."""
    both = {
        key: overlaid(values[key], change) for key, change in changes.items() if _is_section(values.get(key), change)
    }
    return {**values, **changes, **both}


def _is_section(*values: Any) -> bool:
    return all(isinstance(value, dict) for value in values)


def _value(text: str) -> Any:
    try:
        found = tomllib.loads(f"value = {text}")
    except (tomllib.TOMLDecodeError, RecursionError):
        return text
    return found["value"] if len(found) == 1 else text  # a text of several lines may be several values
