"""`editloom licence`: print the verdict on the licences of a finished dataset."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.options import JsonOption, say
from core.errors import UsageError, nearest

if TYPE_CHECKING:
    from core.licences.classes import LicenceClass
    from core.licences.verdict import Verdict
    from samples.licence_file import DatasetLicences


def licence_command(
    dataset: Annotated[str, typer.Argument(help="Folder of a finished dataset: a path or any fsspec URL")],
    allow: Annotated[
        str | None,
        typer.Option(
            help="Classes, with commas between, that all parts in the data must be of: permissive,attribution"
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Print the most restrictive licence in a dataset, what it asks, unknown licences, and every part. No legal advice.

    With --allow the exit code is 1 where a part has a licence of another class.
    """
    from core.licences.verdict import verdict_of
    from samples.licence_file import read_licences

    allowed = _classes(allow) if allow is not None else None
    found = read_licences(dataset)
    verdict = verdict_of(found.uses)
    is_allowed = not verdict.outside(allowed) if allowed is not None else None
    say(_as_json(found, verdict, is_allowed) if as_json else _as_text(found, verdict))
    if is_allowed is False:
        if not as_json:
            say(f"not allowed: {', '.join(verdict.outside(allowed or ()))}; allowed: {', '.join(allowed or ())}")
        raise typer.Exit(1)


def _classes(text: str) -> list[LicenceClass]:
    from core.licences.classes import LicenceClass

    known = [one.value for one in LicenceClass]
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in known:
            raise UsageError(f"--allow {name!r} is no class of licences{nearest(name, known)}")
    if not names:
        raise UsageError(f"--allow {text!r} names no class; expected some of {', '.join(known)}")
    return [LicenceClass(name) for name in names]


def _as_text(found: DatasetLicences, verdict: Verdict) -> str:
    from core.licences.claims import warnings
    from core.licences.wording import NO_ADVICE, verdict_lines
    from samples.licence_file import shown_text

    lines = [f"{shown_text(found.dataset)}: {line}" for line in verdict_lines(verdict)]
    lines += [f"warning: {warning}" for warning in warnings(found.license, found.uses, found.model_uses)]
    for use in found.uses:
        classes = ", ".join(licence.licence_class for licence in use.licences)
        lines.append(f"    {use.role}: {use.what}: {shown_text(use.licence)} ({classes})")
    return "\n".join([*lines, NO_ADVICE])


def _as_json(found: DatasetLicences, verdict: Verdict, is_allowed: bool | None) -> str:
    from core.licences.claims import warnings

    result: dict[str, Any] = {
        "dataset": found.dataset, "license": found.license, "verdict": verdict.licence_class,
        "known": verdict.known_class, "with_scores": verdict.with_scores, "asks": verdict.asks,
        "deciding": verdict.deciding, "unknown": verdict.unknown, "conflicts": verdict.conflicts,
        "warnings": warnings(found.license, found.uses, found.model_uses), "allowed": is_allowed,
        "parts": [
            {
                "role": use.role, "what": use.what, "licence": use.licence,
                "classes": [licence.licence_class for licence in use.licences],
            }
            for use in found.uses
        ],
    }  # fmt: skip
    return json.dumps(result)
