"""The members of a sample in a finished tar: one table of column and file suffix.

A member is named `<sample_id>.<suffix>`: `source.jpg`, `source1.jpg` (a second source image), `target.png`,
`source_mask.png`, `source_latent.npy` … and `json`, which holds all light columns that have a value. `emit` writes them
in the table's order, `json` last. Owns names; does not decode (`samples.stored_images` does) and opens no tar.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from core.errors import ContractError, nearest

if TYPE_CHECKING:
    from collections.abc import Mapping

JSON = "json"
"""Suffix of the member with the light columns."""
JSON_MEANING = "the columns below that have a value, but for dataset_shard and those of 64 bits without sign"
PILLOW_FORMATS = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}
"""Formats in which a dataset stores images: suffix -> Pillow's name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """The members that hold one column: `<role>.<format>`, and `<role>1.<format>` … where it is a list.

    `kind` says how it is decoded: an image in RGB, a mask (white inside) or an array in NumPy's format.
    """

    column: str
    role: str
    kind: Literal["image", "mask", "array"]
    formats: tuple[str, ...]
    meaning: str
    format_column: str = ""
    """Column that says the format, a list where each value has one; empty where there is one format only."""
    is_list: bool = False

    def suffix(self, image_format: str = "", number: int = 0) -> str:
        """The suffix of the value at place `number` of the list. A format is needed where there are several."""
        return f"{self.role}{number or ''}.{image_format or self.formats[0]}"

    @property
    def described(self) -> str:
        """The suffix as messages name it: `source.jpg|png|webp`."""
        return f"{self.role}.{'|'.join(self.formats)}"


def _member(
    column: str, role: str, kind: Literal["image", "mask", "array"], meaning: str, format_column: str = "",
    *, is_list: bool = False,
) -> Member:  # fmt: skip
    formats = {"image": tuple(PILLOW_FORMATS), "mask": ("png",), "array": ("npy",)}[kind]
    return Member(
        column=column, role=role, kind=kind, formats=formats, meaning=meaning, format_column=format_column,
        is_list=is_list,
    )  # fmt: skip


MEMBERS: dict[str, Member] = {
    member.column: member
    for member in (
        _member("source_images", "source", "image", "the image before the edit", "source_format", is_list=True),
        _member("target_image", "target", "image", "the image after the edit", "target_format"),
        _member("rejected_image", "rejected", "image", "a worse edit of the same image by the same instruction",
                "rejected_format"),
        _member("source_mask_png", "source_mask", "mask", "what changes, white on black, in the source image"),
        _member("target_mask_png", "target_mask", "mask", "what changed, white on black, in the target image"),
        _member("region_mask_png", "region_mask", "mask", "where the edit may change the image: white; all white where "
                "`is_whole_image`"),
        _member("soft_mask_png", "soft_mask", "mask", "how much of each place was made anew, from black to white"),
        _member("anchor_image", "anchor", "image", "the image `anchor_id` that the pair was drawn over",
                "anchor_format"),
        _member("selective_mask_png", "selective_mask", "mask",
                "where the target image has details that matter: white"),
        _member("example_source_images", "example_source", "image",
                "the image before the edit of an example, a pair that follows the same instruction",
                "example_source_formats", is_list=True),
        _member("example_target_images", "example_target", "image", "the image after the edit of that example",
                "example_target_formats", is_list=True),
        _member("source_latent", "source_latent", "array",
                "the source image in the latent space of `latent_model`, scaled, float16"),
        _member("target_latent", "target_latent", "array", "the target image in the same space"),
        _member("region_latent", "region_latent", "array", "the region mask, as an RGB image, in the same space"),
        _member("instruction_emb", "instruction_emb", "array",
                "hidden states of the instruction from the text encoders of `text_model`, float16"),
        _member("instruction_pooled_emb", "instruction_pooled_emb", "array",
                "the pooled text embedding of the instruction, float16"),
    )
}  # fmt: skip
"""Column -> its members, in the order in which they lie in a tar."""

FURTHER_MEANING = {"source": "a further image that the edit is given"}
"""Role of a list -> meaning of its members but the first, where it is another."""
_SUFFIX = re.compile(r"([a-z_]+)([1-9][0-9]{0,3})?\.([a-z]+)")
_BY_ROLE = {member.role: member for member in MEMBERS.values()}


def member(column: str) -> Member:
    """The members of a column. Raises `ContractError` with the nearest name for a column that has none."""
    if column not in MEMBERS:
        raise ContractError(f"column {column!r} is no member of a tar{nearest(column, MEMBERS)}")
    return MEMBERS[column]


def suffix_of(file_name: str) -> str:
    """The suffix of a file in a tar: what follows the first dot of its name, in lower case."""
    return file_name.rpartition("/")[2].partition(".")[2].lower()


def column_of(suffix: str) -> str | None:
    """The column that a member of this suffix holds, or None for `json` and for what is no member."""
    found = _found(suffix)
    return found[0].column if found else None


def meaning_of(suffix: str) -> str:
    """One line on a member, for the data card, or empty for what is no member."""
    found = _found(suffix)
    if found is None:
        return JSON_MEANING if suffix == JSON else ""
    declared, number = found
    return FURTHER_MEANING.get(declared.role, declared.meaning) if number else declared.meaning


def values_of(column: str, members: Mapping[str, bytes]) -> list[bytes]:
    """The stored values of a column, from one sample's members (suffix -> bytes), or empty where it has none.

    Only a column that is a list has more than one value. Raises `ContractError` for a column that has no members.
    """
    return [content for _, content in stored_of(column, members)]


def stored_of(column: str, members: Mapping[str, bytes]) -> list[tuple[str, bytes]]:
    """(format, content) of each stored value of a column; otherwise as `values_of`."""
    declared = member(column)
    values: list[tuple[str, bytes]] = []
    while True:
        places = ((one, declared.suffix(one, len(values))) for one in declared.formats)
        value = next(((one, members[place]) for one, place in places if place in members), None)
        if value is None:
            return values
        values.append(value)
        if not declared.is_list:
            return values


def _found(suffix: str) -> tuple[Member, int] | None:
    """(The members that the suffix is one of, its place in the list)."""
    match = _SUFFIX.fullmatch(suffix)
    declared = _BY_ROLE.get(match[1]) if match else None
    if match is None or declared is None or match[3] not in declared.formats or (match[2] and not declared.is_list):
        return None
    return declared, int(match[2] or 0)
