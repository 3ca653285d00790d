"""Pairs against Data-Juicer's operator, which runs in a process of its own with the interpreter of its environment."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.pairs.plain import draw_pairs, synthesiser
from benchmarks.pairs.records import make_captions
from benchmarks.pairs.rounds import clocked, take_turns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.pairs.scale import Scale

SCRIPT = Path(__file__).resolve().with_name("peer.py")


class Operator:
    """A running `peer.py`. Tasks are answered one after the other."""

    def __init__(self, command: Sequence[str], more_environment: dict[str, str], log: Path) -> None:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | more_environment
        self._log = log.open("wb")
        self._process: Any = subprocess.Popen(
            [*command, str(SCRIPT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True,
            env=environment,
        )  # fmt: skip

    def ask(self, task: str, **settings: Any) -> dict[str, Any]:
        """The result of a task. Raises RuntimeError when the process has ended."""
        with suppress(BrokenPipeError):  # then there is no answer either
            self._process.stdin.write(json.dumps({"task": task, **settings}) + "\n")
            self._process.stdin.flush()
        if not (line := self._process.stdout.readline()):
            raise RuntimeError(f"the peer ended in task {task!r}; read {self._log.name}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End the process."""
        self._process.stdin.close()
        self._process.wait()
        self._log.close()


def against_operator(
    operator: Operator, folder: Path, scale: Scale, guidance_scales: tuple[float, float], num_rounds: int
) -> dict[str, Any]:
    """One row of the table, with the operator's guidance and ours. Each image is written as a JPEG on both sides."""
    captions = make_captions(scale.num_pairs)
    operator.ask(
        "open", folder=str(folder), num_steps=scale.num_steps, guidance_scale=guidance_scales[0],
        device=scale.device, dtype=scale.dtype,
    )  # fmt: skip
    ours = synthesiser(folder, scale.placement())

    def draw_and_write() -> None:
        with tempfile.TemporaryDirectory() as out:
            for number, pair in enumerate(draw_pairs(ours, captions, scale.num_steps, guidance_scales[1])):
                for place, image in enumerate(pair):
                    image.save(Path(out) / f"{number}_{place}.jpg")

    sides = {"operator": lambda: operator.ask("pairs", captions=captions), "ours": lambda: clocked(draw_and_write)}
    found = take_turns(sides, num_rounds)
    return {
        "what": "pairs, against Data-Juicer's operator", "guidance_scales": guidance_scales, **scale.as_json(),
        "sides": found, "ratio": found["operator"]["seconds"] / found["ours"]["seconds"],
    }  # fmt: skip
