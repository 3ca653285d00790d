"""The benchmark of a GPU, in small on the CPU, so that it runs on the day that a GPU is there."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RUN = ROOT / "benchmarks" / "gpu" / "run.py"


def run(out, *flags):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    line = [sys.executable, str(RUN), "--small", "--out", str(out), *flags]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=280, env=environment)


def test_all_parts_are_measured_in_small(tmp_path):
    done = run(tmp_path)
    assert done.returncode == 0, done.stderr + (tmp_path / "log.txt").read_text()[-3000:]
    rows = json.loads((tmp_path / "result.json").read_text())["rows"]
    assert {row["status"] for row in rows} == {"measured"}
    assert len({row["part"] for row in rows}) == 10
    assert all(row["per_second"] > 0 for row in rows)
    assert (tmp_path / "table.md").read_text().count("\n| ") == len(rows) + 2
