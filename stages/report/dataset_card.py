"""The dataset card: README.md as Hugging Face reads it, YAML front matter and Markdown.

Values come from manifests and data, so each one is written as a JSON string (which YAML reads) or through a Markdown
filter; the template has no other way in, because everything else is HTML-escaped. Does not own the pixels or files
that it describes (`stages.emit`).

The card declares the type of every member and column: otherwise `datasets` guesses them from the first five samples of
the first tar, and drops what is empty there. It has one configuration only: `datasets` takes the file format of the
first configuration for all of them (huggingface/datasets issue 7101), so a second one over samples.parquet would be
read as tar and fail.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from markupsafe import Markup

from samples.columns import column
from samples.members import column_of, meaning_of
from samples.stored_arrays import num_axes
from stages.report.html import StageCount, clean_text, template_environment

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from stages.report.licences import ShownLicences

TASKS = ("image-to-image", "text-to-image")
TAGS = ("image-editing", "instruction-based-image-editing", "webdataset", "editloom")
HUB_LICENCES = frozenset({
    "afl-3.0", "apache-2.0", "bsd-2-clause", "bsd-3-clause", "c-uda", "cc", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0",
    "cc-by-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0",
    "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "cc-by-nd-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc0-1.0",
    "cdla-permissive-1.0", "cdla-permissive-2.0", "cdla-sharing-1.0", "creativeml-openrail-m", "gfdl", "mit", "odbl",
    "odc-by", "openrail", "openrail++", "other", "pddl", "unknown", "unlicense", "wtfpl",
})  # fmt: skip
"""Identifiers that the Hub accepts for data (docs/hub/repositories-licenses); any other is `other` and a name."""

EDIT_TEXTS = ("source_caption", "instruction", "target_caption", "reverse_instruction")
"""Columns of texts on an edit, which the code of the card loads where there is no target image."""

_SIZE_STEPS = ("1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B", "100B", "1T")
_SPECIAL = re.compile(r"[\\`*_{}\[\]()#!|~$:@^=]")


@dataclass(frozen=True, kw_only=True, slots=True)
class Card:
    """All that the card states.

    `columns` are those of samples.parquet, `members` the suffixes in the tars (`source.jpg`, `json`, …). `license` is
    an identifier of the Hub where it has one, otherwise the licence's name; `provenance` is free text on where the
    images come from and under what terms.
    """

    name: str
    summary: str
    license: str
    num_samples: int
    num_shards: int
    members: Sequence[str]
    columns: Sequence[str]
    stages: Sequence[StageCount]
    manifest: Mapping[str, Any]
    provenance: str = ""
    languages: Sequence[str] = ("en",)
    tags: Sequence[str] = ()
    licences: ShownLicences | None = None
    """The verdict on the licences of images and models, where they were gathered."""


def render_card(card: Card) -> str:
    """README.md of the dataset, the same for the same card.

    Raises `ValueError` for a language that is no ISO 639 code, and `ContractError` for a column that is not declared.
    """
    for language in card.languages:
        if not re.fullmatch("[a-z]{2,3}", language):
            raise ValueError(f"language {language!r} is no ISO 639 code: expected two or three letters, such as 'en'")
    columns = [column(name) for name in card.columns]
    environment = template_environment()
    environment.filters |= {"yaml": yaml_string, "md": markdown_text, "code": markdown_code, "fence": _fence}
    is_hub_licence = card.license in HUB_LICENCES
    return environment.get_template("dataset_card.md.j2").render(
        card=card,
        license_id=card.license if is_hub_licence else "other",
        license_name="" if is_hub_licence else _slug(card.license),
        size_category=size_category(card.num_samples),
        tasks=TASKS,
        tags=list(dict.fromkeys([*TAGS, *card.tags])),
        columns=columns,
        edit_texts=[n for n in EDIT_TEXTS if n in card.columns and lacks_target(card.columns, card.members)],
        image_members=[member for member in card.members if not member.endswith(("json", "npy"))],
        array_members=[(member, num_axes(str(column_of(member)))) for member in card.members if member.endswith("npy")],
        features=[(c.name, _feature_lines(c.type)) for c in columns if is_in_json(c.name)],
        member_meanings={member: meaning_of(member) for member in card.members},
        models=[
            (model, revision, stage.licences.get(model), stage.name)
            for stage in card.stages
            for model, revision in stage.models.items()
        ],
    )


def lacks_target(columns: Collection[str], members: Collection[str]) -> bool:
    """True for a dataset of edits of which no sample has a target image."""
    return "instruction" in columns and all(column_of(member) != "target_image" for member in members)


def is_in_json(name: str) -> bool:
    """True for a column that the JSON member of a sample holds, where it has a value.

    Not for 64 bits without sign, which readers of JSON misread, and not for the name of the sample's own tar.
    """
    return name != "dataset_shard" and column(name).type != pa.uint64()


def size_category(num_samples: int) -> str:
    """The Hub's size category of a dataset with that many rows: `n<1K`, `1K<n<10K`, … `n>1T`."""
    bounds = [10 ** (3 + i) for i in range(len(_SIZE_STEPS))]
    above = sum(num_samples >= bound for bound in bounds)
    if above == 0:
        return f"n<{_SIZE_STEPS[0]}"
    if above == len(bounds):
        return f"n>{_SIZE_STEPS[-1]}"
    return f"{_SIZE_STEPS[above - 1]}<n<{_SIZE_STEPS[above]}"


def yaml_string(text: str) -> Markup:
    """`text` on one line, as a double-quoted YAML scalar."""
    # not ASCII only: YAML would read a surrogate pair as two characters; `_one_line` took out what it cannot hold
    return Markup(json.dumps(_one_line(text), ensure_ascii=False))  # noqa: S704 - quoted for the one place it goes to


def markdown_text(text: str) -> Markup:
    """`text` on one line that Markdown shows as it is: no markup, HTML, table cell or link comes of it."""
    escaped = _SPECIAL.sub(lambda match: f"\\{match[0]}", _one_line(text))
    escaped = re.sub(r"(?i)\bwww\.", lambda match: f"{match[0][:-1]}\\.", escaped)  # the Hub would link it
    escaped = escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    escaped = re.sub(r"^(\d*)([-+.])", r"\1\\\2", escaped)  # no list at the start of a line
    return Markup(escaped)  # noqa: S704 - escaped above


def markdown_code(text: str) -> Markup:
    """`text` on one line as a code span, fit for a table cell."""
    text = _one_line(text) or " "
    ticks = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return Markup(ticks + pad + text.replace("|", "\\|") + pad + ticks)  # noqa: S704 - nothing in a code span is markup


def _fence(data: object) -> Markup:
    """`data` as a fenced block of JSON that its own content cannot close."""
    text = clean_text(json.dumps(data, indent=2, ensure_ascii=False, default=str))
    ticks = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return Markup(f"{ticks}json\n{text}\n{ticks}")  # noqa: S704 - nothing in a fenced block is markup


def _one_line(text: str) -> str:
    return " ".join(clean_text(text).split())


def _slug(name: str) -> str:
    """A name for `license_name`, which takes lower case, digits, dots and dashes."""
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-.") or "unnamed"


def _feature_lines(dtype: pa.DataType) -> list[str]:
    """YAML lines for a column of this type, in the words of `datasets`: `dtype: string`, a list, a list of records."""
    if not pa.types.is_list(dtype):
        return [f"dtype: {_feature_name(dtype)}"]
    inner = dtype.value_type
    if pa.types.is_struct(inner):
        fields = [inner.field(place) for place in range(inner.num_fields)]
        return ["list:", *(line for f in fields for line in (f"- name: {f.name}", f"  dtype: {_feature_name(f.type)}"))]
    if pa.types.is_list(inner):
        return ["list:", *(f"  {line}" for line in _feature_lines(inner))]
    return [f"list: {_feature_name(inner)}"]


def _feature_name(dtype: pa.DataType) -> str:
    names = {pa.bool_(): "bool", pa.float32(): "float32", pa.float64(): "float64"}
    return names.get(dtype, str(dtype))
