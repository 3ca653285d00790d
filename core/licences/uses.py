"""What a dataset was made from, each part with its licence and its role: images of the input, and models.

A model's role says whether what it made is in the data. Captions, instructions, images, masks, latents and boxes are. A
model that only scores or chooses leaves numbers, and decides which samples are kept. Whether that makes its licence
count is disputed, so both are listed, and the verdict says which of them decided.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from core.licences.classes import Licence, unknown
from core.licences.names import find

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Role(StrEnum):
    """What a part of a dataset does in it."""

    SOURCE = "source"  # images before the edit, and the texts that came with them
    TARGET = "target"  # retrieved images, used as the images after the edit
    MAKES = "makes"  # a model whose output is in the data
    SCORES = "scores"  # a model that only measured or chose samples

    @property
    def is_in_data(self) -> bool:
        """True where the part itself is in the dataset."""
        return self is not Role.SCORES


class StatedBy(StrEnum):
    """Who states a licence."""

    SAMPLE = "sample"  # the input's own metadata
    MODEL = "model"  # the model's card or package
    MANIFEST = "manifest"  # [stated_licences] of the manifest
    NOBODY = "nobody"


@dataclass(frozen=True, kw_only=True, slots=True)
class Use:
    """One part of a dataset. `what` names it: a model id, or the images and how many. `licence` is as it is stated."""

    what: str
    role: Role
    licence: str | None

    @property
    def licences(self) -> tuple[Licence, ...]:
        """The licences that apply, a single unknown one where none is stated."""
        return find(self.licence) if self.licence else (unknown("not stated"),)


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelUse:
    """One model of a chain: the licence that counts, the stages that use it, and its own licence where overruled."""

    model: str
    role: Role
    licence: str | None
    stated_by: StatedBy
    stages: tuple[str, ...]
    card_licence: str | None = None
    """What the model itself states, where the manifest states another licence."""

    @property
    def use(self) -> Use:
        """The model as a part of the dataset."""
        return Use(what=self.model, role=self.role, licence=self.licence)


@dataclass(frozen=True, kw_only=True, slots=True)
class StageModels:
    """The models of one stage: id -> what its files state, id -> role."""

    stage: str
    licences: Mapping[str, str | None]
    roles: Mapping[str, Role]


def model_uses(stages: Iterable[StageModels], stated: Mapping[str, str]) -> list[ModelUse]:
    """Each model once, in the order of the chain. `stated` has the licences that the manifest states; they count."""
    found: dict[str, ModelUse] = {}
    for stage in stages:
        for model, role in stage.roles.items():
            own = stage.licences.get(model)
            before = found.get(model)
            if before is None:
                found[model] = _model_use(model, role, own, stated.get(model), stage.stage)
            else:
                in_data = before.role if before.role.is_in_data else role
                found[model] = replace(before, role=in_data, stages=(*before.stages, stage.stage))
    return list(found.values())


def _model_use(model: str, role: Role, own: str | None, stated: str | None, stage: str) -> ModelUse:
    if stated is not None:
        overruled = own if own is not None and own != stated else None
        by = StatedBy.MANIFEST
        return ModelUse(
            model=model, role=role, licence=stated, stated_by=by, stages=(stage,), card_licence=overruled
        )  # fmt: skip
    by = StatedBy.NOBODY if own is None else StatedBy.MODEL
    return ModelUse(model=model, role=role, licence=own, stated_by=by, stages=(stage,))
