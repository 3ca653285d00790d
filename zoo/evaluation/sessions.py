"""Sessions of held-out edits: each turn edits the result of the turn before; the last one is compared with the truth.

Source  Zhang et al. 2023, MagicBrush, for the protocol: multi-turn editing from the editor's own outputs.
"""

from __future__ import annotations

import json
import random
from itertools import count as count_from
from itertools import islice
from typing import TYPE_CHECKING, Any

from PIL import Image

from evaluation.benchmark import Benchmark, EditCase, Output, Sample
from evaluation.json_files import read_lines
from zoo.batches import HELD_OUT_SEED
from zoo.world import KINDS, SIZE_PX, render, sample_sequence, scene_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from zoo.world import Edit, EditKind

SESSION = "session"
"""The kind under which the scores of sessions stand."""
FIRST_SCENE = 9_000_000
"""Number of the first scene: far from those of single edits."""
FILE = "sessions.jsonl"
MOST_SKIPPED = 1000


def write_sessions(folder: Path, count: int, num_turns: int, kinds: Sequence[EditKind] = KINDS) -> Benchmark:
    """`count` sessions of `num_turns` edits of these kinds, written to `folder` unless they are there.

    Only the last turn of a session is a sample: its true result and caption are those after all turns.
    """
    wanted = {"count": count, "num_turns": num_turns, "kinds": list(kinds)}
    path = folder / FILE
    if not path.is_file() or read_lines(path)[0][1] != wanted:
        (folder / "images").mkdir(parents=True, exist_ok=True)
        rows = [_write(folder, index, turns) for index, turns in islice(_sessions(num_turns, kinds), count)]
        temporary = path.with_suffix(".tmp")
        temporary.write_text("".join(f"{json.dumps(row)}\n" for row in (wanted, *rows)), encoding="utf-8")
        temporary.replace(path)
    sessions = [row["turns"] for _, row in read_lines(path)[1:]]
    cases = [case for turns in sessions for case in _cases(folder, turns)]
    return Benchmark(name="sessions", cases=tuple(cases), samples=tuple(_sample(folder, turns) for turns in sessions))


def _sessions(num_turns: int, kinds: Sequence[EditKind]) -> Iterator[tuple[int, list[Edit]]]:
    """(number of the scene, its edits) of each scene in turn whose turns can all be done.

    Raises ValueError where that is none of `MOST_SKIPPED` scenes in a row.
    """
    skipped = 0
    for index in count_from(FIRST_SCENE):
        rng = random.Random(f"sessions {HELD_OUT_SEED} {index}")
        try:
            turns = sample_sequence(scene_of(HELD_OUT_SEED, index), rng, num_turns, kinds)
        except ValueError as error:
            skipped += 1
            if skipped == MOST_SKIPPED:
                raise ValueError(f"no scene can take {num_turns} edits of {', '.join(kinds)}") from error
        else:
            skipped = 0
            yield index, turns


def _write(folder: Path, index: int, turns: list[Edit]) -> dict[str, Any]:
    scenes = [turns[0].source, *(turn.target for turn in turns)]
    files = [f"images/{index:09d}-{number}.png" for number in range(len(scenes))]
    for file, scene in zip(files, scenes, strict=True):
        Image.fromarray(render(scene, SIZE_PX)).save(folder / file, "PNG")
    return {
        "turns": [
            {
                "key": f"{index:09d}-{number}", "source": files[number], "target": files[number + 1],
                "instruction": turn.instruction, "source_caption": turn.source_caption,
                "target_caption": turn.target_caption, "edit_type": turn.kind,
            }
            for number, turn in enumerate(turns)
        ]
    }  # fmt: skip


def _cases(folder: Path, turns: list[dict[str, str]]) -> Iterator[EditCase]:
    for number, turn in enumerate(turns):
        yield EditCase(
            key=turn["key"],
            source=Output(turns[number - 1]["key"]) if number else folder / turn["source"],
            instruction=turn["instruction"],
            source_caption=turn["source_caption"],
            target_caption=turn["target_caption"],
        )


def _sample(folder: Path, turns: list[dict[str, str]]) -> Sample:
    first, last = turns[0], turns[-1]
    return Sample(
        key=last["key"], sections=("all",), reference=folder / last["target"], source=folder / first["source"],
        source_text=first["source_caption"], target_text=last["target_caption"], facts={"edit_type": SESSION},
    )  # fmt: skip
