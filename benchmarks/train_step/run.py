"""A training step of instruction editors beside the loop that diffusers documents: same model, batch, data and machine.

`make bench-train-step`. Three sides, each in a process of its own: this project's training with latents and texts from
the dataset, the same without them, and the other loop (`theirs.py`), which has no caches. All train float32 weights and
mirror no image. With bf16, this project's frozen networks are in it too, the other loop's stay in float32. Sides take
turns; the order is reversed after each round, and medians are compared. Prints a table, writes result.json and
table.md. The bar: on SD 1.5 with a quarter of its channels, at 256 px, the side with caches is at least 1.5 times as
fast as the other loop. `zoo:sd` at 64 px is measured too and has no bar, as its autoencoder and text encoder are far
smaller beside its UNet than those of SD 1.5: without them a step can hardly be faster.
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
BATCHES = {"zoo:sd": 16, "sd15-quarter": 4, "sd15": 16}
BARRED = ("sd15-quarter", "sd15")
NUM_SAMPLES = 64


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
    results = {model: {**_machine(given, model), "sides": measure(given, model)} for model in given.models}
    text = "\n\n".join(map(table, results.values()))
    (given.out / "result.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    (given.out / "table.md").write_text(text + "\n", encoding="utf-8")
    print(text)
    sys.exit("\n".join(missed(results)) or 0)


def missed(results: dict[str, Any]) -> list[str]:
    """One line for each model that has the bar and does not reach it."""
    ratios = {model: ratio(result["sides"], CACHED, "samples_per_s") for model, result in results.items()}
    return [
        f"{model}, {CACHED}: {found:.2f} times the other loop, the bar is {LEAST_RATIO}"
        for model, found in ratios.items() if model in BARRED and found < LEAST_RATIO
    ]  # fmt: skip


def ratio(sides: dict[str, Any], name: str, key: str) -> float:
    """A side's number over that of the other loop."""
    return float(sides[name][key] / sides[THEIRS][key])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=SIZES_PX, default=["zoo:sd", "sd15-quarter"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=4, help="of a side in a round")
    parser.add_argument("--samples", type=int, default=NUM_SAMPLES, help="of the dataset")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--precision", choices=("no", "bf16"), default="no")
    default = os.environ.get("OUT", str(ROOT / "runs" / "bench-train-step"))
    parser.add_argument("--out", type=Path, default=Path(default), help="folder of result.json and table.md")
    return parser.parse_args()


def measure(given: argparse.Namespace, model: str) -> dict[str, dict[str, Any]]:
    """For each side the median of samples a second over the rounds, and the most memory it had."""
    with tempfile.TemporaryDirectory(prefix="bench-train-step-") as folder, contextlib.ExitStack() as stack:
        sides = dict(_sides(given, model, Path(folder), stack))
        for side in sides.values():
            side.steps(2)  # the first allocate and choose kernels
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in sides}
        order = list(sides)
        for _ in range(given.rounds):
            for name in order:
                found[name].append(sides[name].steps(given.steps))
            order.reverse()
    return {name: _summary(answers, BATCHES[model]) for name, answers in found.items()}


def _sides(
    given: argparse.Namespace, model: str, folder: Path, stack: contextlib.ExitStack
) -> Iterator[tuple[str, Side]]:
    size_px, model_id = SIZES_PX[model], model
    if ":" not in model:
        model_id = f"path:{write_checkpoint(folder / 'model', model, sample_size=size_px // 8)}"
    write_data(folder, model_id, size_px, given.samples)
    for number, name in enumerate(SIDES):
        task = Task(
            data=str(folder / ("cached" if name == CACHED else "plain")), out=str(folder / f"out{number}"),
            model=model_id, size_px=size_px, batch_size=BATCHES[model], threads=given.threads,
            precision=given.precision,
        )  # fmt: skip
        side = Side(name, task, given.out / f"{model.replace(':', '-')}-{number}.log")
        stack.callback(side.close)
        yield name, side


def _summary(answers: list[dict[str, Any]], batch_size: int) -> dict[str, Any]:
    step_s = [one["seconds"] / one["steps"] for one in answers]
    return {
        "step_s": statistics.median(step_s),
        "samples_per_cpu_s": batch_size / statistics.median(one["cpu_seconds"] / one["steps"] for one in answers),
        "samples_per_s": batch_size / statistics.median(step_s),
        "rss_bytes": answers[-1]["rss_bytes"], "gpu_bytes": answers[-1]["gpu_bytes"], "all_step_s": step_s,
    }  # fmt: skip


def table(result: dict[str, Any]) -> str:
    """Speed and memory of each side."""
    on = f"{result['card'] or 'CPU'}, {result['threads']} threads"
    head = (
        f"{result['date']}, {on}, torch {result['torch']}: {result['model']} at {result['size_px']} px, batch "
        f"{result['batch_size']}, precision {result['precision']}, {result['rounds']} rounds of {result['steps']} "
        f"steps, load {result['load_before'][0]:.1f} before\n\n"
        "| | a step | samples a second | ratio | ratio of CPU time | slowest and fastest round | memory of the process "
        "| of the GPU |\n|---|---|---|---|---|---|---|---|"
    )
    lines = [head]
    for name, side in result["sides"].items():
        gpu = f"{side['gpu_bytes'] / 1e9:.2f} GB" if side["gpu_bytes"] else ""
        lines.append(
            f"| {name} | {1000 * side['step_s']:.0f} ms | {side['samples_per_s']:.1f} | "
            f"{ratio(result['sides'], name, 'samples_per_s'):.2f} | "
            f"{ratio(result['sides'], name, 'samples_per_cpu_s'):.2f} | {1000 * max(side['all_step_s']):.0f} to "
            f"{1000 * min(side['all_step_s']):.0f} ms | {side['rss_bytes'] / 1e6:,.0f} MB | {gpu} |"
        )
    return "\n".join(lines)


def _machine(given: argparse.Namespace, model: str) -> dict[str, Any]:
    return {
        "date": dt.datetime.now(dt.UTC).date().isoformat(), "cpu": platform.machine(), "cores": os.cpu_count(),
        "card": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None, "torch": torch.__version__,
        "load_before": os.getloadavg(), "model": model, "size_px": SIZES_PX[model], "batch_size": BATCHES[model],
        **{name: getattr(given, name) for name in ("rounds", "steps", "threads", "precision")},
    }  # fmt: skip


if __name__ == "__main__":
    main()
