"""A row that never ends, or kills its worker, is rejected alone: all others are kept."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from _builds import ROOT
from _fakes import id_of, write_shards

QUICK = {"deadline_s": 12, "row_deadline_s": 2, "heartbeat_s": 60}
"""The deadlines leave time for all good rows, and their write, on a busy machine too."""
WORDS = {"a": "hang", "b": "die", "c": "pack-hang", "d": "pack-die"}
"""The content of row 30 of each shard: it hangs or dies in the map, or in the sink."""


def lines_with(bad, num_lines=51):
    return [f"{bad.get(n, 'line')} {n}" for n in range(num_lines)]


BUILDS = {
    "side by side": ({shard: lines_with({30: word}) for shard, word in WORDS.items()}, {}),
    "stuck": ({"a": lines_with({7: "stuck"})}, {"heartbeat_s": 2, "deadline_s": 60}),
    "several": (
        {"a": lines_with({3: "die", 20: "hang", 40: "die", 150: "boom", 180: "die"}, num_lines=200)},
        {"attempts": 2},
    ),
    "slow": (
        {"a": [*lines_with({30: "hang", 10: "slow"}), "slow too", "slow as well"]},
        {"row_deadline_s": 3},
    ),
    "too many": ({"a": ["die 1", "die 2", "line"]}, {"max_quarantined_frac": 0.4}),
}
"""Name -> (shard -> its lines, settings that differ from `QUICK`)."""


@pytest.fixture(scope="module", params=[pytest.param("ray", marks=pytest.mark.ray), "processes"])
def results(request, tmp_path_factory):
    """The result of each build. They wait for deadlines most of the time, so they run side by side."""
    where = "processes"
    if request.param == "ray":
        request.getfixturevalue("room")(sum(len(shards) for shards, _ in BUILDS.values()))
        where = request.getfixturevalue("cluster").address
    folders = {str(tmp_path_factory.mktemp("lost")): name for name in BUILDS}
    asked = []
    for folder, name in folders.items():
        shards, run_on = BUILDS[name]
        write_shards(Path(folder) / "in", shards)
        asked.append(json.dumps({"folder": folder, "run_on": QUICK | run_on}))
    line = [sys.executable, str(ROOT / "tests" / "_fragile.py"), where]
    done = subprocess.run(line, cwd=ROOT, input="\n".join(asked), stdout=subprocess.PIPE, text=True, timeout=250)
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]  # Ray prints between them
    assert [one["error"] for one in found if "error" in one] == []
    return {folders[one["folder"]]: one for one in found}


@pytest.mark.parametrize("shard", WORDS)
def test_only_the_row_that_loses_its_worker_is_rejected(results, shard):
    side_by_side = results["side by side"]
    assert side_by_side["ok"], side_by_side
    word, result = WORDS[shard], side_by_side["shards"][shard]
    assert result["kept"] == [id_of(line) for line in lines_with({30: word}) if line != f"{word} 30"]
    [rejected] = result["rejected"]
    assert (rejected["sample_id"], rejected["reject_reason"]) == (id_of(f"{word} 30"), "worker_lost")
    assert rejected["stage"] == ("fragilepack" if "pack" in word else "fragile")
    detail = "ran past 2 s on one row alone" if "hang" in word else "its worker died"
    assert detail in rejected["reject_detail"]


def test_row_that_lets_no_thread_run_is_rejected_alone(results):
    result, lines = results["stuck"], BUILDS["stuck"][0]["a"]
    assert result["ok"], result
    assert result["shards"]["a"]["kept"] == [id_of(line) for line in lines if line != "stuck 7"]
    assert [r["sample_id"] for r in result["shards"]["a"]["rejected"]] == [id_of("stuck 7")]


def test_several_bad_rows_of_a_shard_are_found_within_its_attempts(results):
    result, lines = results["several"], BUILDS["several"][0]["a"]
    assert result["ok"], result
    assert result["shards"]["a"]["kept"] == [id_of(line) for line in lines if "line" in line]
    assert len(result["shards"]["a"]["rejected"]) == 5


def test_slow_neighbours_of_a_bad_row_are_kept(results):
    result, lines = results["slow"], BUILDS["slow"][0]["a"]
    assert result["ok"], result
    assert result["shards"]["a"]["kept"] == [id_of(line) for line in lines if "hang" not in line]


def test_more_such_rows_than_allowed_fail_the_shard(results):
    result = results["too many"]
    assert not result["ok"]
    assert "more than the 1 allowed (max_quarantined_frac)" in result["failures"][0]
