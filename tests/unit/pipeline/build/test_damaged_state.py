"""Every file of state x wrong content x command: a true exit code and one line, never a traceback."""

import json
import os
import shutil
import sys
import tarfile

import pytest
from _records import put_line, record_line, records, stage_folders
from _tiny_chain import CAPTIONS, write_tar
from _tiny_chain import CHAIN as CHAIN_WITHOUT_WORDS

from cli import main as cli

CHAIN = CHAIN_WITHOUT_WORDS.replace('use = "emit"', 'use = "count_words"\n[[stage]]\nuse = "emit"')
STATE = ("run/plan.json", "run/published.json", "run/lock.json", "dataset/shards.json")
RECORDS = ("read_webdataset a", "dedup _", "dedup a", "count_words _all", "emit a", "emit _all")
"""A stage and the start of a shard's name: the record of the last such shard."""
RECORD_FILES = ("records.jsonl", "records-000001.jsonl")
EVERY = int(os.environ.get("EDITLOOM_EVERY_FIELD", "25"))
"""One in so many wrong fields is tried."""
NUM_FLIPS = int(os.environ.get("EDITLOOM_NUM_FLIPS", "8"))
TABLES = (
    "stages/filter_caption-*/a.rejects.parquet", "stages/normalise_image-*/a.parquet",
    "stages/normalise_image-*/a.bulk.parquet", "stages/dedup-*/a.parquet",
)  # fmt: skip
COMMANDS = ("status", "plan", "verify --deep", "explain", "report", "clean", "retry", "build", "verify")


def every_field(value):
    """The fields of the file and its first entries, each in turn of a wrong type, too large, or gone."""
    if isinstance(value, list):
        for changed in every_field(value[0]) if value else ():
            yield [changed, *value[1:]]
    if not isinstance(value, dict):
        return
    for key, own in value.items():
        yield {k: v for k, v in value.items() if k != key}
        for wrong in (None, [[]], {"x": {}}, "\n", -1, 10**30, True):
            if type(wrong) is not type(own):
                yield {**value, key: wrong}
        for changed in every_field(own):
            yield {**value, key: changed}


def texts(right):
    """Contents that a file of JSON, or of lines of JSON, may have: (name, bytes, or None for a folder)."""
    text = right.decode()
    return {
        "empty": b"", "null": b"null", "list": b"[]", "list of lists": b"[[], 1]", "text": b'"text"', "number": b"7",
        "object": b"{}", "nan": b"NaN", "deep": b"[" * 100_000, "deep object": b'{"shards":' * 5000,
        "huge number": b"1" + b"0" * 6000, "not UTF-8": b"\xff\xfe" + right, "cut": right[: len(right) // 2],
        "zeros": bytes(len(right)), "twice": (text.rstrip()[:-1] + "," + text.lstrip()[1:]).encode(),
        "nan in a field": text.replace("0,", "NaN,").encode(), "folder": None,
    }.items()  # fmt: skip


def contents(right):
    """The same for one JSON value, and some of its fields each with a wrong value."""
    yield from texts(right)
    for number, value in enumerate(every_field(json.loads(right))):
        if not number % EVERY:
            yield f"field {number}", json.dumps(value).encode()


def put(path, content):
    if content is None:
        path.unlink()
        (path / "inner").mkdir(parents=True)
    else:
        path.unlink()  # a tar of the dataset is a link to the stage's
        path.write_bytes(content)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """(folder with manifest, tar and finished run folder, id of a sample that was kept)."""
    folder = tmp_path_factory.mktemp("state")
    (folder / "tiny.toml").write_text(CHAIN)
    write_tar(folder / "a.tar", CAPTIONS)
    assert call(folder, folder / "run", "build") == 0
    (folder / "run/run/lock.json").write_text(json.dumps({"host": "x", "pid": 1, "run_id": "y", "renewed": 0.0}))
    with tarfile.open(folder / "run/dataset/a.tar") as tar:
        return folder, tar.getnames()[0].partition(".")[0]


def call(folder, run, command, sample="0" * 16):
    """The exit code of a command. Whatever `main` does not catch is raised."""
    name, *flags = command.split()
    args = [name, str(folder / "tiny.toml"), *([sample] if name == "explain" else []), "--out", str(run), *flags]
    args += [] if name == "clean" else ["--shards", str(folder / "a.tar")]
    args += {"build": ["--executor", "inprocess"], "report": ["--to", str(run.parent / "pages")]}.get(name, [])
    before, sys.argv = sys.argv, ["editloom", *args]
    try:
        cli.main()
    except SystemExit as ended:
        return ended.code
    finally:
        sys.argv = before


def one(run, pattern):
    (path,) = run.glob(pattern)
    return path


def outcomes(world, tmp_path, capsys, damage):
    """(command, exit code, all that was printed) of every command on a copy of the run folder that was damaged."""
    folder, sample = world
    run = tmp_path / "run"
    shutil.copytree(folder / "run", run)
    damage(run)
    for command in COMMANDS:
        code = call(folder, run, command, sample)
        captured = capsys.readouterr()
        yield command, code, captured.out + captured.err
    shutil.rmtree(run)


def check(name, command, code, text):
    assert code in (0, 1, 2), (name, command)
    for word in ("Traceback", "KeyError", "TypeError", "AttributeError", "a bug in", "pydantic"):
        assert word not in text, (name, command, text)


def original(world, pattern):
    return one(world[0] / "run", pattern).read_bytes()


def check_repaired(world, tmp_path, capsys, name, damage):
    """Check every command on the damaged folder: the build repairs it, and the last one, `verify`, agrees."""
    for command, code, text in outcomes(world, tmp_path, capsys, damage):
        check(name, command, code, text)
    assert code == 0, (name, text)


@pytest.mark.parametrize("pattern", STATE)
def test_file_of_state_of_any_content_gives_no_traceback(world, tmp_path, capsys, pattern):
    for name, content in contents(original(world, pattern)):
        check_repaired(world, tmp_path, capsys, name, lambda run, to=content: put(one(run, pattern), to))


@pytest.mark.parametrize("record", RECORDS)
def test_record_of_any_content_gives_no_traceback(world, tmp_path, capsys, record):
    stage, start = record.split()
    shard = max(shard for _, shard in records(world[0] / "run", stage) if shard.startswith(start))
    (folder,) = stage_folders(world[0] / "run", stage)
    for name, content in contents(record_line(world[0] / "run", folder, shard)):
        check_repaired(world, tmp_path, capsys, name, lambda run, to=content: put_line(run, folder, shard, to))


@pytest.mark.parametrize("file", RECORD_FILES)
@pytest.mark.parametrize("stage", ["dedup", "emit"])
def test_file_of_records_of_any_content_gives_no_traceback(world, tmp_path, capsys, stage, file):
    for name, content in texts(original(world, f"stages/{stage}-*/records.jsonl")):

        def damage(run, to=content):
            path = one(run, f"stages/{stage}-*/records.jsonl").with_name(file)
            path.touch()
            put(path, to)

        check_repaired(world, tmp_path, capsys, name, damage)


def damages(right):
    middle = len(right) // 2
    return {
        "empty": b"", "cut": right[:middle], "zeros": bytes(len(right)), "text": b"x" * len(right), "folder": None,
        "no foot": right[:-8] + bytes(8), "no head": bytes(8) + right[8:],
        **{f"bits {at}": right[:at] + bytes([right[at] ^ 0x55]) + right[at + 1 :]
           for at in range(4, len(right), max(1, len(right) // NUM_FLIPS))},
    }  # fmt: skip


@pytest.mark.parametrize("pattern", TABLES)
def test_damaged_table_gives_no_traceback(world, tmp_path, capsys, pattern):
    for name, content in damages(original(world, pattern)).items():
        damage = lambda run, to=content: put(one(run, pattern), to)  # noqa: E731
        for command, code, text in outcomes(world, tmp_path, capsys, damage):
            check(name, command, code, text)


def test_damaged_table_is_named_with_what_to_do(world, tmp_path, capsys):
    (pattern, *_) = TABLES
    zeros = bytes(len(original(world, pattern)))
    damaged = outcomes(world, tmp_path, capsys, lambda run: put(one(run, pattern), zeros))
    found = {command: text for command, _, text in damaged}
    assert "a.rejects.parquet cannot be read as Parquet (" in found["explain"]
    assert "); remove it and build again" in found["explain"]
    assert "a.rejects.parquet is not what was written (sha256 differs)" in found["verify --deep"]
