"""The fingerprint of a stage's result: a hash of everything that decides it, and of nothing else.

fingerprint = sha256(stage name, version, canonical settings, model revisions, seed where used, fingerprint of the
stage before it, fingerprints of the artifacts used). Rows come from the stage before, so the chain is linear.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from pipeline.stage import SPEED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipeline.stage import Stage

SHOWN_DIGITS = 12


def canonical(value: Any) -> str:
    """JSON with sorted keys. Raises `TypeError` on anything JSON cannot hold, as its identity would be a guess."""
    return json.dumps(value, sort_keys=True, ensure_ascii=True, allow_nan=False, separators=(",", ":"))


def fingerprint(
    name: str, stage: Stage, *, revisions: Mapping[str, str], seed: int, upstream: str, artifacts: Sequence[str]
) -> str:
    """64 hex digits for the result of `stage` at its place in the chain."""
    identity = {
        "stage": name,
        "version": stage.version,
        "settings": stage.model_dump(mode="json", exclude={SPEED}),
        "models": dict(revisions),
        "seed": seed if stage.uses_rng else None,
        "upstream": upstream,
        "artifacts": sorted(artifacts),
    }
    return hashlib.sha256(canonical(identity).encode()).hexdigest()


def stage_folder(name: str, print_: str) -> str:
    """Folder of a stage's output below the run folder."""
    return f"stages/{name}-{print_[:SHOWN_DIGITS]}"
