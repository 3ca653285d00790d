"""A trade-off curve as data: `curve.json`, which `sweep` writes and `drawing` draws.

x is the CLIP direction similarity, y the CLIP similarity of edited image and source. Brooks et al. 2023,
InstructPix2Pix, figure 8, and its published `compute_metrics`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from core.errors import EvaluationError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

CURVE_FILE, PLOT_FILE = "curve.json", "curve.png"


class Place(BaseModel):
    """A place in the plot: means over a section."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    direction: float
    """Mean cosine of the change of the image and the change of the text, -1 to 1."""
    similarity: float
    """Mean cosine of edited image and source, -1 to 1."""
    num: int
    """Number of samples."""


class Point(Place):
    """The place of one value of the swept setting."""

    value: bool | int | float | str | None
    folder: str
    """Folder of its outputs and scores, below the folder of the curve."""


class Curve(BaseModel):
    """The points of one editor, in the order of the values asked for, and everything that they depend on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    benchmark: str
    dataset: str
    """Fingerprint of the benchmark's texts and images."""
    section: str
    system: str
    setting: str
    """Name of the swept setting."""
    editor: dict[str, Any]
    """Name, revision, settings and needs of the editor. The swept setting is not in its settings."""
    judge: str
    """Model id of the CLIP network, with its commit."""
    revision: str
    view: str
    """Name of the view through which the network saw each image."""
    points: list[Point]
    truth: Place | None
    """The place of the true results, where the benchmark has them and baselines were asked for."""
    made_at: str
    versions: dict[str, str]

    def write(self, folder: Path) -> Path:
        """Write the file and return its path."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / CURVE_FILE
        temporary = path.with_name(f"{CURVE_FILE}.tmp")
        temporary.write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")
        return temporary.replace(path)

    @classmethod
    def read(cls, path: Path) -> Curve:
        """The curve in a file, or in a folder that has one.

        Raises UsageError when there is no such file, EvaluationError when it is not as it was written.
        """
        file = path / CURVE_FILE if path.is_dir() else path
        try:
            return cls.model_validate_json(file.read_bytes())
        except FileNotFoundError:
            raise UsageError(f"{file} is not there; name a folder that `editloom evaluate --sweep` wrote") from None
        except (OSError, ValidationError) as error:
            raise EvaluationError(f"{file} holds no curve; run the sweep that writes it again") from error

    def as_text(self) -> str:
        """The points as text for people."""
        lines = [f"{self.benchmark} {self.dataset}: {self.system}, {self.section}, {self.judge}"]
        width = max(map(len, (self.setting, "ground_truth")))
        lines.append(f"{self.setting:{width}}  direction  similarity  samples")
        rows: list[tuple[Any, Place]] = [(one.value, one) for one in self.points]
        rows += [("ground_truth", self.truth)] if self.truth else []
        lines += [f"{value!s:{width}}  {at.direction:9.4f}  {at.similarity:10.4f}  {at.num:7}" for value, at in rows]
        return "\n".join(lines)
