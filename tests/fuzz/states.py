"""Finished run folders one or several of whose files are replaced, then every command that reads them.

A build afterwards must bring the same dataset back or name a damaged file; a file that only a hash can tell from a good
one may be left for `verify --deep` to name.
"""

import hashlib
import json
import random
import re
import shutil

from _inputs import jpeg, sample, tar_of
from fuzz import oracle
from fuzz.cases import CAPTION, flipped, mutated, write_manifest

BUILD = ["build", "manifest.toml", "--shards", "in", "--out", "out", "--executor", "inprocess"]
COMPARED = (".tar", "shards.json", "samples.parquet", "rejects.parquet")
LOOKS = ("status", "plan", "verify", "explain", "clean", "report", "retry")
SHARDS = ("first", "second")
RECORDS = re.compile(r"stages/[^/]+/records(-\d+)?\.jsonl")
VALUES = (
    None,
    0,
    -1,
    2**70,
    1.5,
    "",
    "x",
    [],
    {},
    [[]],
    {"shards": 5},
    {"shards": [{}]},
    {"shards": {"a": 1}},
    [1],
    True,
    "\ud800",
    {"": ""},
)
TEXTS = (
    b"", b"{", b"null", b"[]", b"{}", b"5", b'"x"', b"\xff\xfe{\0}\0", b"\xef\xbb\xbf{}", b"[" * 100_000,
    b'{"a":' * 50_000, b"NaN", b"\0" * 40, b"9" * 6000,
)  # fmt: skip


def make(rng, folder, case):
    """A healthy input of two tars, what is done to the run folder, and which commands look at it."""
    write_manifest(folder, 'use = "read_webdataset"')
    for number, shard in enumerate(SHARDS):
        rows = [sample(f"{shard}{n}", jpeg(10 * number + n), CAPTION if n else "bad") for n in range(4)]
        (folder / f"in/{shard}.tar").write_bytes(tar_of(*(m for row in rows for m in row)))
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        case.damage.append([rng.random(), rng.choice(OPERATIONS).__name__, rng.randrange(2**32)])
    case.commands = [[name] for name in rng.sample(LOOKS, 3)]


def arguments(name, ident):
    """The command line of a look. `ident` is a sample's id."""
    flags = {"explain": [ident], "clean": ["--dry-run"], "report": ["--to", "report"]}.get(name, [])
    shards = [] if name == "clean" else ["--shards", "in"]
    return [name, "manifest.toml", *flags, *shards, "--out", "out"]


def run(case, root, command):
    """Findings of the whole case. `command(argv)` gives how one command ended."""
    first = command(BUILD)
    if first.code != 0:
        return [*oracle.judge_ended(first), f"exit: the healthy build ended with {first.code}"]
    before = dataset_of(root)
    ident = sample_id(root)
    sizes = {p: p.stat().st_size for p in sorted((root / "out").rglob("*")) if p.is_file()}
    paths = []
    for pick, operation, seed in case.damage:
        path, what = damage(root / "out", pick, operation, random.Random(seed))
        paths.append(path)
        case.what.append(f"{path.relative_to(root / 'out')}: {what}")
    damaged = {str(p.relative_to(root / "out")): p.is_file() and p.stat().st_size == sizes.get(p) for p in paths}
    found = []
    for (name,) in case.commands:
        found += oracle.judge_ended(command(arguments(name, ident)), name)
    again = command(BUILD)
    verify = command(["verify", "--deep", *arguments("verify", ident)[1:]])
    found += oracle.judge_ended(again) + oracle.judge_ended(verify, "verify")
    if again.killed or verify.killed:
        return found
    return found + judge_repair(root, before, damaged, again, verify)


def judge_repair(root, before, damaged, again, verify):
    """Findings where the second build neither repaired the dataset nor named what is damaged."""
    files = [name.rpartition("/")[2] for name in damaged]
    names = {*files, *(file.split(".")[0] for file in files)}
    if any(RECORDS.fullmatch(name) for name in damaged):
        names |= {*(f"shard {shard}" for shard in (*SHARDS, "_")), "dataset/"}  # they list the dataset's files, too
    if again.code != 0:
        if any(name in again.out + again.err for name in names):
            return []
        return [f"exit: the build after the damage names no file of it: {oracle.last_line(again.err or again.out)}"]
    is_same = dataset_of(root) == before
    if verify.code == 0:
        return (
            []
            if is_same
            else [f"verify: agrees with another dataset than was built before the damage of {', '.join(damaged)}"]
        )
    is_left = any(is_hidden or RECORDS.fullmatch(name) for name, is_hidden in damaged.items())
    if is_left and any(name in verify.out for name in names):
        return []
    return oracle.judge_agreed(verify)


def dataset_of(root):
    """Name -> hash of the files that every build of this input makes with the same bytes."""
    files = (p for p in sorted((root / "out/dataset").glob("*")) if p.name.endswith(COMPARED) and p.is_file())
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def sample_id(root):
    return oracle.read_table(root / "out/dataset/samples.parquet", ["sample_id"])[0]["sample_id"]


def damage(out, pick, operation, rng):
    """(file, what was done) of one damaged file of the run folder."""
    files = sorted(p for p in out.rglob("*") if p.is_file())
    path = files[int(pick * len(files))]
    done = next(o for o in OPERATIONS if o.__name__ == operation)(path, rng)
    return path, f"{operation} {done or ''}".strip()


def flip(path, rng):
    raw = path.read_bytes()
    if raw:
        path.write_bytes(flipped(rng, raw)[0])


def mutate(path, rng):
    raw = path.read_bytes()
    if not raw:
        return "empty"
    out, described, _ = mutated(rng, raw)
    path.write_bytes(out)
    return described


def delete(path, rng):
    path.unlink()


def other_text(path, rng):
    text = rng.choice(TEXTS)
    path.unlink()
    path.write_bytes(text)
    return repr(text[:20])


def other_file(path, rng):
    """The content of another file of the same kind."""
    root = next(p for p in path.parents if p.name == "out")
    others = [p for p in sorted(root.rglob(f"*{path.suffix}")) if p.is_file() and p != path]
    if others:
        other = rng.choice(others)
        path.unlink()
        shutil.copyfile(other, path)
        return f"that of {other.relative_to(root)}"
    return "none"


def folder_instead(path, rng):
    path.unlink()
    path.mkdir()


def link_instead(path, rng):
    path.unlink()
    target = rng.choice(("../secret/photo.jpg", path.name, "/nowhere"))
    path.symlink_to(target)
    return target


def unreadable_json(path, rng):
    """Another value somewhere in the JSON of the file, or of one of its lines, or plain damage where it is no JSON."""
    if path.suffix not in (".json", ".jsonl"):
        return mutate(path, rng)
    lines = path.read_bytes().splitlines() if path.suffix == ".jsonl" else [path.read_bytes()]
    number = rng.randrange(len(lines)) if lines else 0
    try:
        value = json.loads(lines[number])
    except (ValueError, IndexError):
        return mutate(path, rng)
    places = list(_places(value))
    new = rng.choice(VALUES)
    if not places:
        return mutate(path, rng)
    holder, key = rng.choice(places)
    if rng.random() < 0.2:
        del holder[key]
        described = f"without {key!r}"
    else:
        holder[key] = new
        described = f"{key!r} is {new!r}"
    lines[number] = json.dumps(value, indent=1 if path.suffix == ".json" else None).encode()
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return f"{described} in line {number}"


def _places(value):
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(items):
        yield value, key
        yield from _places(inner)


def cut_line(path, rng):
    """A file of lines that ends within one of them, or lacks it, or has lines twice, as no build leaves it."""
    lines = path.read_bytes().splitlines(keepends=True)
    if path.suffix != ".jsonl" or not lines:
        return mutate(path, rng)
    at = rng.randrange(len(lines))
    what = rng.choice(("cut", "without", "twice"))
    cut = lines[at][: rng.randrange(len(lines[at]))]
    path.write_bytes(b"".join({"cut": [*lines[:at], cut], "without": lines[:at] + lines[at + 1 :],
                               "twice": [*lines[: at + 1], *lines[at:]]}[what]))  # fmt: skip
    return f"{what} line {at}"


OPERATIONS = (flip, mutate, delete, other_text, other_text, other_file, folder_instead, link_instead, cut_line,
              unreadable_json, unreadable_json, unreadable_json, unreadable_json)  # fmt: skip
