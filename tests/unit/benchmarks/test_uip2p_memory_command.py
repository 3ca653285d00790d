"""The benchmark of UIP2P's memory as a whole, for one case of small networks."""

import json

import pytest

from benchmarks.uip2p_memory import run
from benchmarks.uip2p_memory.case import Case, write_checkpoints


def test_the_recipe_has_the_same_bytes_with_and_without_values(tmp_path, monkeypatch):
    write_checkpoints(tmp_path / "checkpoints-small", 64, small=True)
    case = Case(
        checkpoints=str(tmp_path / "checkpoints-small"), size_px=64, precision="bf16", checkpointing=True, extras=False,
        rows=(1, 16), rows_with_values=(1,),
    )  # fmt: skip
    monkeypatch.setattr(run, "_cases", lambda *_: iter([case]))
    monkeypatch.setattr("sys.argv", ["run.py", "--small", "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        run.main()
    assert ended.value.code == 0
    (found,) = json.loads((tmp_path / "memory.json").read_text())["cases"]
    assert found["peak_bytes"]["1"] == found["with_values"][0]["peak_bytes"] > found["weights_bytes"]
    assert found["moments_bytes"] == 2 * found["weights_bytes"]
    assert "| the paper's losses, bfloat16, checkpointing on | " in (tmp_path / "table.md").read_text()
