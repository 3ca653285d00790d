"""Measures parts of the benchmark in this process, and writes each row as soon as it is known, as JSON lines.

`run.py` starts it. An exception in a case becomes a row, and the next case is begun.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import sys
import time
import traceback
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.gpu.parts import PARTS  # noqa: E402  the repository is not a package

MOST_LETTERS = 160


def main() -> None:
    """Measure the parts named, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", choices=PARTS)
    parser.add_argument("--rows", type=Path, required=True, help="file that rows are appended to")
    parser.add_argument("--until", type=float, required=True, help="second of the epoch after which no case is begun")
    parser.add_argument("--work", required=True, help="fields of Work as JSON")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    for name in given.names:
        _measure(name, json.loads(given.work), given.rows, given.until)
        _append(given.rows, {"part": name, "is_end": True})


def _measure(name: str, fields: dict[str, Any], rows: Path, until: float) -> None:
    try:
        from benchmarks.gpu.measure import Work

        module, _, function = PARTS[name].target.partition(":")
        cases = getattr(importlib.import_module(module), function)(Work(**{**fields, "folder": Path(fields["folder"])}))
        for case in cases:
            _append(rows, {"part": name, "case": case.name, "is_start": True})
            _append(rows, {"part": name, "case": case.name, **_row(case.run, until)})
    except Exception as error:  # noqa: BLE001  a part that cannot begin is a row
        _append(rows, {"part": name, "case": "", **_failed(error)})


def _row(run: Any, until: float) -> dict[str, Any]:
    """The figures, or why there are none."""
    if time.time() > until:
        return {"status": "no time left"}
    began = time.monotonic()
    try:
        found = run()
    except Exception as error:  # noqa: BLE001  any failure of a case is a row, and the next one is begun
        return _failed(error)
    return {"status": "measured", **asdict(found), "seconds": time.monotonic() - began}


def _failed(error: BaseException) -> dict[str, Any]:
    chain: BaseException | None = error
    while chain is not None:
        package = str(getattr(chain, "name", "")).partition(".")[0]
        if isinstance(chain, ModuleNotFoundError) and importlib.util.find_spec(package) is None:
            return {"status": "not installed", "notes": package}
        chain = chain.__cause__
    traceback.print_exception(error)
    lines = str(error).strip().splitlines() or [""]
    return {"status": "failed", "notes": f"{type(error).__name__}: {lines[0][:MOST_LETTERS]}"}


def _append(path: Path, row: dict[str, Any]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row, default=str) + "\n")


if __name__ == "__main__":
    main()
