"""All that a GPU does here, in one table: wrappers, pairs, training steps, the vector index. At most 8 minutes.

`make bench-gpu`, or `python3 benchmarks/gpu/run.py` with whatever is installed: weights are random, at the sizes of
published models, and nothing is downloaded. Needs torch, transformers and pydantic; diffusers for pairs, accelerate too
for trainings, faiss for the index. What is missing is a row that says so. Each part has a process and a time of its
own, and a failure in one is a row of the table. Writes result.json, table.md and a log. Exit 1 where a part failed or a
bar was missed. `--small`: the same code with small networks, on a CPU in a minute; nothing is compiled.

Needs 30 GB of disk in the temporary folder, and up to 80 GB of the GPU's memory. Batches that do not fit are halved.
"""

from __future__ import annotations

import argparse
import datetime as dt
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.gpu import table  # noqa: E402  the repository is not a package
from benchmarks.gpu.parts import PARTS  # noqa: E402

PACKAGES = ("torch", "transformers", "diffusers", "faiss-gpu", "faiss-cpu")
GRACE_S = 25.0
"""A case that was begun in time may run on for so long."""
LEAST_S = 15.0
"""A part is not begun with less time than this."""


def main() -> None:
    """Measure, print and write."""
    given = _arguments()
    given.out.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bench-gpu-") as folder:
        rows = _measured(given, Path(folder), began + 60 * given.minutes)
    result = {"machine": _machine(given), "seconds": time.monotonic() - began, "rows": rows}
    text = table.of(result)
    (given.out / "result.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (given.out / "table.md").write_text(text + "\n", encoding="utf-8")
    print(text)
    sys.exit("\n".join(table.failures(result)) or 0)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="small networks in one process, on the CPU unless told")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda, with --small cpu")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--seconds", type=float, help="for which a case repeats its call; default 4, with --small none")
    parser.add_argument("--index-rows", type=int, default=200_000)
    default = os.environ.get("OUT", str(ROOT / "runs" / "bench-gpu"))
    parser.add_argument("--out", type=Path, default=Path(default), help="folder of result.json, table.md and log.txt")
    given = parser.parse_args()
    given.device = given.device or ("cpu" if given.small else "cuda")
    if given.device == "cuda" and not _smi("name"):
        parser.error("no GPU is here (nvidia-smi gives none); use --small to try the code on a CPU")
    return given


def _measured(given: argparse.Namespace, folder: Path, end: float) -> list[dict[str, Any]]:
    """The rows of all parts: in small all in one process, else each in its own."""
    groups = [given.parts] if given.small else [[name] for name in given.parts]
    found: list[dict[str, Any]] = []
    for group in groups:
        left = end - time.monotonic()
        if left < LEAST_S:
            new = [{"part": name, "case": "", "status": "no time left"} for name in group]
        else:
            new = _run(given, group, folder, left)
        found += new
        for row in new:
            print(f"{row['part']}, {row['case']}: {row['status']} {_short(row)}", flush=True)
    return found


def _run(given: argparse.Namespace, names: list[str], folder: Path, left: float) -> list[dict[str, Any]]:
    """Measure the parts in a process of their own, which is ended when its time is over."""
    path = folder / f"{names[0]}.jsonl"
    allowed = min(left - GRACE_S / 2, sum(PARTS[name].seconds for name in names))
    seconds = given.seconds if given.seconds is not None else 0.0 if given.small else 4.0
    work = {
        "folder": str(folder), "small": given.small, "device": given.device, "seconds": seconds,
        "index_rows": given.index_rows,
    }  # fmt: skip
    command = [
        sys.executable, str(ROOT / "benchmarks" / "gpu" / "part.py"), *names, "--rows", str(path),
        "--until", str(time.time() + allowed), "--work", json.dumps(work),
    ]  # fmt: skip
    with (given.out / "log.txt").open("a", encoding="utf-8") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=ROOT)
        try:
            ended = f"ended with code {process.wait(min(left, allowed + GRACE_S))}"
        except subprocess.TimeoutExpired:
            ended = ""
        finally:
            process.kill()
            process.wait()
    return _rows(path, names, ended)


def _rows(path: Path, names: list[str], ended: str) -> list[dict[str, Any]]:
    """The rows in the file, and one for each part that did not come to its end."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
    rows = [line for line in lines if "status" in line]
    done = {line["part"] for line in lines if line.get("is_end")}
    for name in names:
        if name in done:
            continue
        begun = [line["case"] for line in lines if line["part"] == name and line.get("is_start")]
        status = {"status": "failed", "notes": f"the process {ended}"} if ended else {"status": "timed out"}
        rows.append({"part": name, "case": begun[-1] if begun else "", **status})
    return rows


def _machine(given: argparse.Namespace) -> dict[str, Any]:
    from benchmarks.gpu.measure import peak_flops

    card = _smi("name") if given.device == "cuda" else None
    peak = peak_flops(card)
    return {
        "date": dt.datetime.now(dt.UTC).date().isoformat(), "card": card, "driver": _smi("driver_version"),
        "memory": _smi("memory.total"), "cores": os.cpu_count(), "small": given.small, "device": given.device,
        "peak_bf16_tflops": peak / 1e12 if peak else None,
        "versions": {name: version for name in PACKAGES if (version := _version(name))},
    }  # fmt: skip


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _smi(field: str) -> str | None:
    """A fact about the first GPU, or None without one."""
    try:
        done = subprocess.run(
            ["nvidia-smi", f"--query-gpu={field}", "--format=csv,noheader"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip().splitlines()[0] if done.stdout.strip() else None


def _short(row: dict[str, Any]) -> str:
    return f"{row['per_second']:.2f} {row['unit']} a second" if row["status"] == "measured" else row.get("notes", "")


if __name__ == "__main__":
    main()
