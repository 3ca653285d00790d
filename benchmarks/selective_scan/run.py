"""The selective scan in chunks beside the plain loop over time: seconds, memory and agreement, for several lengths.

`make bench-selective-scan`, on two cores. One row, four directions, 96 channels and one state, as in the first blocks
of a hint encoder; an image of 512 px has 16,384 tokens there. Tensors have time first in memory, as SS2D makes them.
The loop has a fair chance: what does not depend on the state is computed before it, for all tokens at once, and it
takes its steps apart with one call, so that its backward pass is linear too.

Times are medians of rounds that alternate between both, in each the second of two calls. Memory is the peak of the
bytes of all tensors that the scan makes and that are alive at the same time, gradients included. Agreement is the
largest difference in float64 of outputs and gradients, relative to the largest value of each.

Prints a table, writes scan.json and table.md. The bar: 10 times the loop at 4,096 tokens, forward and with the backward
pass; agreement to 1e-6; time that grows at most as length to the power of 1.1 over all lengths.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402  run from a checkout

from benchmarks.uip2p_memory.live_bytes import LiveBytes  # noqa: E402
from models.vision_mamba.selective_scan import selective_scan, sequential_scan  # noqa: E402  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

SCANS: dict[str, Callable[..., Tensor]] = {"chunks": selective_scan, "loop": sequential_scan}
LENGTHS = (256, 1024, 4096, 16_384)
ROWS, DIRECTIONS, STATES = 1, 4, 1
BAR_LENGTH, BAR_RATIO, BAR_ERROR, BAR_SLOPE = 4096, 10.0, 1e-6, 1.1
MB = 1e6
FREED_BYTES = 30 * 2**20
"""A block of this size is freed first, as in any training: glibc keeps freed memory from then on, for both scans."""


class Cost(NamedTuple):
    """A scan's median seconds and peak bytes: of its forward pass without gradients, and with the backward pass."""

    forward_s: float
    both_s: float
    forward_bytes: int
    both_bytes: int


class Found(NamedTuple):
    """What is measured at one length."""

    length: int
    costs: dict[str, Cost]
    error: float
    """Largest relative difference between both scans in float64."""


def main() -> None:
    """Measure, print, write."""
    given = _arguments()
    torch.set_num_threads(given.threads)
    torch.empty(FREED_BYTES, dtype=torch.uint8)
    given.out.mkdir(parents=True, exist_ok=True)
    found = [measure(length, given.channels, given.rounds) for length in given.lengths]
    text = "\n\n".join((_head(given), table(found), "\n".join(slopes(found))))
    result = [{**one._asdict(), "costs": {name: cost._asdict() for name, cost in one.costs.items()}} for one in found]
    (given.out / "scan.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (given.out / "table.md").write_text(text + "\n", encoding="utf-8")
    print(text)
    sys.exit("\n".join(missed(found)) or 0)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS, help="tokens (%(default)s)")
    parser.add_argument("--channels", type=int, default=96, help="%(default)s")
    parser.add_argument("--rounds", type=int, default=9, help="each time is the median of so many (%(default)s)")
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1), help="of torch (%(default)s)")
    default = os.environ.get("OUT", str(ROOT / "runs" / "bench-selective-scan"))
    parser.add_argument("--out", type=Path, default=Path(default), help="folder of scan.json and table.md")
    return parser.parse_args()


def measure(length: int, channels: int, rounds: int) -> Found:
    """All of one length."""
    print(f"{length:,} tokens …", file=sys.stderr, flush=True)
    given, grad = _tensors(length, channels, torch.float32)
    times: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in SCANS}
    for _ in range(rounds):
        for name, scan in SCANS.items():
            times[name][0].append(_seconds(lambda: _forward(scan, given)))  # noqa: B023
            times[name][1].append(_seconds(lambda: _both(scan, given, grad)))  # noqa: B023
    costs = {
        name: Cost(
            forward_s=statistics.median(times[name][0]), both_s=statistics.median(times[name][1]),
            forward_bytes=_peak(lambda: _forward(scan, given)),  # noqa: B023
            both_bytes=_peak(lambda: _both(scan, given, grad)),  # noqa: B023
        )
        for name, scan in SCANS.items()
    }  # fmt: skip
    return Found(length, costs, _difference(*_tensors(length, channels, torch.float64)))


def _tensors(length: int, channels: int, kind: torch.dtype) -> tuple[list[Tensor], Tensor]:
    """Arguments of a scan as SS2D has them at first, and the gradient of its output."""
    torch.manual_seed(0)
    per_token = [torch.randn(length, ROWS, DIRECTIONS, size) for size in (channels, channels, STATES, STATES)]
    u, delta, write, read = (one.to(kind).movedim(0, -1) for one in per_token)
    decay = -torch.ones(DIRECTIONS, channels, STATES, dtype=kind)
    skip, bias = torch.ones(DIRECTIONS, channels, dtype=kind), torch.full((DIRECTIONS, channels), -4.6, dtype=kind)
    given = [one.requires_grad_() for one in (u, delta, decay, write, read, skip, bias)]
    return given, torch.randn(length, ROWS, DIRECTIONS, channels).to(kind).movedim(0, -1)


def _forward(scan: Callable[..., Tensor], given: Sequence[Tensor]) -> Tensor:
    with torch.no_grad():
        return scan(*given)


def _both(scan: Callable[..., Tensor], given: Sequence[Tensor], grad: Tensor) -> list[Tensor]:
    out = scan(*given)
    return [out.detach(), *torch.autograd.grad(out, list(given), grad)]


def _seconds(work: Callable[[], object]) -> float:
    """Seconds of a second call, so that caches hold what is its own."""
    work()
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _peak(work: Callable[[], object]) -> int:
    with LiveBytes() as live:
        work()
    return int(live.peak)


def _difference(given: Sequence[Tensor], grad: Tensor) -> float:
    pairs = zip(*(_both(scan, given, grad) for scan in SCANS.values()), strict=True)
    return max(float((one - other).abs().max() / other.abs().max()) for one, other in pairs)


def table(found: Sequence[Found]) -> str:
    """A line for each length."""
    head = [
        "tokens", "forward, chunks", "loop", "ratio", "with backward, chunks", "loop", "ratio",
        "peak of forward, chunks", "loop", "peak with backward, chunks", "loop", "difference in float64",
    ]  # fmt: skip
    lines = []
    for one in found:
        cells = [f"{one.length:,}"]
        for name in ("forward_s", "both_s"):
            cells += [f"{1000 * getattr(cost, name):.1f} ms" for cost in one.costs.values()]
            cells.append(f"**{ratio(one, name):.1f}**")
        for name in ("forward_bytes", "both_bytes"):
            cells += [f"{getattr(cost, name) / MB:.1f} MB" for cost in one.costs.values()]
        lines.append([*cells, f"{one.error:.0e}"])
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *lines))


def ratio(found: Found, name: str) -> float:
    """How many times as long the loop takes."""
    return float(getattr(found.costs["loop"], name) / getattr(found.costs["chunks"], name))


def slopes(found: Sequence[Found]) -> list[str]:
    """A sentence for each pass."""
    span = f"from {found[0].length:,} to {found[-1].length:,} tokens"
    return [
        f"Time {text} grows as length to the power of {slope(found, name):.2f} {span}."
        for name, text in (("forward_s", "forward"), ("both_s", "with the backward pass"))
    ]


def slope(found: Sequence[Found], name: str) -> float:
    """The slope of the line through log time over log length, by least squares."""
    lengths, seconds = [one.length for one in found], [getattr(one.costs["chunks"], name) for one in found]
    log_lengths, log_seconds = (torch.tensor(values, dtype=torch.float64).log() for values in (lengths, seconds))
    centred = log_lengths - log_lengths.mean()
    return float((centred * log_seconds).sum() / (centred**2).sum())


def missed(found: Sequence[Found]) -> list[str]:
    """A line for each bar that is not reached."""
    lines = [
        f"{one.length:,} tokens: {name} is {ratio(one, name):.1f} times as fast as the loop, the bar is {BAR_RATIO:g}"
        for one in found for name in ("forward_s", "both_s")
        if one.length == BAR_LENGTH and ratio(one, name) < BAR_RATIO
    ]  # fmt: skip
    lines += [f"{one.length:,} tokens differ by {one.error:.1e}" for one in found if one.error > BAR_ERROR]
    steep = {name: slope(found, name) for name in ("forward_s", "both_s")} if len(found) > 1 else {}
    return lines + [
        f"{name} has the slope {one:.2f}, the bar is {BAR_SLOPE}" for name, one in steep.items() if one > BAR_SLOPE
    ]


def _head(given: Any) -> str:
    date = dt.datetime.now(dt.UTC).date().isoformat()
    sizes = f"{ROWS} row, {DIRECTIONS} directions, {given.channels} channels, {STATES} state"
    return f"{date}, torch {torch.__version__}, {given.threads} threads: {sizes}, float32"


if __name__ == "__main__":
    main()
