"""Memory of a UIP2P training step, and whether 16 rows on Stable Diffusion 1.5 at 256 px fit one card of 80 GB.

`make bench-uip2p-memory`, on a CPU. The recipe opens checkpoints of the real sizes with random weights. The bytes of
all tensors that are alive at the same time are counted over loss and backward pass, for several batches, with and
without gradient checkpointing, in float32 and under bfloat16 with the types of CUDA's autocast. Tensors have no values,
so that large batches are counted too; one row is counted with values as well, and must give the same bytes.

The estimate is the sum of weights, moments of AdamW, frozen networks and the peak of a step, times 1.1. The margin is
for what is not counted: workspaces inside of kernels, fragments of the allocator, CUDA's own memory. Between two
measured batches the estimate lies on the line between them, which is never too low: a peak is the largest of several
sums, each of which grows evenly with the rows. Averaged weights, off by default, take as much as the weights.

Prints tables, writes memory.json and table.md. The bar: 16 rows fit under bfloat16, with and without checkpointing.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402  the repository is not a package

from benchmarks.uip2p_memory.case import PRECISIONS, Case, measure, write_checkpoints  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.uip2p_memory.case import Found

GB = 1e9
MARGIN = 1.1
BATCH = 16
CARDS_GB = (80, 24)
ROWS = (1, 2, 3, BATCH, 128)


def main() -> None:
    """Measure, print, write."""
    given = _arguments()
    given.out.mkdir(parents=True, exist_ok=True)
    size_px = 64 if given.small else 256
    checkpoints = given.out / ("checkpoints-small" if given.small else "checkpoints")
    write_checkpoints(checkpoints, size_px, small=given.small)
    found = list(_measured(_cases(checkpoints, size_px, given.rows_with_values)))
    text = "\n\n".join((_head(size_px), *tables(found)))
    result = {"margin": MARGIN, "size_px": size_px, "cases": [as_json(one) for one in found]}
    (given.out / "memory.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (given.out / "table.md").write_text(text + "\n", encoding="utf-8")
    print(text)
    sys.exit("\n".join(missed(found)) or 0)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--rows-with-values",
        type=int,
        nargs="*",
        choices=ROWS,
        default=[1],
        help="of batches in float32 with the paper's losses",
    )
    parser.add_argument("--small", action="store_true", help="the same classes in small, for a test of the benchmark")
    default = os.environ.get("OUT", str(ROOT / "runs" / "bench-uip2p-memory"))
    parser.add_argument("--out", type=Path, default=Path(default), help="folder of memory.json and table.md")
    return parser.parse_args()


def _cases(checkpoints: Path, size_px: int, rows_with_values: Sequence[int]) -> Iterator[Case]:
    for extras, precision, checkpointing in product((False, True), PRECISIONS, (False, True)):
        with_values = rows_with_values if precision == "no" and not extras else ()
        yield Case(
            checkpoints=str(checkpoints), size_px=size_px, precision=precision, checkpointing=checkpointing,
            extras=extras, rows=ROWS, rows_with_values=tuple(with_values),
        )  # fmt: skip


def _measured(cases: Iterator[Case]) -> Iterator[Found]:
    """Each case in a process of its own, one at a time."""
    for case in cases:
        print(f"{case.name} …", file=sys.stderr, flush=True)
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            yield pool.submit(measure, case).result()


def estimate(found: Found, rows: int) -> float:
    """Bytes that a training with this batch takes, with the margin. Raises ValueError for more rows than measured."""
    temporary = found.update_bytes - found.moments_bytes  # what AdamW makes for a while, next to the gradients
    step_bytes = max(_peak(found, rows), found.weights_bytes + temporary)
    return MARGIN * (_resident(found) + step_bytes)


def largest(found: Found, capacity_bytes: float) -> int:
    """Rows of the largest batch that fits, 0 where none does; of those measured at most."""
    return max((n for n in range(1, max(found.peak_bytes) + 1) if estimate(found, n) <= capacity_bytes), default=0)


def missed(found: Sequence[Found]) -> list[str]:
    """One line for each case that has the bar and does not reach it."""
    barred = [one for one in found if one.case.precision == "bf16" and not one.case.extras]
    return [
        f"{one.case.name}: {BATCH} rows take {estimate(one, BATCH) / GB:.1f} GB, the bar is {CARDS_GB[0]}"
        for one in barred if estimate(one, BATCH) > CARDS_GB[0] * GB
    ] + [
        f"{one.case.name}: {_rows(row.rows)} with values: {row.peak_bytes:,} bytes, without {counted:,}"
        for one in found for row in one.with_values
        if (counted := one.peak_bytes.get(row.rows)) not in {None, row.peak_bytes}
    ]  # fmt: skip


def tables(found: Sequence[Found]) -> tuple[str, ...]:
    """What is there before a step, what batches take, which network a row's bytes are of, the check with values."""
    return _fixed(found), _batches(found), _parts(found), _checks(found)


def _fixed(found: Sequence[Found]) -> str:
    head = [
        "precision",
        "UNet",
        "moments of AdamW",
        "frozen networks",
        "before a step",
        "gradients, in the peaks below",
    ]
    plain = [one for one in found if not one.case.extras and not one.case.checkpointing]
    return _table(
        head,
        [
            [PRECISIONS[one.case.precision]]
            + [_gb(size) for size in (one.weights_bytes, one.moments_bytes, one.frozen_bytes, _resident(one))]
            + [_gb(one.weights_bytes)]
            for one in plain
        ],
    )


def _batches(found: Sequence[Found]) -> str:
    rows = sorted(found[0].peak_bytes)[:-1]
    head = ["case", *(f"peak of {_rows(n)}" for n in rows), "a further row", f"{_rows(BATCH)}, all and margin"]
    lines = []
    for one in found:
        total = estimate(one, BATCH)
        fits = "fits" if total <= CARDS_GB[0] * GB else "does not fit"
        batches = [str(largest(one, card * GB)) for card in CARDS_GB]
        peaks = [_gb(one.peak_bytes[n]) for n in rows]
        lines.append([one.case.name, *peaks, _gb(a_row(one)), f"{_gb(total)}, {fits}", *batches])
    return _table([*head, *(f"largest batch, {card} GB" for card in CARDS_GB)], lines)


def _parts(found: Sequence[Found]) -> str:
    """A row's share of the peak of the largest batch. What the backward pass recomputes is of no network."""
    names = list(found[0].parts_bytes)
    lines = [[one.case.name, *(_gb(one.parts_bytes[name]) for name in names)] for one in found]
    return _table(["a row's bytes at the peak", *names], lines)


def _checks(found: Sequence[Found]) -> str:
    return "\n".join(
        f"- {one.case.name}, {_rows(row.rows)}: {row.peak_bytes:,} bytes with values, "
        f"{one.peak_bytes.get(row.rows, 0):,} without; the process grew by "
        + (f"{_gb(row.grown_bytes)} GB" if row.grown_bytes else "less than loading had taken")
        for one in found for row in one.with_values
    )  # fmt: skip


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *lines))


def a_row(found: Found) -> float:
    """Bytes that one row more adds to a large batch."""
    less, more = sorted(found.peak_bytes)[-2:]
    return (found.peak_bytes[more] - found.peak_bytes[less]) / (more - less)


def as_json(found: Found) -> dict[str, Any]:
    """The bytes of a case and what follows from them."""
    return {
        "case": found.case.name,
        **{name: value for name, value in found._asdict().items() if name not in {"case", "with_values"}},
        "with_values": [one._asdict() for one in found.with_values], "row_bytes": a_row(found),
        "estimate_bytes": {str(rows): estimate(found, rows) for rows in found.peak_bytes},
        "largest_batch": {f"{card} GB": largest(found, card * GB) for card in CARDS_GB},
    }  # fmt: skip


def _peak(found: Found, rows: int) -> float:
    """The peak of a batch, on the line between the two measured ones around it."""
    for (less, low), (more, high) in pairwise(sorted(found.peak_bytes.items())):
        if less <= rows <= more:
            return low + (high - low) * (rows - less) / (more - less)
    raise ValueError(f"{rows} rows are not between the batches that were measured")


def _resident(found: Found) -> int:
    """Bytes before a step: weights, moments, frozen networks."""
    return found.weights_bytes + found.moments_bytes + found.frozen_bytes


def _rows(count: int) -> str:
    return f"{count} row{'s' if count > 1 else ''}"


def _gb(num_bytes: float) -> str:
    return f"{num_bytes / GB:.2f}"


def _head(size_px: int) -> str:
    date = dt.datetime.now(dt.UTC).date().isoformat()
    return f"{date}, torch {torch.__version__}: UIP2P at {size_px} px, GB of 10^9 bytes, margin {MARGIN}"


if __name__ == "__main__":
    main()
