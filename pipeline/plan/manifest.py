"""The manifest: one TOML file that says which dataset to build. Strict: an unknown key is an error.

name = "instructions"            summary, licence and language go to the data card
shards = "data/{00000..00003}.tar"   default input; the command line's --shards replaces it
seed = 0
allow_empty = false              true: a build that keeps no row is no failure
[stated_licences]                of input and models that state none themselves; they change no result
input = "cc-by-4.0"
models = { "openai:…" = "apache-2.0" }   by model id, or by a name in [models]
[run_on]                         what only decides speed and patience: attempts, deadline_s …
[models]                         names for model ids, for stages to refer to: model = "clip"
clip = "zoo:clip"
[[stage]]                        in order; every further key is a setting of that stage
use = "normalise_image"
shorter_side_px = 512
run_on = { rows_per_batch = 64 }

TOML has no null: the text "none" unsets a setting that may be unset, as in `max_distance = "none"`.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from core.errors import ManifestError, nearest
from core.licences.names import MAX_CHARS
from core.settings import NONE, Settings, checked, may_be_none, refuse_unknown
from pipeline.plan.plugins import stage_class
from pipeline.stage import Stage

LicenceText = Annotated[str, Field(min_length=1, max_length=MAX_CHARS, pattern=r"^\S(.*\S)?$")]
"""The text of a licence, on one line."""


class StageRunOn(Settings):
    """Settings of one stage that decide its speed.

    `rows_per_batch` rows are handed to the stage's function at a time; at most `workers` shards run at once. The
    models of the stage run on `device` in precision `dtype`, `rows_per_forward` rows at a time; results of two
    precisions agree to about three digits. `gpu` is the share of a GPU that the models fill; it replaces the value in
    the stage's `needs`.
    """

    rows_per_batch: int = Field(default=128, ge=1)
    workers: int | None = Field(default=None, ge=1)
    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    rows_per_forward: int = Field(default=16, ge=1)
    gpu: float | None = Field(default=None, gt=0)

    @property
    def placement(self) -> dict[str, Any]:
        """The placement that a model's loader is given."""
        return {"device": self.device, "dtype": self.dtype, "batch_size": self.rows_per_forward}


class RunOn(Settings):
    """Speed and patience of the run. None of it decides a result.

    After a worker was lost, the rows that it was working on are handed to the stage one at a time; one that then takes
    longer than `row_deadline_s` (or than `deadline_s`, where that is shorter) is rejected.
    """

    attempts: int = Field(default=3, ge=1)
    deadline_s: float = Field(default=3600.0, gt=0)
    heartbeat_s: float = Field(default=300.0, gt=0)
    row_deadline_s: float = Field(default=600.0, gt=0)
    max_failed_shards: int = Field(default=10, ge=1)
    max_quarantined_frac: float = Field(default=0.1, ge=0, le=1)


class StatedLicences(Settings):
    """Licences that the manifest states: of the input's samples that name none, and of models by their ids.

    They count in the verdict and touch no fingerprint: stating a licence runs no stage again but the sink's last step.
    """

    input: LicenceText | None = None
    models: dict[str, LicenceText] = Field(default_factory=dict)


class StageEntry(Settings):
    """One stage of the chain: its catalogue name, its value, its speed."""

    name: str
    stage: Stage
    run_on: StageRunOn = StageRunOn()


class Manifest(Settings):
    """One dataset: what goes in, the chain of stages, what the data card says."""

    path: str = Field(default="", exclude=True)
    """The file that it was read from, for messages."""
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    summary: str = ""
    license: str = "other"
    language: str = Field(default="en", pattern="^[a-z]{2,3}$")
    shards: str | None = None
    seed: int = 0
    allow_empty: bool = False
    """Whether a build that keeps no row is a success; else it ends with exit code 1."""
    run_on: RunOn = RunOn()
    stated_licences: StatedLicences = StatedLicences()
    stages: tuple[StageEntry, ...]

    def plain(self) -> dict[str, Any]:
        """The manifest as plain data, stages with all settings spelt out and models by their ids."""
        data = self.model_dump(mode="json", exclude={"stages"})
        data["stages"] = [
            {"use": e.name, **e.stage.model_dump(mode="json"), "run_on": e.run_on.model_dump()} for e in self.stages
        ]
        return data


class ModelNames:
    """The [models] table of a manifest: short names of model ids. An id has a colon, a name has none."""

    def __init__(self, table: Any, path: str) -> None:
        """Check the table. Raises `ManifestError`."""
        if not isinstance(table, dict):
            raise ManifestError(f"{path}: models: expected a table of names and model ids, got {table!r}")
        for name, model in table.items():
            if ":" in name or not isinstance(model, str) or ":" not in model:
                raise ManifestError(f'{path}: models: expected name = "scheme:…", got {name} = {model!r}')
        self._ids: dict[str, str] = table
        self._path = path
        self._unused = list(table)

    def id_of(self, value: Any, where: str) -> Any:
        """The model id of a name. Any other value is returned as it is. Raises `ManifestError`."""
        if not isinstance(value, str) or ":" in value:
            return value
        if value not in self._ids:
            raise ManifestError(f"{where}: {value!r} is no model id and no name in [models]{nearest(value, self._ids)}")
        self._unused = [name for name in self._unused if name != value]
        return self._ids[value]

    def refuse_unused(self) -> None:
        """Raise `ManifestError` for a name that no stage refers to."""
        if self._unused:
            raise ManifestError(f"{self._path}: models: no stage refers to {self._unused[0]!r}; remove the line")


def load_manifest(path: str | Path) -> Manifest:
    """Read a manifest. Raises `ManifestError` naming file, key and the nearest valid name."""
    try:
        raw = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ManifestError(f"{path}: no such manifest; see the folder manifests/") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError, RecursionError) as error:
        raise ManifestError(f"{path}: cannot be read as TOML: {error}") from None
    entries = raw.pop("stage", None)
    if not isinstance(entries, list) or not entries or not all(isinstance(e, dict) for e in entries):
        raise ManifestError(f"{path}: has no [[stage]] table; a manifest lists its stages in order")
    known = set(Manifest.model_fields) - {"stages", "path"} | {"stage", "models"}
    refuse_unknown(raw, known, f"{path}: manifest", ManifestError)
    run_on = checked(RunOn, raw.pop("run_on", {}), f"{path}: run_on", ManifestError)
    models = ModelNames(raw.pop("models", {}), str(path))
    stages = tuple(_stage_entry(entry, f"{path}: stage {i}", models) for i, entry in enumerate(entries, 1))
    licences = _stated_licences(raw.pop("stated_licences", {}), f"{path}: stated_licences", models, stages)
    models.refuse_unused()
    found = {**raw, "path": str(path), "run_on": run_on, "stated_licences": licences, "stages": stages}
    return checked(Manifest, found, str(path), ManifestError)


def _stated_licences(table: Any, where: str, models: ModelNames, stages: tuple[StageEntry, ...]) -> StatedLicences:
    """The table with names of models replaced by their ids. Raises `ManifestError` for a model that no stage uses."""
    stated = checked(StatedLicences, table, where, ManifestError)
    used = {model for entry in stages for model in entry.stage.needs_models()}
    found: dict[str, str] = {}
    for name, licence in stated.models.items():
        model = models.id_of(name, f"{where}: models")
        if model not in used:
            raise ManifestError(f"{where}: models: no stage uses {model!r}{nearest(model, used)}")
        found[model] = licence
    return stated.model_copy(update={"models": found})


def default_out(manifest: str | Path) -> str:
    """The run folder of a build that names none: runs/tiny-iedit for manifests/tiny/iedit.toml.

    It follows from the manifest's path below the folder manifests/ or this folder, so every command finds it again.
    """
    path = Path(os.path.normpath(Path.cwd() / manifest)).with_suffix("")
    parts = path.relative_to(Path.cwd()).parts if path.is_relative_to(Path.cwd()) else path.parts[1:]
    return "runs/" + "-".join(parts[1:] if parts[0] == "manifests" and len(parts) > 1 else parts)


def _stage_entry(entry: dict[str, Any], where: str, models: ModelNames) -> StageEntry:
    if "use" not in entry:
        raise ManifestError(f'{where}: needs `use = "<stage>"`')
    settings = dict(entry)
    name = str(settings.pop("use"))
    run_on = settings.pop("run_on", {})
    try:
        cls = stage_class(name)
    except ManifestError as error:
        raise ManifestError(f"{where}: {error}") from None
    where = f"{where} ({name})"
    refuse_unknown(settings, set(cls.model_fields) | {"use", "run_on"}, where, ManifestError)
    for setting in [name for name in cls.model_settings() if name in settings]:
        found, place = settings[setting], f"{where}: {setting}"
        if isinstance(found, list):
            settings[setting] = [models.id_of(one, place) for one in found]
        elif not (found == NONE and may_be_none(cls, setting)):
            settings[setting] = models.id_of(found, place)
    stage = checked(cls, settings, where, ManifestError)
    return StageEntry(name=name, stage=stage, run_on=checked(StageRunOn, run_on, f"{where}.run_on", ManifestError))
