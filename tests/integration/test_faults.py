"""Faults during a build: each ends in exit 1 (2 for wrong usage) with one line, and the same command
completes once the cause is fixed."""

import os
import shutil
import subprocess
import tarfile

import pytest
from _builds import EDITLOOM, ROOT, build, command, tars

from pipeline.build.build import Build
from pipeline.plan.manifest import load_manifest
from pipeline.plan.plan import make_plan
from pipeline.run.inprocess import InProcessExecutor
from pipeline.store.storage import Storage

IN_PROCESS = ("--executor", "inprocess")
MISSING_MODEL = """
name = "x"
[[stage]]
use = "read_webdataset"
[[stage]]
use = "edit_caption_wordnet"
lexicon = "wordnet:9"
"""


def can_mount():
    """True where this user may mount a file system in a name space of its own."""
    script = "mount -t tmpfs none /mnt"
    unshare = shutil.which("unshare")
    return (
        unshare is not None
        and subprocess.run([unshare, "-rm", "sh", "-c", script], capture_output=True).returncode == 0
    )


@pytest.mark.skipif(not can_mount(), reason="needs a user name space to mount a small file system in")
def test_a_full_disk_stops_the_build_and_room_lets_it_go_on(light, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    first = command(small / "out", *IN_PROCESS, manifest=light)
    second = command(small / "out", *IN_PROCESS, manifest=light)
    script = (
        f"mount -t tmpfs -o size=1200k none {small}\n"
        f"{' '.join(first)}; echo first $?\n"
        f"mount -o remount,size=100m {small}\n"
        f"{' '.join(second)}; echo second $?\n"
        f"mount -o remount,ro {small}\n"
        f"{' '.join(second)}; echo third $?\n"
        f"ls {small}/out/dataset\n"
    )
    done = subprocess.run(["unshare", "-rm", "sh", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert "first 1\n" in done.stdout, done.stdout + done.stderr
    assert "no space left on device" in done.stdout
    assert "fix the cause and run the same command again" in done.stdout
    assert "second 0\n" in done.stdout
    assert "00003.tar" in done.stdout
    assert "third 1\n" in done.stdout
    assert "editloom: read-only file system: " in done.stderr
    assert "Traceback" not in done.stderr


def test_a_shard_that_vanishes_is_named_and_its_return_completes_the_build(light, tmp_path):
    folder = tmp_path / "shards"
    shutil.copytree(ROOT / "data" / "tiny", folder)
    storage = Storage(str(tmp_path / "out"))
    plan = make_plan(load_manifest(light), str(tmp_path / "out"), [str(folder)])
    hidden = tmp_path / "hidden.tar"
    (folder / "00002.tar").rename(hidden)
    result = Build(plan, storage, InProcessExecutor(storage), lambda event, fields: None).run()
    assert not result.ok
    (message,) = result.failures.values()
    assert message.startswith("stage read_webdataset, shard 00002: no such file or directory: ")
    hidden.rename(folder / "00002.tar")
    code, summary, _ = build(tmp_path / "out", *IN_PROCESS, shards=folder, manifest=light)
    assert code == 0
    assert next(s for s in summary["stages"] if s["stage"] == "normalise_image")["cached"] == 3
    assert list(tars(tmp_path / "out")) == [f"{n:05d}.tar" for n in range(4)]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_shard_without_read_permission_is_named(light, tmp_path):
    folder = tmp_path / "shards"
    shutil.copytree(ROOT / "data" / "tiny", folder)
    (folder / "00001.tar").chmod(0)
    code, summary, _ = build(tmp_path / "out", *IN_PROCESS, shards=folder, manifest=light)
    assert code == 1
    assert "shard 00001: permission denied" in summary["failures"][0]["cause"]


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ('name = "x"\ncolour = 1\n[[stage]]\nuse = "read_webdataset"\n', 2, "unknown key 'colour'"),
        ('name = "x"\n[[stage]]\nuse = "read_webdatset"\n', 2, "did you mean 'read_webdataset'?"),
        (
            'name = "x"\n[[stage]]\nuse = "read_webdataset"\n[[stage]]\nuse = "dedup"\n',
            2,
            "stage dedup reads column 'source_dhash', which no stage before it writes",
        ),
        (
            MISSING_MODEL,
            1,
            "no model is called 'wordnet:9'",
        ),
    ],
)
def test_a_wrong_manifest_gets_one_line_and_the_right_exit_code(text, code, line, tmp_path):
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    done = subprocess.run(
        [EDITLOOM, "build", str(path), "--shards", "data/tiny", "--out", str(tmp_path / "out")],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == code
    assert line in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.fixture
def one_empty(tmp_path):
    """A good shard next to one whose rows are all gone by the first stage."""
    folder = tmp_path / "shards"
    folder.mkdir()
    shutil.copyfile(ROOT / "data" / "tiny" / "00000.tar", folder / "good.tar")
    with tarfile.open(folder / "empty.tar", "w"):
        pass
    return folder


def test_a_shard_without_rows_does_not_stop_the_whole_chain(one_empty, tmp_path):
    code, summary, _ = build(tmp_path / "out", *IN_PROCESS, shards=one_empty)
    assert code == 0, summary
    assert list(tars(tmp_path / "out")) == ["good.tar"]


def test_no_rows_at_all_is_an_empty_dataset_where_that_is_allowed(light, one_empty, tmp_path):
    (one_empty / "good.tar").unlink()
    code, summary, _ = build(tmp_path / "out", *IN_PROCESS, shards=one_empty, manifest=light)
    assert (code, summary["empty"]) == (1, "no row reached emit: the input has no rows")
    allowed = tmp_path / "allowed.toml"
    allowed.write_text("allow_empty = true\n" + light.read_text())
    code, summary, _ = build(tmp_path / "out", *IN_PROCESS, shards=one_empty, manifest=allowed)
    assert code == 0, summary
    assert tars(tmp_path / "out") == {}
    assert (tmp_path / "out" / "dataset" / "report.html").exists()


def test_verify_sees_lost_pages_and_a_dataset_of_another_manifest(light, tmp_path):
    out = tmp_path / "out"
    assert build(out, *IN_PROCESS, manifest=light)[0] == 0
    verify = [EDITLOOM, "verify", str(light), "--shards", "data/tiny", "--out", str(out)]
    (out / "dataset" / "samples.parquet").unlink()
    done = subprocess.run(verify, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stdout.startswith("dataset/samples.parquet has None bytes")
    assert build(out, *IN_PROCESS, manifest=light)[0] == 0
    other = tmp_path / "other.toml"
    other.write_text(light.read_text().replace("max_distance = 0", "max_distance = 1"))
    assert build(out, *IN_PROCESS, manifest=other)[0] == 0
    done = subprocess.run(verify, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "dataset/ holds another result; build again" in done.stdout


def test_an_unknown_protocol_is_one_line(light, tmp_path):
    for flags in (["--shards", "foo://x", "--out", str(tmp_path / "o")], ["--shards", "data/tiny", "--out", "foo://x"]):
        done = subprocess.run(
            [EDITLOOM, "build", str(light), *flags], cwd=ROOT, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 2
        assert done.stderr == "editloom: 'foo://x' cannot be used: Protocol not known: foo\n"
