"""A row that never ends, or kills its worker, costs itself alone: its neighbours are kept and the build is whole."""

import json
import subprocess
import sys

import pytest
from _builds import ROOT
from _fakes import id_of, write_shards

pytestmark = pytest.mark.ray
QUICK = {"deadline_s": 5, "row_deadline_s": 3, "heartbeat_s": 60}


def build(tmp_path, lines, kind="map", **run_on):
    write_shards(tmp_path / "in", {"a": lines})
    command = [sys.executable, str(ROOT / "tests" / "_fragile.py"), str(tmp_path), json.dumps(QUICK | run_on), kind]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def lines_with(bad, num_lines=51):
    return [f"{bad.get(n, 'line')} {n}" for n in range(num_lines)]


@pytest.mark.parametrize("kind", ["map", "sink"])
@pytest.mark.parametrize(("word", "detail"), [("hang", "ran past 3 s on one row alone"), ("die", "its worker died")])
def test_only_the_row_that_loses_its_worker_is_rejected(tmp_path, kind, word, detail):
    lines = lines_with({30: word})
    told = build(tmp_path, lines, kind)
    assert told["ok"], told
    assert told["kept"] == [id_of(line) for line in lines if line != f"{word} 30"]
    [rejected] = told["rejected"]
    assert (rejected["sample_id"], rejected["reject_reason"]) == (id_of(f"{word} 30"), "worker_lost")
    assert detail in rejected["reject_detail"]


def test_row_that_lets_no_thread_run_is_rejected_alone(tmp_path):
    lines = lines_with({7: "stuck"})
    told = build(tmp_path, lines, heartbeat_s=3, deadline_s=60)
    assert told["ok"], told
    assert told["kept"] == [id_of(line) for line in lines if line != "stuck 7"]
    assert [r["sample_id"] for r in told["rejected"]] == [id_of("stuck 7")]


def test_several_bad_rows_of_a_shard_are_found_within_its_attempts(tmp_path):
    lines = lines_with({3: "die", 20: "hang", 40: "die", 150: "boom", 180: "die"}, num_lines=200)
    told = build(tmp_path, lines, attempts=2)
    assert told["ok"], told
    assert told["kept"] == [id_of(line) for line in lines if "line" in line]
    assert len(told["rejected"]) == 5


def test_slow_neighbours_of_a_bad_row_are_kept(tmp_path):
    lines = [*lines_with({30: "hang", 10: "slow"}), "slow too", "slow as well"]
    told = build(tmp_path, lines, deadline_s=8)
    assert told["ok"], told
    assert told["kept"] == [id_of(line) for line in lines if "hang" not in line]


def test_more_such_rows_than_allowed_fail_the_shard(tmp_path):
    told = build(tmp_path, ["die 1", "die 2", "line"], max_quarantined_frac=0.4)
    assert not told["ok"]
    assert "more than the 1 allowed (max_quarantined_frac)" in told["failures"][0]
