"""The licences of a plan: what a dataset will be made from, as far as it is known before any work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.licences.claims import warnings
from core.licences.uses import Role, StageModels, Use, model_uses
from core.licences.verdict import verdict_of
from core.licences.wording import verdict_lines

if TYPE_CHECKING:
    from pipeline.plan.plan import Plan


def expected_licences(plan: Plan) -> dict[str, Any]:
    """The expected verdict as plain data: class, lines in words, warnings. Licences of samples are not known yet."""
    stated = plan.manifest.stated_licences
    models = model_uses(
        (
            StageModels(
                stage=planned.name, roles=planned.stage.model_roles(),
                licences={name: entry.licence for name, entry in planned.models.items()},
            )
            for planned in plan.stages
        ),
        stated.models,
    )  # fmt: skip
    uses = [model.use for model in models]
    if stated.input:
        uses.insert(0, Use(what="input", role=Role.SOURCE, licence=stated.input))
    verdict = verdict_of(uses)
    return {
        "class": str(verdict.licence_class) if uses else None,
        "lines": list(verdict_lines(verdict)) if uses else [],
        "unknown": list(verdict.unknown),
        "covers": "models and input" if stated.input else "models",
        "warnings": warnings(plan.manifest.license, uses, models),
    }
