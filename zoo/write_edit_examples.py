"""`python -m zoo.write_edit_examples [FILE]`: example edits of the miniature world, for prompts of language models.

JSON lines as `models.language.example_sets` reads them, by default into zoo/edit_examples.jsonl, which is part of the
project. Scenes are of the world of every evaluation, which no training draws from, far behind those that evaluations
begin with. The kinds of edit take turns. Same code, same bytes.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.batches import HELD_OUT_SEED
from zoo.train_llm import answer_to
from zoo.world import KINDS, caption, sample_edit, scene_of
from zoo.world.edits import possible_kinds

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FILE = Path(__file__).parent / "edit_examples.jsonl"
COUNT = 40
FIRST_SCENE = 900_000_000


def example_lines() -> Iterator[str]:
    """One JSON object an example: for each kind in turn the next scene that can take it."""
    index = FIRST_SCENE
    for number in range(COUNT):
        kind = KINDS[number % len(KINDS)]
        while kind not in possible_kinds(scene := scene_of(HELD_OUT_SEED, index)):
            index += 1
        edit = sample_edit(scene, random.Random(f"examples {HELD_OUT_SEED} {index} {kind}"), kind)
        source = caption(scene)
        yield json.dumps({"id": f"world-{number:03d}", "caption": source, **answer_to(edit, source)})
        index += 1


def main(argv: Sequence[str] | None = None) -> int:
    """Write the file. Return 0."""
    parser = argparse.ArgumentParser(
        prog="python -m zoo.write_edit_examples", description=str(__doc__).split(":", 1)[0]
    )
    parser.add_argument("file", type=Path, nargs="?", default=FILE)
    given = parser.parse_args(argv)
    given.file.write_text("".join(f"{line}\n" for line in example_lines()), encoding="utf-8")
    print(f"{COUNT} examples in {given.file}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
