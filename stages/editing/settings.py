"""Settings of stages that edit images with an Editor, checked against the editor's own settings before any work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from core.errors import SettingError
from core.settings import checked
from models import registry
from models.model_ids import find
from models.protocols import Editor
from pipeline.stage import MODEL_NEEDS, ExpandStage, Needs, Serves
from stages.editing.requests import columns_of

if TYPE_CHECKING:
    from core.settings import Settings


class EditingStage(ExpandStage):
    """Base of stages that edit images. What the editor needs of every row is read from the editor itself."""

    uses_rng: ClassVar = True
    needs: ClassVar = Needs(gpu=1.0, memory_bytes=MODEL_NEEDS.memory_bytes)

    model: Annotated[str, Serves(Editor)]
    """An Editor: `zoo:ip2p`, `path:FOLDER` of a training, `openai:MODEL@URL` …"""
    editor: dict[str, Any] = Field(default_factory=dict)
    """Settings of that editor, as `editloom edit --set` takes them: `editor = { num_steps = 20 }`."""
    format: Literal["jpg", "png", "webp"] = "png"
    """Encoding of the edited images."""
    quality: int = Field(default=95, ge=1, le=100)
    """Quality of JPEG and WebP; PNG is lossless."""

    @model_validator(mode="after")
    def _suits_the_editor(self) -> Self:
        kind = registry.editor_class_if_here(self.model)
        if kind is not None:
            try:
                checked(kind.Settings, self.editor, "editor")
            except SettingError as error:
                raise ValueError(str(error)) from None
        return self

    def needs_columns(self) -> tuple[str, ...]:
        """The columns that the editor needs of every row."""
        kind = registry.editor_class_if_here(self.model)
        return () if kind is None else columns_of(_needs(kind, checked(kind.Settings, self.editor, "editor")))

    def needs_models(self) -> tuple[str, ...]:
        """The editor, the models within it that decide its images, and the other models of the stage."""
        kind = registry.editor_class_if_here(self.model)
        further: tuple[str, ...] = ()
        if kind is not None and hasattr(kind, "further_models"):
            further = kind.further_models(checked(kind.Settings, self.editor, "editor"), find(self.model))
        return tuple(dict.fromkeys((*super().needs_models(), *further)))

    def editor_settings(self) -> Settings:
        """The settings of the editor as its own class. Raises ModelError where the model is not on this machine."""
        return checked(registry.editor_settings(self.model), self.editor, "editor")


def _needs(kind: Any, settings: Settings) -> frozenset[str]:
    found: frozenset[str] = kind.needs_with(settings) if hasattr(kind, "needs_with") else kind.needs
    return found
