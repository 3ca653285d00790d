"""The judges: the networks that measure, by measure, each loaded once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from core.errors import EvaluationError
from evaluation import loading
from models import registry
from models.model_ids import find

if TYPE_CHECKING:
    from collections.abc import Iterable

    from models.placement import Placement
    from models.protocols import ImageEncoder, ImageTextEncoder


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeIds:
    """Model ids by the measure that they serve. Each measure is taken with each of its models.

    Published tables: CLIP ViT-B/32 and DINO ViT-S/16 (MagicBrush; Emu Edit as UltraEdit measures it), CLIP ViT-L/14
    (Emu Edit elsewhere). `fid` takes any image encoder.
    """

    clip: tuple[str, ...] = ()
    dino: tuple[str, ...] = ()
    fid: tuple[str, ...] = ()

    def all(self) -> list[str]:
        """Each id once, in order."""
        return list(dict.fromkeys((*self.clip, *self.dino, *self.fid)))


@dataclass(frozen=True, slots=True)
class Judges:
    """The loaded networks by model id."""

    clip: dict[str, ImageTextEncoder] = field(default_factory=dict)
    dino: dict[str, ImageEncoder] = field(default_factory=dict)
    fid: dict[str, ImageEncoder] = field(default_factory=dict)


def load_judges(ids: JudgeIds, placement: Placement | None = None) -> Judges:
    """Every model that `ids` names, once. Raises ModelError for one that cannot be loaded.

    Raises EvaluationError for two revisions of one model: their measures would have the same names.
    """
    names = [short_name(one) for one in ids.all()]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise EvaluationError(f"{twice[0]} is named in two revisions; measure with one of them")
    clip = {one: loading.load_model("ImageTextEncoder", one, placement) for one in ids.clip}
    known: dict[str, Any] = dict(clip)

    def images_of(names: Iterable[str]) -> dict[str, ImageEncoder]:
        for name in names:
            if name not in known:
                known[name] = loading.load_model(_protocol(name), name, placement)
        return {name: known[name] for name in names}

    return Judges(clip, images_of(ids.dino), images_of(ids.fid))


def short_name(model_id: str) -> str:
    """The id without its commit, as in names of measures. The result lists the commit elsewhere."""
    return model_id.partition("@")[0] if model_id.startswith("hf:") else model_id


def _protocol(model_id: str) -> str:
    """The protocol of a model that encodes images. The registry refuses a model that is neither."""
    served = registry.WRAPPERS["ImageTextEncoder"]
    return "ImageTextEncoder" if registry.kind_of(find(model_id)) in served else "ImageEncoder"
