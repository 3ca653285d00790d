"""Runs the three ways to a reverse instruction on captioned photographs and collects what each of them writes."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.instructions.answers import FROM_FILE, answer_server, read_labels
from benchmarks.left_rows import left_rows, rejected_rows
from benchmarks.reverse_instructions.judging import Way
from benchmarks.reverse_instructions.labels import TEXTS, Reverse
from pipeline.build.run import run_build
from pipeline.plan.manifest import load_manifest
from pipeline.plan.plan import make_plan
from pipeline.store.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.plan.plan import Plan

ANSWERS = Path(__file__).parents[1] / "instructions" / "answers.jsonl"
READ = """
name = "reverse-instructions"
[[stage]]
use = "read_webdataset"
[[stage]]
use = "normalise_image"
shorter_side_px = 64
"""
WRITE = """
[[stage]]
use = "write_edits"
model = "{model_id}"
{settings}
[[stage]]
use = "write_reverse"
keep_existing = "never"
"""
"""The reverse instructions of the answers are in the rows of the first stage, those of the rules in the second's."""
WORDNET = """
[[stage]]
use = "edit_caption_wordnet"
edits_per_caption = 3
"""


class BuildError(Exception):
    """A chain of stages did not run to its end, or its captions are not those of answers.jsonl."""


def all_ways(shards: str) -> list[Way]:
    """The ways `model`, `rule` and `wordnet`. Raises BuildError."""
    with tempfile.TemporaryDirectory() as folder:
        settings = "\n".join(f"{name} = {value}" for name, value in FROM_FILE.items())
        with answer_server(read_labels(ANSWERS)) as model_id:
            plan = _built(READ + WRITE.format(model_id=model_id, settings=settings), shards, Path(folder, "model"))
        edits = {row["sample_id"]: row for row in left_rows(_folder(plan, "write_edits"))}
        ruled = [edits[row["sample_id"]] | row for row in left_rows(_folder(plan, "write_reverse"))]
        reasons = Counter(row["reject_reason"] for row in rejected_rows(_folder(plan, "write_reverse")))
        wordnet = _built(READ + WORDNET, shards, Path(folder, "wordnet"))
        by_wordnet = left_rows(_folder(wordnet, "edit_caption_wordnet"))
    ids = _caption_ids()
    return [
        Way(name="model", reverses=_reverses(list(edits.values()), ids), without=Counter()),
        Way(name="rule", reverses=_reverses(ruled, ids), without=reasons),
        Way(name="wordnet", reverses=_reverses(by_wordnet, ids), without=Counter()),
    ]


def _caption_ids() -> dict[str, str]:
    """Caption -> its key in answers.jsonl."""
    rows = [json.loads(line) for line in ANSWERS.read_text("utf-8").splitlines()]
    return {row["caption"]: row["key"] for row in rows}


def _reverses(rows: Sequence[dict[str, Any]], ids: dict[str, str]) -> tuple[Reverse, ...]:
    found = []
    for row in rows:
        texts = {name: row[name] for name in TEXTS}
        if texts["source_caption"] not in ids:
            raise BuildError(f"{ANSWERS.name} has no caption {texts['source_caption']!r}; give the shards it is about")
        found.append(Reverse(caption_id=ids[texts["source_caption"]], **texts))
    return tuple(sorted(found, key=lambda one: (one.caption_id, one.instruction, one.target_caption)))


def _built(chain: str, shards: str, folder: Path) -> Plan:
    """The plan of a chain that ran in this process, its run folder below `folder`."""
    folder.mkdir()
    manifest = folder / "manifest.toml"
    manifest.write_text(chain)
    plan = make_plan(load_manifest(manifest), str(folder / "run"), [shards])
    result = run_build(plan, Storage(plan.out), executor="inprocess", quiet=True)
    if not result.ok:
        raise BuildError(f"the build failed: {'; '.join(result.failures.values()) or result.stopped}")
    return plan


def _folder(plan: Plan, name: str) -> Path:
    """The folder of a stage in the run folder of the plan."""
    return Path(plan.out, next(stage.folder for stage in plan.stages if stage.name == name))
