"""The report of a dataset: one HTML file that needs nothing else and cannot be made to run a caption.

Captions come from the open web, so: text reaches the page through Jinja's autoescape or as JSON with `<`, `>` and `&`
escaped; the page's script builds elements with textContent only; a content security policy allows that one script and
style sheet, by hash, and images from data: URLs. No value from the data becomes a link. Which samples and columns to
show is the caller's choice (`stages.emit`).
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from samples.columns import COLUMNS
from stages.report.histograms import Histogram, number_label

if TYPE_CHECKING:
    import jinja2

    from stages.report.licences import ShownLicences

IMAGE_ROLES = (
    "anchor", "source", "target", "rejected", "source_mask", "target_mask", "region_mask", "soft_mask",
)  # fmt: skip
TEMPLATES = Path(__file__).parent / "templates"

_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")  # browsers have crashed on saving them
_MIME_BY_MAGIC = ((b"\xff\xd8\xff", "image/jpeg"), (b"\x89PNG\r\n\x1a\n", "image/png"))


@dataclass(frozen=True, kw_only=True, slots=True)
class StageCount:
    """The work of one stage: rows, reject reasons (reason -> rows), models (id -> revision), seconds of work.

    `notes` holds counts of other events (name -> number), `licences` the licence (id -> name) of each model that states
    one.
    """

    name: str
    fingerprint: str
    rows_in: int
    rows_out: int
    rejects: Mapping[str, int] = field(default_factory=dict)
    notes: Mapping[str, int] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)
    licences: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def num_rejects(self) -> int:
        """Rows that this stage turned away."""
        return sum(self.rejects.values())

    @property
    def notes_with_shares(self) -> list[tuple[str, int, float | None]]:
        """(note, number, share) of each note: "answers: wrong" has a share of "answers", where there is that note."""
        totals = {name: self.notes.get(name.partition(": ")[0], 0) for name in self.notes if ": " in name}
        return [
            (name, number, number / totals[name] if totals.get(name) else None)
            for name, number in sorted(self.notes.items())
        ]


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportSample:
    """One sample of the contact sheet.

    `images` holds encoded JPEG or PNG thumbnails by role (`IMAGE_ROLES`); `fields` every column without pixels, in the
    order to show. The card shows caption or source_caption, target_caption, instruction, reverse_instruction and
    edit_type where they are there; the dialog shows all.
    """

    sample_id: str
    images: Mapping[str, bytes]
    fields: Mapping[str, object]


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """All that the page shows. `samples` is a selection of the `num_samples_total` in the dataset."""

    title: str
    summary: str
    manifest: Mapping[str, Any]
    stages: Sequence[StageCount]
    histograms: Sequence[Histogram]
    samples: Sequence[ReportSample]
    num_samples_total: int
    lacks_target: bool = False
    """The samples are edits, and none has a target image."""
    licences: ShownLicences | None = None
    """The verdict on the licences of images and models, where they were gathered."""


def render_report(report: Report) -> str:
    """The page as one string, the same for the same report. Write it as UTF-8.

    Raises `ValueError` for an image that is neither JPEG nor PNG or has an unknown role, and `TypeError` for bytes
    among the fields.
    """
    script, style = (_inline(TEMPLATES / name) for name in ("report.js", "report.css"))
    policy = (
        f"default-src 'none'; img-src data:; script-src '{_csp_hash(script)}'; style-src '{_csp_hash(style)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return (
        template_environment()
        .get_template("report.html.j2")
        .render(
            report=report,
            policy=Markup(policy),  # noqa: S704 - constants and base64
            script=script,
            style=style,
            payload=_payload(report),
            manifest_json=json.dumps(report.manifest, indent=2, ensure_ascii=False, default=str),
            most_rows=max((max(s.rows_in, s.rows_out + s.num_rejects) for s in report.stages), default=0),
            most_rejects=max((n for s in report.stages for n in s.rejects.values()), default=0),
        )
    )


def template_environment() -> jinja2.Environment:
    """Jinja as the report and the data card use it: everything escaped, unknown names refused, text cleaned."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=lambda value: clean_text(value) if type(value) is str else value,
    )
    environment.filters |= {"num": number_label, "percent": _percent, "duration": _duration}
    return environment


def clean_text(text: str) -> str:
    """`text` with every character that UTF-8, HTML or YAML cannot hold (controls, lone surrogates) made U+FFFD."""
    return _UNPRINTABLE.sub("\ufffd", text)


def _payload(report: Report) -> Markup:
    """The samples and the meaning of their columns, as JSON that is safe inside a script element."""
    names = {name for sample in report.samples for name in sample.fields}
    data = {
        "samples": [
            {
                "id": _display("sample_id", sample.sample_id),
                "images": _data_urls(sample),
                "fields": {name: _display(name, value) for name, value in sample.fields.items()},
            }
            for sample in report.samples
        ],
        "columns": {name: [c.unit, c.meaning] for name, c in COLUMNS.items() if name in names},
    }
    # ASCII only, so U+2028, marks of direction and lone surrogates are escaped as well
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704 - the three characters that could end the element are gone


def _data_urls(sample: ReportSample) -> list[tuple[str, str]]:
    """(role, data: URL) in the order of `IMAGE_ROLES`."""
    unknown = sorted(set(sample.images) - set(IMAGE_ROLES))
    if unknown:
        raise ValueError(f"sample {sample.sample_id!r} has an image of role {unknown[0]!r}: expected {IMAGE_ROLES}")
    return [(role, _data_url(sample, role)) for role in IMAGE_ROLES if role in sample.images]


def _data_url(sample: ReportSample, role: str) -> str:
    image = sample.images[role]
    for magic, mime in _MIME_BY_MAGIC:
        if image.startswith(magic):
            return f"data:{mime};base64,{base64.b64encode(image).decode('ascii')}"
    raise ValueError(f"the {role} thumbnail of sample {sample.sample_id!r} is neither JPEG nor PNG")


def _display(name: str, value: object) -> str | None:
    """A value as text: JavaScript would round a 64-bit hash, and JSON has no NaN."""
    if value is None:
        return None
    if isinstance(value, bytes | bytearray | memoryview):
        raise TypeError(f"field {name!r} holds bytes: pixels go into `images` as thumbnails")
    if isinstance(value, str):
        text = value
    elif isinstance(value, bool | Mapping | Sequence):
        text = json.dumps(value, ensure_ascii=False, default=str)
    else:
        text = str(value)
    return _LONE_SURROGATE.sub("\ufffd", text)


def _inline(path: Path) -> Markup:
    """A file of ours, for the inside of its element."""
    return Markup(path.read_text(encoding="utf-8").strip())  # noqa: S704 - part of this package, not data


def _csp_hash(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"


def _percent(part: float, whole: float) -> str:
    """A share as an SVG length. A share above 0 stays visible."""
    if not part or not whole:
        return "0%"
    return f"{max(100 * part / whole, 0.2):.4g}%"


def _duration(seconds: float) -> str:
    if not math.isfinite(seconds):
        return "unknown"
    if seconds < 60:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
