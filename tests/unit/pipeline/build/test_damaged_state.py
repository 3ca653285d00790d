"""Every file of state x wrong content x command: a true exit code and one line, never a traceback."""

import json
import os
import shutil
import sys
import tarfile

import pytest
from _tiny_chain import CAPTIONS, write_tar
from _tiny_chain import CHAIN as CHAIN_WITHOUT_WORDS

from cli import main as cli

CHAIN = CHAIN_WITHOUT_WORDS.replace('use = "emit"', 'use = "count_words"\n[[stage]]\nuse = "emit"')
STATE = (
    "run/plan.json", "run/published.json", "run/lock.json", "stages/read_webdataset-*/a.json",
    "stages/dedup-*/_all.json", "stages/dedup-*/a.json", "stages/count_words-*/_all.json", "stages/emit-*/a.json",
    "stages/emit-*/_all.json", "dataset/shards.json",
)  # fmt: skip
EVERY = int(os.environ.get("EDITLOOM_EVERY_FIELD", "25"))
"""One in so many wrong fields is tried."""
NUM_FLIPS = int(os.environ.get("EDITLOOM_NUM_FLIPS", "8"))
TABLES = ("stages/filter_caption-*/a.rejects.parquet", "stages/normalise_image-*/a.parquet", "stages/dedup-*/a.parquet")
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


def contents(right):
    """Contents that a JSON file may have: (name, bytes, or None for a folder)."""
    text = right.decode()
    yield from {
        "empty": b"", "null": b"null", "list": b"[]", "list of lists": b"[[], 1]", "text": b'"text"', "number": b"7",
        "object": b"{}", "nan": b"NaN", "deep": b"[" * 100_000, "deep object": b'{"shards":' * 5000,
        "huge number": b"1" + b"0" * 6000, "not UTF-8": b"\xff\xfe" + right, "cut": right[: len(right) // 2],
        "zeros": bytes(len(right)), "twice": (text.rstrip()[:-1] + "," + text.lstrip()[1:]).encode(),
        "nan in a field": text.replace("0,", "NaN,").encode(), "folder": None,
    }.items()  # fmt: skip
    for number, value in enumerate(every_field(json.loads(right))):
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


def outcomes(world, tmp_path, capsys, pattern, content):
    """(command, exit code, all that was printed) of every command on a copy of the run folder with that file."""
    folder, sample = world
    run = tmp_path / "run"
    shutil.copytree(folder / "run", run)
    (path,) = run.glob(pattern)
    put(path, content)
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
    (path,) = (world[0] / "run").glob(pattern)
    return path.read_bytes()


@pytest.mark.parametrize("pattern", STATE)
def test_file_of_state_of_any_content_gives_no_traceback(world, tmp_path, capsys, pattern):
    for number, (name, content) in enumerate(contents(original(world, pattern))):
        if name.startswith("field") and number % EVERY:
            continue
        for command, code, text in outcomes(world, tmp_path, capsys, pattern, content):
            check(name, command, code, text)
        assert code == 0, (name, text)


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
        for command, code, text in outcomes(world, tmp_path, capsys, pattern, content):
            check(name, command, code, text)


def test_damaged_table_is_named_with_what_to_do(world, tmp_path, capsys):
    (pattern, *_) = TABLES
    zeros = bytes(len(original(world, pattern)))
    found = {command: text for command, _, text in outcomes(world, tmp_path, capsys, pattern, zeros)}
    assert "a.rejects.parquet cannot be read as Parquet (" in found["explain"]
    assert "); remove it and build again" in found["explain"]
    assert "a.rejects.parquet is not what was written (sha256 differs)" in found["verify --deep"]
