"""A training step of instruction editors beside the loop that diffusers documents: same model, batch, data and machine.

`make bench-train-step`. Three sides, each in a process of its own: this project's training with latents and texts from
the dataset, the same without them, and the other loop (`theirs.py`), which has no caches. All have float32 weights and
no mirrored images. Sides take turns; the order is reversed after each round, and medians are compared. Prints a table,
writes result.json and table.md, and fails where the side with caches is less than 1.5 times as fast as the other loop.
The models: `zoo:sd` at 64 px, and with `--model sd15-quarter` SD 1.5 with a quarter of its channels at 256 px.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402  the repository is not a package

from benchmarks.pairs.checkpoints import write_checkpoint  # noqa: E402
from benchmarks.train_step.data import write_data  # noqa: E402
from benchmarks.train_step.side import SIDES, Task  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

LEAST_RATIO = 1.5
CACHED, PLAIN, THEIRS = SIDES
SIZES_PX = {"zoo:sd": 64, "sd15-quarter": 256, "sd15": 512}
NUM_SAMPLES = 128


class Side:
    """A running `side.py`."""

    def __init__(self, name: str, task: Task, log: Path) -> None:
        self._name, self._log = name, log
        with log.open("wb") as file:
            self._process: Any = subprocess.Popen(
                [sys.executable, str(ROOT / "benchmarks" / "train_step" / "side.py"), name, json.dumps(asdict(task))],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file, text=True, cwd=ROOT,
            )  # fmt: skip
        self._answer()

    def steps(self, count: int) -> dict[str, Any]:
        """Do so many steps. Raises RuntimeError where the process has ended."""
        with contextlib.suppress(BrokenPipeError):  # then there is no answer either
            self._process.stdin.write(f"{count}\n")
            self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._name} has ended: {self._log.read_text(errors='replace')[-2000:]}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def main() -> None:
    """Measure, print, write."""
    given = _arguments()
    given.out.mkdir(parents=True, exist_ok=True)
    result = {**_machine(given), "sides": measure(given)}
    rates = {name: side["samples_per_s"] for name, side in result["sides"].items()}
    result["ratios"] = {name: rate / rates[THEIRS] for name, rate in rates.items()}
    text = table(result)
    (given.out / "result.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (given.out / "table.md").write_text(text + "\n", encoding="utf-8")
    print(text)
    ratio = result["ratios"][CACHED]
    sys.exit(f"{CACHED}: {ratio:.2f} times the other loop, the bar is {LEAST_RATIO}" if ratio < given.least else 0)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=SIZES_PX, default="zoo:sd")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=6, help="of a side in a round")
    parser.add_argument("--samples", type=int, default=NUM_SAMPLES, help="of the dataset")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--precision", choices=("no", "bf16"), default="no")
    parser.add_argument("--least", type=float, default=LEAST_RATIO, help="ratio below which it fails")
    default = os.environ.get("OUT", str(ROOT / "runs" / "bench-train-step"))
    parser.add_argument("--out", type=Path, default=Path(default), help="folder of result.json and table.md")
    return parser.parse_args()


def measure(given: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """For each side the median of samples a second over the rounds, and the most memory it had."""
    with tempfile.TemporaryDirectory(prefix="bench-train-step-") as folder, contextlib.ExitStack() as stack:
        sides = dict(_sides(given, Path(folder), stack))
        for side in sides.values():
            side.steps(2)  # the first allocate and choose kernels
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in sides}
        order = list(sides)
        for _ in range(given.rounds):
            for name in order:
                found[name].append(sides[name].steps(given.steps))
            order.reverse()
    return {name: _summary(answers, given.batch_size) for name, answers in found.items()}


def _sides(given: argparse.Namespace, folder: Path, stack: contextlib.ExitStack) -> Iterator[tuple[str, Side]]:
    model = given.model
    if ":" not in model:
        model = f"path:{write_checkpoint(folder / 'model', model, sample_size=SIZES_PX[model] // 8)}"
    write_data(folder, model, SIZES_PX[given.model], given.samples)
    for number, name in enumerate(SIDES):
        task = Task(
            data=str(folder / ("cached" if name == CACHED else "plain")), out=str(folder / f"out{number}"),
            model=model, size_px=SIZES_PX[given.model], batch_size=given.batch_size, threads=given.threads,
            precision=given.precision,
        )  # fmt: skip
        side = Side(name, task, given.out / f"side{number}.log")
        stack.callback(side.close)
        yield name, side


def _summary(answers: list[dict[str, Any]], batch_size: int) -> dict[str, Any]:
    step_s = [one["seconds"] / one["steps"] for one in answers]
    return {
        "step_s": statistics.median(step_s), "samples_per_s": batch_size / statistics.median(step_s),
        "rss_bytes": answers[-1]["rss_bytes"], "gpu_bytes": answers[-1]["gpu_bytes"], "all_step_s": step_s,
    }  # fmt: skip


def table(result: dict[str, Any]) -> str:
    """Speed and memory of each side."""
    on = f"{result['card'] or 'CPU'}, {result['threads']} threads"
    head = (
        f"{result['date']}, {on}, torch {result['torch']}: {result['model']} at {result['size_px']} px, batch "
        f"{result['batch_size']}, precision {result['precision']}, {result['rounds']} rounds of {result['steps']} "
        f"steps, load {result['load_before'][0]:.1f} before\n\n"
        "| | a step | samples a second | ratio | slowest and fastest round | peak memory of the process | of the GPU |\n"
        "|---|---|---|---|---|---|---|"
    )
    lines = [head]
    for name, side in result["sides"].items():
        gpu = f"{side['gpu_bytes'] / 1e9:.2f} GB" if side["gpu_bytes"] else ""
        lines.append(
            f"| {name} | {1000 * side['step_s']:.0f} ms | {side['samples_per_s']:.1f} | "
            f"{result['ratios'][name]:.2f} | {1000 * max(side['all_step_s']):.0f} to "
            f"{1000 * min(side['all_step_s']):.0f} ms | {side['rss_bytes'] / 1e6:,.0f} MB | {gpu} |"
        )
    return "\n".join(lines)


def _machine(given: argparse.Namespace) -> dict[str, Any]:
    return {
        "date": dt.datetime.now(dt.UTC).date().isoformat(), "cpu": platform.machine(), "cores": os.cpu_count(),
        "card": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None, "torch": torch.__version__,
        "load_before": os.getloadavg(), "size_px": SIZES_PX[given.model],
        **{name: getattr(given, name) for name in ("model", "batch_size", "rounds", "steps", "threads", "precision")},
    }  # fmt: skip


if __name__ == "__main__":
    main()
