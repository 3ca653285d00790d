"""The card of an export: README.md with what is carried, what is not, what was left out, and how it is used.

Owns the wording that all formats share. A format adds its guide. The licence comes from the dataset's own card.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from core.locations import connect
from export.format import Content, LeftOut
from export.texts import clean_text, one_line
from export.write_shard import LEFT_OUT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from export.exported import Exported
    from export.format import Format, Guide
    from samples.shards import ShardList

CARD = "README.md"
MAX_CARD_BYTES = 1 << 20
"""Most bytes that are read of a dataset's card."""
LICENCE_KEYS = ("license", "license_name", "language")
LICENCE_HEADING = "## Licence and provenance"
NO_LICENCE = "The dataset has no card that states a licence. Images stay under the terms of where they came from."
NOT_CARRIED = "not carried: no place for it"
MEANING = {
    LeftOut.LACKS_COLUMN: "no value in a column that the format cannot do without",
    LeftOut.SEVERAL_SOURCES: "more source images than the format takes",
    LeftOut.UNREADABLE_IMAGE: "an image had to be decoded and could not be",
    LeftOut.SIZES_DIFFER: "two images differ in size that the trainer wants in one",
}
"""Reason -> its meaning on the card."""


def write_card(export: Exported, made: Format, guide: Guide) -> None:
    """Write README.md."""
    head, licence = licence_of(export.dataset)
    sections = (_front_matter(head, guide), *_sections(export, made, guide), f"{LICENCE_HEADING}\n\n{licence}")
    export.write(CARD, "\n\n".join(section.strip() for section in sections if section.strip()) + "\n")


def _front_matter(head: str, guide: Guide) -> str:
    lines = [part.strip("\n") for part in (head, guide.front_matter) if part.strip()]
    return "\n".join(("---", *lines, "---")) if lines else ""


def _sections(export: Exported, made: Format, guide: Guide) -> Iterator[str]:
    yield f"# Export to {made.name}"
    yield (
        f"Rows of the dataset {_code(export.dataset.name)}, in the layout that {made.reader} "
        f"reads. Written by `editloom export --to {made.name}`; the dataset's list of shards has the "
        f"{export.dataset.fingerprint}. {made.direction.format(caption=made.caption)}"
    )
    rows = "\n".join(f"| {one.value} | {made.carries.get(one, NOT_CARRIED)} |" for one in Content)
    yield f"## What is carried\n\nImages: {made.encoding}.\n\n| content | where it is |\n|---|---|\n{rows}"
    yield _counts(export)
    files = "\n".join(f"| `{name}` | {meaning} |" for name, meaning in guide.files.items())
    yield f"## Files\n\n| file | what it is |\n|---|---|\n{files}" if files else ""
    yield f"## How to use it\n\n{guide.usage}"
    yield f"Rules of the layout: {made.source}."
    settings = "\n".join(f"- `{name} = {value!r}`" for name, value in made.model_dump(mode="json").items())
    yield f"## Settings\n\n{settings}"


def _code(text: str) -> str:
    """A text as a code span, in which nothing is markup."""
    return f"`{one_line(text).replace('`', chr(39)) or ' '}`"


def _counts(export: Exported) -> str:
    """Rows in the export and out of it, and the counts that the format made."""
    lines = [f"- rows in the export: {export.num_rows:,}"]
    lines += [f"- {words}: {number:,}" for words, number in sorted(export.notes.items())]
    lines += [
        f"- rows left out, `{reason}` ({MEANING[LeftOut(reason)]}): {number:,}"
        for reason, number in sorted(export.left_out.items())
    ]
    listed = f"`{LEFT_OUT}` lists each row that was left out." if export.left_out else "No row was left out."
    return "\n".join(["## Rows", "", *lines, "", listed])


def licence_of(dataset: ShardList) -> tuple[str, str]:
    """(lines of YAML with licence and language, the section on licence and provenance) of the dataset's card."""
    return _licence(_dataset_card(dataset))


def _dataset_card(dataset: ShardList) -> str:
    """The dataset's README.md, empty where it has none."""
    fs, path = connect(f"{dataset.url.rstrip('/')}/{CARD}")
    try:
        with fs.open(path, "rb") as file:
            return clean_text(file.read(MAX_CARD_BYTES).decode("utf-8", "replace"))
    except OSError:
        return ""


def _licence(card: str) -> tuple[str, str]:
    found = re.match(r"---\n(.*?)\n---\n", card, re.DOTALL)
    kept: list[str] = []
    is_kept = False
    for line in found[1].splitlines() if found else ():
        is_kept = line.partition(":")[0] in LICENCE_KEYS if re.match(r"\w", line) else is_kept
        kept += [line] if is_kept else []
    body = card[found.end() :] if found else card
    section = re.search(rf"^{LICENCE_HEADING}\n+(.*?)(?=^## |\Z)", body, re.DOTALL | re.MULTILINE)
    return "\n".join(kept), section[1].strip() if section else NO_LICENCE
