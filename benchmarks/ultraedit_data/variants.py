"""The same recipes without one part each: what is changed in the stage that draws pairs, and how it is built.

Variants of one recipe that are built from as many shards share a run folder, so the stages before are built once. A
stage that has its records is not built again: a benchmark that was stopped resumes.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RECIPES = {"free-form": "ultraedit", "region": "ultraedit-region"}
"""Recipe -> its manifest in manifests/tiny."""
_SYNTHESIS = re.compile(r'^use = "synthesise_\w+"$', re.MULTILINE)
_EMIT = re.compile(r'\n\[\[stage\]\]\nuse = "emit"\n.*', re.DOTALL)

NO_FILTER = {
    "keep": "1", "max_candidates": "1",
    "bounds.source_caption_cos": "{ min = -1.0 }", "bounds.target_caption_cos": "{ min = -1.0 }",
    "bounds.target_margin_cos": "{ min = -2.0 }", "bounds.pair_image_cos": "{ min = -1.0 }",
    "bounds.pair_direction_cos": "{ min = -1.0 }", "bounds.pair_dino_cos": "{ min = -1.0 }",
}  # fmt: skip
NO_P2P = {"attention_frac": "[0.0, 0.0]"}
NO_ANCHOR = {"anchor": '"none"', "strength": "1.0"}
AS_RELEASED = {"as_released": "true"}


@dataclass(frozen=True)
class Variant:
    """`changes` are settings of the stage that draws pairs: name -> value in TOML. It is built from `num_shards`."""

    name: str
    changes: dict[str, str] = field(default_factory=dict)
    recipes: tuple[str, ...] = tuple(RECIPES)
    num_shards: int = 1


VARIANTS = (
    Variant("without P2P", NO_P2P),
    Variant("without filter", NO_FILTER, num_shards=3),
    Variant("without filter and P2P", NO_FILTER | NO_P2P),
    Variant("without filter and anchors", NO_FILTER | NO_ANCHOR, recipes=("free-form",), num_shards=3),
    Variant("as released", AS_RELEASED),
    Variant("as released, without filter", NO_FILTER | AS_RELEASED),
)
"""Distances of sources are compared without filter, and between builds of as many shards: they depend on both."""


def variant_manifest(recipe: str, variant: Variant, folder: Path) -> Path:
    """The recipe's manifest with the variant's changes and without `emit`, written to `folder`."""
    text = (ROOT / "manifests" / "tiny" / f"{RECIPES[recipe]}.toml").read_text(encoding="utf-8")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{variant.name.replace(' ', '-').replace(',', '')}.toml"
    path.write_text(changed(_EMIT.sub("\n", text), variant.changes), encoding="utf-8")
    return path


def changed(text: str, changes: dict[str, str]) -> str:
    """A manifest with other settings in its stage that draws pairs."""
    for name in changes:
        text = re.sub(rf"^{re.escape(name)} = .*\n", "", text, flags=re.MULTILINE)
    lines = "".join(f"\n{name} = {value}" for name, value in changes.items())
    return _SYNTHESIS.sub(lambda found: found[0] + lines, text)


def build(manifest: Path, shards: str, out: Path, *flags: str) -> dict[str, Any]:
    """Run `editloom build` on Ray with two workers. Return its summary; raise RuntimeError where it fails."""
    order = [str(Path(sys.executable).with_name("editloom")), "build", str(manifest), "--shards", shards, "--out",
             str(out), "--json", "--workers", "2", *flags]  # fmt: skip
    done = subprocess.run(order, cwd=ROOT, capture_output=True, text=True, check=False)
    summary: dict[str, Any] = json.loads(done.stdout.splitlines()[-1]) if done.stdout else {"ok": False}
    if not summary["ok"]:
        raise RuntimeError(f"build of {manifest.name} ended with {done.returncode}: {done.stderr[-2000:]}")
    return summary
