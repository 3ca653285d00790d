"""The fuzz target: each invariant fails on a planted fault, and good input is good."""

import http.client
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
from _builds import EDITLOOM
from _inputs import jpeg, sample, tar_of
from fuzz import answers, captions, cases, child, images, oracle, report, states, tables, tars, web

pytestmark = pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")

MAKERS = {"tars": tars, "images": images, "captions": captions, "parquet": tables, "http": answers, "state": states}


def fail(message, code=1):
    print(message, file=sys.stderr)
    sys.exit(code)


PLANTED = {
    "a traceback": (lambda: 1 / 0, "exit: build printed a traceback: ZeroDivisionError"),
    "a crash": (lambda: os.kill(os.getpid(), signal.SIGKILL), "crash: build ended with -9"),
    "another exit code": (lambda: sys.exit(134), "crash: build ended with 134"),
    "a failure without a word": (lambda: sys.exit(1), "exit: build ended with 1 and 0 lines"),
    "two messages": (lambda: fail("editloom: a\neditloom: b"), "exit: build ended with 1 and 2 lines"),
    "a bug as message": (lambda: fail("editloom: KeyError: 'step'"), "exit: build shows a bug as its message"),
    "an error and exit 0": (lambda: fail("editloom: disk full", 0), "exit: build ended with 0 and reported"),
    "a hang": (lambda: time.sleep(30), "hang: build was ended"),
    "a file next to OUT": (lambda: Path("evil").write_text("x"), "opens for writing: <case>/evil"),
    "a file in the input": (lambda: Path("in/a.tar").write_text("x"), "opens for writing: <case>/in/a.tar"),
    "a folder elsewhere": (lambda: Path("evil").mkdir(), "os.mkdir: <case>/evil"),
    "a file through a link": (lambda: Path("tmp/link/evil").write_text("x"), "opens for writing: <case>/in/evil"),
    "a file outside the input": (
        lambda: Path("in/../secret/x").read_text(),
        "reads outside its input: <case>/secret/x",
    ),
    "a process": (lambda: subprocess.run(["true"]), "starts a process"),
    "a connection": (lambda: socket.socket().connect_ex(("127.0.0.1", 9)), "connects to"),
}


@pytest.fixture
def root(tmp_path):
    for name in ("in", "secret", "tmp"):
        (tmp_path / name).mkdir()
    (tmp_path / "secret/x").write_text("x")
    (tmp_path / "tmp/link").symlink_to("../in")
    return tmp_path


def judged(root, command, monkeypatch, **options):
    """Findings about a command in a fork of the tests' process, which may hold more memory than one may."""
    monkeypatch.setattr("cli.main.main", command)
    for module, bound in ((child, options.pop("memory_bound", 1 << 40)), (oracle, 1 << 40)):
        monkeypatch.setattr(module, "MEMORY_BOUND", bound)
    return oracle.judge_ended(child.run(["build"], root, **options))


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_of_a_command_is_found(root, name, monkeypatch):
    command, wanted = PLANTED[name]
    found = judged(root, command, monkeypatch, limit_s=0.5 if name == "a hang" else 20)
    assert any(wanted in finding for finding in found), found


def test_a_command_that_behaves_is_not_accused(root, monkeypatch):
    assert judged(root, lambda: Path("out").mkdir(), monkeypatch) == []
    assert judged(root, lambda: fail("editloom: shard 'x' is not there", 2), monkeypatch) == []


def test_memory_over_the_bound_is_found_and_ended(root, monkeypatch):
    found = judged(root, lambda: time.sleep(30), monkeypatch, memory_bound=1)
    assert found[0].startswith("memory: build was ended")
    monkeypatch.undo()
    ended = child.Ended(code=0, out="", err="", peak_bytes=2_000_000_000, seconds=1)
    assert oracle.judge_ended(ended) == ["memory: build held 2,000 MB, more than 1,500 MB"]


def command(root, *argv):
    line = [EDITLOOM, *argv, "--shards", "in", "--out", "out"]
    done = subprocess.run(line, cwd=root, capture_output=True, text=True, timeout=120)
    return child.Ended(code=done.returncode, out=done.stdout, err=done.stderr, peak_bytes=0, seconds=0)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A finished build of two samples that are kept and two that are not, and its verification."""
    root = tmp_path_factory.mktemp("fuzz")
    (root / "in").mkdir()
    cases.write_manifest(root, 'use = "read_webdataset"')
    rows = [sample(f"s{n}", jpeg(n, (96, 80) if n else (8, 8)), cases.CAPTION if n < 3 else None) for n in range(4)]
    (root / "in/a.tar").write_bytes(tar_of(*(member for row in rows for member in row)))
    build = command(root, "build", "manifest.toml", "--executor", "inprocess")
    return SimpleNamespace(root=root, build=build, verify=command(root, "verify", "manifest.toml", "--deep"))


def judge(built, **changes):
    expected = {"accounted": ["s0", "s3"], "kept": ["s1", "s2"], "num_rows": 4} | changes
    case = cases.Case(kind="tars", seed=0, number=0, **expected)
    return oracle.judge_build(case, built.root, built.build, built.verify)


def test_a_build_that_is_right_is_not_accused(built):
    assert judge(built) == []


def test_a_row_that_vanished_is_found(built):
    assert judge(built, accounted=["s9"]) == ["rows: 1 readable rows are neither output nor reject, 's9' first"]


def test_a_healthy_row_that_was_rejected_is_found(built):
    (found,) = judge(built, kept=["s0", "s1"])
    assert found.startswith("rows: 1 healthy rows are rejected, 's0' first: normalise_image too_small")


def test_rows_that_were_merged_are_found(built):
    assert judge(built, num_rows=5) == ["rows: the source accounts for 4 rows, the input has 5"]


def test_an_unfinished_dataset_with_exit_0_is_found(built, monkeypatch):
    monkeypatch.setattr(oracle, "PAGES", (*oracle.PAGES, "missing.html"))
    assert judge(built) == ["exit: the build ended with 0 and dataset/ lacks missing.html"]


def test_a_verification_that_disagrees_is_found(built):
    wrong = child.Ended(code=1, out="dataset/a.tar: sha256 differs", err="", peak_bytes=0, seconds=0)
    failed = child.Ended(code=1, out="failed: a\nnot complete: b", err="", peak_bytes=0, seconds=0)
    root, build, verify = built.root, built.build, built.verify
    case = cases.Case(kind="tars", seed=0, number=0)
    assert "verify: contradicts" in oracle.judge_build(case, root, build, wrong)[0]
    assert oracle.judge_build(case, root, failed, verify) == ["verify: agrees with a build that ended with 1"]


@pytest.mark.parametrize("kind", MAKERS)
def test_a_case_is_made_from_its_seed_alone(tmp_path, kind):
    made = []
    for name in ("a", "b"):
        root = tmp_path / name / "x"
        (root / "in").mkdir(parents=True)
        case = cases.Case(kind=kind, seed=1, number=2)
        MAKERS[kind].make(cases.rng_of(case), root, case)
        files = sorted(p for p in root.rglob("*") if p.is_file() and not p.is_symlink())
        made.append((case, [(p.name, p.read_bytes().replace(str(root).encode(), b"")) for p in files]))
    assert made[0] == made[1]


def test_what_is_called_a_good_answer_is_read_by_urllib(tmp_path, monkeypatch):
    monkeypatch.setattr(http.client, "_MAXHEADERS", 1000)
    rng, number, paths = random.Random(1), 0, {}
    port = web.free_port(rng)
    for make in set(answers.GOOD):
        for _ in range(12):
            paths |= {
                f"/{number}": make(rng, number, port),
                f"/{number}.direct": web.image_answer(cases.jpeg_of(number)),
            }
            number += 1
    web.save(paths, tmp_path)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with web.serving(tmp_path, port):
        for n in range(number):
            with opener.open(f"http://127.0.0.1:{port}/{n}", timeout=10) as answer:
                assert cases.jpeg_of(n)[:2] in answer.read() or answer.headers["Content-Encoding"], n


def test_a_run_folder_that_is_not_repaired_is_found(tmp_path):
    (tmp_path / "out/dataset").mkdir(parents=True)
    good = child.Ended(code=0, out="", err="", peak_bytes=0, seconds=0)
    reported = child.Ended(code=1, out="dataset/first.tar: sha256 differs", err="", peak_bytes=0, seconds=0)
    hidden, seen = {"dataset/first.tar": True}, {"dataset/first.tar": False}
    before = {"first.tar": "another hash"}
    assert "agrees with another dataset" in states.judge_repair(tmp_path, before, seen, good, good)[0]
    assert "contradicts a build" in states.judge_repair(tmp_path, before, seen, good, reported)[0]
    assert "names no file of it" in states.judge_repair(tmp_path, before, {"dataset/x.md": True}, reported, reported)[0]
    assert states.judge_repair(tmp_path, before, hidden, good, reported) == []
    assert states.judge_repair(tmp_path, {}, seen, good, good) == []


def test_a_record_that_only_verify_sees_as_wrong_is_no_finding(tmp_path):
    (tmp_path / "out/dataset").mkdir(parents=True)
    good = child.Ended(code=0, out="", err="", peak_bytes=0, seconds=0)
    counted = "stage emit, shard first: 3 rows in, 2 kept, 0 rejected"
    reported = child.Ended(code=1, out=counted, err="", peak_bytes=0, seconds=0)
    damaged = {"stages/emit-1/records.jsonl": False}
    assert states.judge_repair(tmp_path, {}, damaged, good, reported) == []
    assert states.judge_repair(tmp_path, {}, damaged, reported, reported) == []
    assert "contradicts a build" in states.judge_repair(tmp_path, {}, {"run/events-1.jsonl": False}, good, reported)[0]


def test_a_line_of_a_damaged_file_is_cut_or_lost_or_there_twice(tmp_path):
    lines = [f'{{"shard": "{n}", "rows": {n}}}\n'.encode() for n in range(4)]
    found = set()
    for seed in range(60):
        (tmp_path / "records.jsonl").write_bytes(b"".join(lines))
        spoil = states.cut_line if seed % 2 else states.unreadable_json
        done = spoil(tmp_path / "records.jsonl", random.Random(seed))
        what, number = done.split()[0], int(done.split()[-1])
        left = (tmp_path / "records.jsonl").read_bytes()
        assert left != b"".join(lines), done
        assert sum(line in left for line in lines) == {"cut": number, "twice": 4}.get(what, 3), done
        found.add(what)
    assert found >= {"cut", "without", "twice", "'rows'", "'shard'"}


def test_findings_that_differ_in_numbers_and_names_have_one_shape():
    case = cases.Case(kind="tars", seed=0, number=0)
    lines = ("rows: 3 rows are lost, 's1x0' first", "rows: 12 rows are lost, 'a' first")
    assert len(Counter(report.shape_of(case, line) for line in lines)) == 1
