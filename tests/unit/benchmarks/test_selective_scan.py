import json

import pytest

from benchmarks.selective_scan import run
from benchmarks.selective_scan.run import Cost, Found, missed, ratio, slope

pytestmark = pytest.mark.usefixtures("one_thread")


def found(length, seconds, loop_s, error=0.0):
    return Found(length, {"chunks": Cost(seconds, seconds, 1, 1), "loop": Cost(loop_s, loop_s, 1, 1)}, error)


def test_slope_is_the_power_with_which_time_grows():
    quadratic = [found(length, 3e-9 * length**2, 1) for length in (256, 1024, 4096)]
    assert slope(quadratic, "forward_s") == pytest.approx(2)
    assert any("has the slope 2.00" in line for line in missed(quadratic))


def test_bars_are_ratio_at_their_length_and_agreement():
    assert ratio(found(4096, 1, 9.5), "both_s") == 9.5
    assert [line.partition(":")[2] for line in missed([found(4096, 1, 9.5)])] == [
        f" {name} is 9.5 times as fast as the loop, the bar is 10" for name in ("forward_s", "both_s")
    ]
    assert missed([found(256, 1, 2), found(4096, 2, 20)]) == []
    assert missed([found(256, 1, 2, error=2e-6)]) == ["256 tokens differ by 2.0e-06"]


def test_short_scans_are_measured_and_written(tmp_path, monkeypatch):
    options = ["--lengths", "40", "80", "--channels", "3", "--rounds", "1", "--threads", "1", "--out"]
    monkeypatch.setattr("sys.argv", ["run.py", *options, str(tmp_path)])
    monkeypatch.setattr(run, "missed", lambda _: [])  # times of so short scans are chance
    with pytest.raises(SystemExit) as ended:
        run.main()
    assert ended.value.code == 0
    short, long = json.loads((tmp_path / "scan.json").read_text())
    assert long["error"] < 1e-12
    assert long["costs"]["chunks"]["both_bytes"] == pytest.approx(2 * short["costs"]["chunks"]["both_bytes"], rel=0.05)
    assert "| 80 | " in (tmp_path / "table.md").read_text()
