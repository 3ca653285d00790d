"""Read the licences of a finished dataset from its licences.json: of its images by count, and of the models used.

`emit` writes the file, so that a dataset's licences are known without the run that built it. It holds what was stated
and by whom. `core.licences` says what that means, so the verdict is that of the reader's table.
"""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Literal

from pydantic import Field

from core.errors import DamagedFileError, DatasetError
from core.licences.names import clean
from core.licences.uses import ModelUse, Role, StatedBy, Use
from core.locations import connect
from core.strict_json import Count, State, parse

if TYPE_CHECKING:
    from collections.abc import Sequence

LICENCE_FILE = "licences.json"
MAX_BYTES = 16 << 20
"""A larger file is not one of `emit`, which lists a bounded number of licences."""


class InputLicence(State):
    """Samples whose source or retrieved target image is under one licence; None where nobody states one."""

    images: Literal["source", "target"]
    licence: str | None
    stated_by: StatedBy = Field(strict=False)
    samples: Count

    @property
    def use(self) -> Use:
        """The images as a part of the dataset."""
        images = f"{self.samples:,} {self.images} image{'s' if self.samples != 1 else ''}"
        return Use(what=images, role=Role(self.images), licence=self.licence)


class ModelLicence(State):
    """One model: its role, the licence that counts, and the model's own where the manifest states another."""

    model: str
    revision: str | None
    role: Role = Field(strict=False)
    licence: str | None
    stated_by: StatedBy = Field(strict=False)
    card_licence: str | None
    stages: tuple[str, ...] = Field(strict=False)

    @property
    def model_use(self) -> ModelUse:
        """The model as `core.licences` takes it, its name fit to be printed: the file may come from anybody."""
        return ModelUse(
            model=clean(self.model), role=self.role, licence=self.licence, stated_by=self.stated_by, stages=self.stages,
            card_licence=self.card_licence,
        )  # fmt: skip


class DatasetLicences(State):
    """The content of licences.json. `license` is what the manifest says of the dataset as a whole."""

    dataset: str
    license: str
    inputs: tuple[InputLicence, ...] = Field(strict=False)
    """The licences of most samples, most samples first."""
    samples_under_others: Count = 0
    """Samples under licences that are not listed, as there are too many."""
    models: tuple[ModelLicence, ...] = Field(strict=False)

    @property
    def uses(self) -> list[Use]:
        """All parts of the dataset."""
        found = [one.use for one in self.inputs]
        if self.samples_under_others:
            what = f"{self.samples_under_others:,} images under further licences"
            found.append(Use(what=what, role=Role.SOURCE, licence=None))
        return [*found, *(model.model_use.use for model in self.models)]

    @property
    def model_uses(self) -> Sequence[ModelUse]:
        """The models."""
        return [model.model_use for model in self.models]


def read_licences(folder: str) -> DatasetLicences:
    """The licences of the dataset in a folder, a path or any fsspec URL.

    Raises `DatasetError` where the folder has no such file, `DamagedFileError` for one that `emit` did not write.
    """
    place = f"{folder.rstrip('/')}/{LICENCE_FILE}"
    fs, path = connect(place)
    try:
        with fs.open(path, "rb") as handle:
            content = _bounded(handle, place)
    except (FileNotFoundError, NotADirectoryError):
        raise DatasetError(
            f"{folder} holds no {LICENCE_FILE}; name the dataset folder of a finished build, <run folder>/dataset, or "
            "build the dataset again"
        ) from None
    return parse(DatasetLicences, content, place)


def _bounded(handle: IO[bytes], place: str) -> bytes:
    content = handle.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise DamagedFileError(f"{place} has more than {MAX_BYTES:,} bytes; expected the file that a build writes")
    return content


def shown_text(text: str | None) -> str:
    """A licence as people read it: on one line, bounded, `not stated` where there is none."""
    return clean(text) if text else "not stated"
