"""The labels that a model knows, and the refusal of others before any image is looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SHOWN = 40
"""Most labels that a message lists."""


def labels_of(id2label: Mapping[Any, Any]) -> tuple[str, ...]:
    """The labels of a checkpoint's config, in the order of their numbers."""
    return tuple(str(id2label[number]) for number in sorted(id2label, key=int))


def check_labels(model: Any, asked: Sequence[str], where: str) -> None:
    """Refuse labels that the model does not know. Raises ModelError, which lists those that it knows.

    A model without labels of its own takes any text. `where` names the setting and the model.
    """
    known: tuple[str, ...] = getattr(model, "labels", ())
    for label in asked:
        if known and label not in known:
            more = f" and {len(known) - SHOWN} more" if len(known) > SHOWN else ""
            raise ModelError(
                f"{where}: the model has no label {label!r} (it has: {', '.join(known[:SHOWN])}{more}); "
                "name labels of this model"
            )


def places_of(labels: tuple[str, ...], asked: Sequence[str]) -> list[int]:
    """The place of each of the labels asked for. Raises ValueError for one that is not there."""
    place_of = {label: place for place, label in enumerate(labels)}
    unknown = [label for label in asked if label not in place_of]
    if unknown:
        raise ValueError(f"no label is {unknown[0]!r}; expected some of {', '.join(labels[:SHOWN])}")
    return [place_of[label] for label in asked]
