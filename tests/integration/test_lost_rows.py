"""A row that never ends, or kills its worker, costs itself alone: its neighbours are kept and the build is whole."""

import json
import subprocess
import sys

import pytest
from _builds import ROOT
from _fakes import id_of, write_shards

pytestmark = pytest.mark.ray
QUICK = {"deadline_s": 4, "row_deadline_s": 2, "heartbeat_s": 60}
WORDS = {"a": "hang", "b": "die", "c": "pack-hang", "d": "pack-die"}
"""What stands in row 30 of each shard: it hangs or dies in the map, or in the sink."""


@pytest.fixture(scope="module")
def builds():
    """Builds one after the other on one Ray: called with a folder and settings, it gives what came out."""
    with subprocess.Popen(
        [sys.executable, str(ROOT / "tests" / "_fragile.py")],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip

        def build(folder, **run_on):
            process.stdin.write(json.dumps({"folder": str(folder), "run_on": QUICK | run_on}) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield build
        process.stdin.close()


@pytest.fixture
def build(builds, tmp_path):
    def one_shard(lines, **run_on):
        write_shards(tmp_path / "in", {"a": lines})
        result = builds(tmp_path, **run_on)
        return result | result["shards"]["a"]

    return one_shard


@pytest.fixture(scope="module")
def side_by_side(builds, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lost")
    write_shards(folder / "in", {shard: lines_with({30: word}) for shard, word in WORDS.items()})
    return builds(folder)


def lines_with(bad, num_lines=51):
    return [f"{bad.get(n, 'line')} {n}" for n in range(num_lines)]


@pytest.mark.parametrize("shard", WORDS)
def test_only_the_row_that_loses_its_worker_is_rejected(side_by_side, shard):
    assert side_by_side["ok"], side_by_side
    word, result = WORDS[shard], side_by_side["shards"][shard]
    assert result["kept"] == [id_of(line) for line in lines_with({30: word}) if line != f"{word} 30"]
    [rejected] = result["rejected"]
    assert (rejected["sample_id"], rejected["reject_reason"]) == (id_of(f"{word} 30"), "worker_lost")
    assert rejected["stage"] == ("fragilepack" if "pack" in word else "fragile")
    detail = "ran past 2 s on one row alone" if "hang" in word else "its worker died"
    assert detail in rejected["reject_detail"]


def test_row_that_lets_no_thread_run_is_rejected_alone(build):
    lines = lines_with({7: "stuck"})
    result = build(lines, heartbeat_s=2, deadline_s=60)
    assert result["ok"], result
    assert result["kept"] == [id_of(line) for line in lines if line != "stuck 7"]
    assert [r["sample_id"] for r in result["rejected"]] == [id_of("stuck 7")]


def test_several_bad_rows_of_a_shard_are_found_within_its_attempts(build):
    lines = lines_with({3: "die", 20: "hang", 40: "die", 150: "boom", 180: "die"}, num_lines=200)
    result = build(lines, attempts=2)
    assert result["ok"], result
    assert result["kept"] == [id_of(line) for line in lines if "line" in line]
    assert len(result["rejected"]) == 5


def test_slow_neighbours_of_a_bad_row_are_kept(build):
    lines = [*lines_with({30: "hang", 10: "slow"}), "slow too", "slow as well"]
    result = build(lines, row_deadline_s=3)
    assert result["ok"], result
    assert result["kept"] == [id_of(line) for line in lines if "hang" not in line]


def test_more_such_rows_than_allowed_fail_the_shard(build):
    result = build(["die 1", "die 2", "line"], max_quarantined_frac=0.4)
    assert not result["ok"]
    assert "more than the 1 allowed (max_quarantined_frac)" in result["failures"][0]
