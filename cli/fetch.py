"""The `editloom fetch` command: downloads the models that manifests name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.options import JsonOption, say
from core.errors import ModelError

if TYPE_CHECKING:
    from models.fetch import Wanted


def fetch_command(
    names: Annotated[list[str], typer.Argument(help="Manifests, or model ids such as hf:owner/name@<commit>")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say sizes and licences")] = False,
    as_json: JsonOption = False,
) -> None:
    """Download the models and lexicons that manifests name, as safetensors, after saying their sizes and licences."""
    from cli.display import size_text
    from models.fetch import look_up

    wanted = [look_up(model_id) for model_id in _model_ids(names)]
    results = [_described(one) for one in wanted]
    num_bytes = sum(one.offer.num_bytes for one in wanted if one.offer)
    if not as_json:
        for one in wanted:
            say(f"{one.model_id}: {_about(one)}")
        absent = [one for one in wanted if not one.is_here]
        unknown = ", besides those of unknown size" if any(one.offer is None for one in absent) else ""
        say(f"{len(absent)} of {len(wanted)} models to download, {size_text(num_bytes)}{unknown}")
    unknown_ids = [f"{one.model_id}: {one.problem}" for one in wanted if one.weights is None]
    failures = unknown_ids if dry_run else _download(wanted, results, quiet=as_json)
    if as_json:
        say(json.dumps({"models": results, "bytes": num_bytes}))
    if failures:
        raise ModelError(f"{len(failures)} of {len(wanted)} models could not be fetched: {'; '.join(failures)}")


def _model_ids(names: list[str]) -> list[str]:
    """The ids among the names and those of the manifests, each once."""
    from pipeline.plan.manifest import load_manifest

    found: list[str] = []
    for name in names:
        if ":" in name and not Path(name).exists():
            found.append(name)
        else:
            found += [model for entry in load_manifest(name).stages for model in entry.stage.needs_models()]
    return list(dict.fromkeys(found))


def _download(wanted: list[Wanted], results: list[dict[str, Any]], *, quiet: bool) -> list[str]:
    """Download what is not here, and note the places. The failures, a line each."""
    from models.fetch import download

    failures = []
    for one, result in zip(wanted, results, strict=True):
        try:
            result["location"] = download(one)
        except ModelError as error:
            result["problem"] = str(error)
            failures.append(str(error))
        else:
            result["problem"] = None
            if not quiet and not one.is_here:
                say(f"{one.model_id}: now at {result['location']}")
    return failures


def _described(one: Wanted) -> dict[str, Any]:
    return {
        "model": one.model_id,
        "bytes": one.offer.num_bytes if one.offer else 0 if one.is_here else None,
        "licence": _licence(one),
        "location": one.weights.location if one.weights and one.is_here else None,
        "problem": one.problem,
    }


def _about(one: Wanted) -> str:
    from cli.display import size_text

    if one.problem:
        return f"size and licence are not known ({one.problem})"
    is_local = one.weights is not None and one.weights.is_local
    here = "already on this machine" if is_local else "nothing to download"
    size = size_text(one.offer.num_bytes) if one.offer else here
    return f"{size}, licence {_licence(one) or 'not stated'}"


def _licence(one: Wanted) -> str | None:
    if one.offer:
        return one.offer.licence
    return one.weights.licence() if one.weights else None
