"""The editor of an evaluation, and everything that decides its images.

An editor is named by a model id, and loaded when the first case needs it; or it is an object in memory, for example one
that a training made. Both are described in the same way, so that outputs can be stamped with what made them.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

from core.errors import UsageError
from core.settings import checked
from evaluation import loading
from evaluation.masks import Masks, PhraseMasks
from models import registry
from models.model_ids import find

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from models.placement import Placement
    from models.protocols import Editor

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class EditorChoice:
    """An editor, a seed and the source of masks. Made by `of_model` or `of_editor`.

    `masks`: "none"; "given", the benchmark's own; or PhraseMasks, made by a segmenter. An editor that needs masks is
    given the benchmark's own instead of none. Each case has noise of its own, drawn from `seed` and the case's key.
    """

    name: str
    """The model id, or another name."""
    needs: frozenset[str]
    uses: frozenset[str]
    description: Mapping[str, Any]
    """Everything except the name that decides the editor's images, as JSON values: revision, settings."""
    load: Callable[[Placement], Editor]
    trained_on: frozenset[str] = frozenset()
    """Those of `uses` that the network itself takes."""
    seed: int = 0
    masks: Masks = "none"

    def __post_init__(self) -> None:
        """Raises UsageError for masks that the editor cannot be given."""
        if self.masks != "none" and "mask" not in self.fields:
            raise UsageError(
                f"editor {self.name} takes no mask (it takes {', '.join(sorted(self.fields))}); leave it out"
            )

    @classmethod
    def of_model(
        cls, model_id: str, settings: Mapping[str, Any] | None = None, *, seed: int = 0, masks: Masks = "none"
    ) -> Self:
        """The editor that serves a model id. Raises SettingError for its settings, ModelError for the model."""
        kind = registry.editor_class(model_id)
        made = checked(kind.Settings, settings or {}, f"editor {model_id}")
        further = kind.further_models(made, find(model_id)) if hasattr(kind, "further_models") else ()
        needs = kind.needs_with(made) if hasattr(kind, "needs_with") else kind.needs
        return cls(
            name=model_id, needs=needs, uses=kind.uses, trained_on=kind.trained_on, seed=seed, masks=masks,
            description={
                "revision": registry.revision(model_id), "settings": made.model_dump(mode="json"),
                **({"models": {one: registry.revision(one) for one in further}} if further else {}),
            },
            load=lambda placement: loading.load_model("Editor", model_id, placement, settings=made),
        )  # fmt: skip

    @classmethod
    def of_editor(
        cls, editor: Editor, name: str, description: Mapping[str, Any], *, seed: int = 0, masks: Masks = "none"
    ) -> Self:
        """An editor in memory. `description` must differ between editors that have the same name."""
        return cls(
            name=name, needs=editor.needs, uses=editor.uses, seed=seed, masks=masks, description=description,
            load=lambda _placement: editor,
        )  # fmt: skip

    @property
    def fields(self) -> frozenset[str]:
        """Names of the EditRequest fields that the editor takes."""
        return self.needs | self.uses

    @property
    def masks_used(self) -> Masks:
        """The source of the masks that the editor is given."""
        return "given" if self.masks == "none" and "mask" in self.needs else self.masks

    def note_whole_images(self) -> None:
        """Log that a network that was trained with masks is given none."""
        if "mask" in self.trained_on and self.masks_used == "none":
            _log.warning("%s was trained with masks and is given none: each image may change as a whole", self.name)

    def described(self) -> dict[str, Any]:
        """Everything that decides the images, as JSON values. Raises ModelError for a segmenter that is unknown."""
        masks = self.masks_used
        return {
            "model": self.name, **self.description, "needs": sorted(self.needs), "uses": sorted(self.uses),
            "seed": self.seed,
            "masks": {**asdict(masks), "revision": registry.revision(masks.model)}
            if isinstance(masks, PhraseMasks) else masks,
        }  # fmt: skip
