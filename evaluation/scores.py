"""The result of an evaluation: means by section with everything that decided them, and one row a sample.

On disk `scores.json`, and `samples.parquet` with the values that the means are of.
"""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from itertools import compress
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from core.errors import EvaluationError, UsageError
from evaluation.frechet import MIN_SAMPLES, frechet_distance, gaussian_of
from evaluation.judges import short_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from evaluation.benchmark import Sample
    from evaluation.measure import Embeddings, Measured, Outputs, Row

SCORES_FILE, SAMPLES_FILE = "scores.json", "samples.parquet"
VERSIONS_OF = ("editloom", "torch", "transformers", "diffusers", "scikit-image")


class Section(BaseModel):
    """Means over the samples of one section, and the number of samples that each covers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    num_samples: int
    mean: dict[str, float]
    num: dict[str, int]


class Scores(BaseModel):
    """The means of one evaluation, and everything that they depend on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    benchmark: str
    dataset: str
    """Fingerprint of the benchmark's texts and images."""
    system: str
    """The maker of the outputs: the editor's name, or the name given for outputs made elsewhere."""
    editor: dict[str, Any] | None
    """Name, revision, settings and needs of the editor; None for outputs made elsewhere."""
    judges: dict[str, str]
    """Model id -> revision of every network that measured."""
    views: dict[str, str]
    """Measure -> name of the view through which its networks saw each image; the whole image where there is none."""
    sections: dict[str, Section]
    baselines: dict[str, dict[str, Section]]
    """Baseline -> sections, as `evaluation.baselines` has them; empty when they were not asked for."""
    notes: dict[str, Any]
    made_at: str
    versions: dict[str, str]

    def value(self, metric: str, section: str | None = None, *, baseline: str | None = None) -> float:
        """The mean of one measure in a section (the first one by default), `metric` with or without its network.

        Raises KeyError when there is none, or when several networks measured it and none is named.
        """
        sections = self.sections if baseline is None else self.baselines[baseline]
        name = next(iter(sections)) if section is None else section
        mean = sections[name].mean
        found = [key for key in mean if metric in (key, key.partition("@")[0])]
        if len(found) != 1:
            raise KeyError(f"{metric!r} names {len(found)} measures of section {name!r} (known: {', '.join(mean)})")
        return mean[found[0]]

    def as_text(self) -> str:
        """The scores as text for people: one block for each section, one line for each measure, baselines beside it."""
        lines = [f"{self.benchmark} {self.dataset}: {self.system}"]
        for name, section in self.sections.items():
            shown = {"system": section} | {key: of[name] for key, of in self.baselines.items() if name in of}
            lines += ["", *_block(f"{name} ({section.num_samples})", shown)]
        return "\n".join(lines)

    def write(self, folder: Path, rows: Sequence[dict[str, Any]]) -> None:
        """Write both files. `rows` have `key`, `sections`, facts and measures of each sample."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        folder.mkdir(parents=True, exist_ok=True)
        names = list(dict.fromkeys(name for row in rows for name in row))
        columns = {name: pa.array([row.get(name) for row in rows]) for name in names}
        temporary = folder / f"{SAMPLES_FILE}.tmp"
        pq.write_table(pa.table(columns), temporary)
        temporary.replace(folder / SAMPLES_FILE)
        temporary = folder / f"{SCORES_FILE}.tmp"
        temporary.write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")
        temporary.replace(folder / SCORES_FILE)

    @classmethod
    def read(cls, folder: Path) -> Scores:
        """The scores in a folder.

        Raises UsageError when it has none, EvaluationError for a file that is not as this version writes it.
        """
        path = folder / SCORES_FILE
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            raise UsageError(f"{path} is not there; name a folder that `editloom evaluate` wrote") from None
        except (OSError, ValidationError) as error:
            raise EvaluationError(f"{path} holds no scores; run the evaluation that writes them") from error


def sections_of(samples: Sequence[Sample], outputs: Outputs, measured: Measured) -> dict[str, Section]:
    """Every section that a sample names, in the order in which they are named first."""
    return _sections(samples, outputs, measured.rows, measured.features)


def baseline_sections_of(
    samples: Sequence[Sample], baselines: Mapping[str, Outputs], measured: Measured
) -> dict[str, dict[str, Section]]:
    """The sections of each baseline, over the samples that it has an image for."""
    found = {}
    for name, made in baselines.items():
        has = [one.key in made for one in samples]
        rows = list(compress(measured.baselines[name], has))
        found[name] = _sections(list(compress(samples, has)), made, rows, measured.features)
    return found


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def versions() -> dict[str, str]:
    """Versions of the installed packages that decide numbers."""
    found = {}
    for name in VERSIONS_OF:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _sections(
    samples: Sequence[Sample], outputs: Outputs, rows: Sequence[Row], features: Mapping[str, Embeddings]
) -> dict[str, Section]:
    found = {}
    for name in dict.fromkeys(section for one in samples for section in one.sections):
        has = [name in one.sections for one in samples]
        found[name] = _section(list(compress(samples, has)), outputs, list(compress(rows, has)), features)
    return found


def _section(
    samples: Sequence[Sample], outputs: Outputs, rows: Sequence[Row], features: Mapping[str, Embeddings]
) -> Section:
    mean: dict[str, float] = {}
    num: dict[str, int] = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        values = [row[name] for row in rows if name in row]
        mean[name], num[name] = float(np.mean(values)), len(values)
    for judge, of in features.items():
        edited = [of[outputs[one.key]] for one in samples]
        for kind, images in (
            ("fid_source", [one.source for one in samples]),
            ("fid_target", [None if one.reference == one.source else one.reference for one in samples]),
        ):
            others = [of[image] for image in images if image is not None]
            if len(others) == len(edited) >= MIN_SAMPLES:
                name = f"{kind}@{short_name(judge)}"
                mean[name] = frechet_distance(gaussian_of(np.stack(edited)), gaussian_of(np.stack(others)))
                num[name] = len(edited)
    return Section(num_samples=len(samples), mean=mean, num=num)


def _block(title: str, shown: Mapping[str, Section]) -> list[str]:
    """Lines of one section: measures from top to bottom, the system and then each baseline from left to right."""
    system = next(iter(shown.values()))
    width = max(map(len, (title, *(f"  {metric}" for metric in system.mean))))
    lines = [f"{title:{width}}" + "".join(f"  {name:>12}" for name in shown)]
    for metric in system.mean:
        values = [f"{one.mean[metric]:12.4f}" if metric in one.mean else " " * 11 + "-" for one in shown.values()]
        of = "" if system.num[metric] == system.num_samples else f"  (of {system.num[metric]})"
        lines.append(f"  {metric:{width - 2}}" + "".join(f"  {value}" for value in values) + of)
    return lines
