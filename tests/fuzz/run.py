"""Fuzz the whole command: python tests/fuzz/run.py --seconds 120 --seed 1 [--kinds tars,images] [--case FOLDER].

Each case is made from (kind, seed, number), built by `editloom build` in a forked child, checked by `verify --deep`,
and judged by the oracle. What broke an invariant is kept in `--out` as a folder: input, manifest, and README.md with
what was broken, the output and how to run it again. Exit 1 when anything was found.
"""

import argparse
import gc
import importlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):  # no thread may be there when a child is forked
    os.environ.setdefault(name, "1")
sys.path[0] = str(Path(__file__).resolve().parents[1])

from _inputs import jpeg  # noqa: E402  the path has to be set before
from fuzz import cases, child, oracle, report, states, web  # noqa: E402

KINDS = {
    "tars": "tars",
    "images": "images",
    "captions": "captions",
    "parquet": "tables",
    "http": "answers",
    "state": "states",
}
WORK = Path(tempfile.gettempdir()) / f"fuzz-editloom-{os.getuid()}"
"""Cases run here, each in a folder of its own name, so that one that has its folder in its input can be run again."""
IN_FULL_FRAC = 0.125
"""Of the cases; in these the interpreter ends as it does for a user, which takes longer than the build itself."""


def main():
    args = arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    WORK.mkdir(exist_ok=True)
    warm_up()
    if args.case:
        return replay(args.case.parent if args.case.is_file() else args.case)
    print(
        f"fuzzing {', '.join(args.kinds)} for {args.seconds:g} s, seed {args.seed}, {args.jobs} processes", flush=True
    )
    jobs = [fork_job(args, number) for number in range(args.jobs)]
    for pid in jobs:
        os.waitpid(pid, 0)
    reports = [args.out / f"job-{number}.json" for number in range(args.jobs)]
    if not all(path.is_file() for path in reports):
        print("a process of the fuzz target itself died")
        return 1
    total = report.add(json.loads(path.read_text()) for path in reports)
    print(report.summary(total, args.seed))
    return int(bool(total.found))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kinds", type=lambda text: text.split(","), default=list(KINDS), help=f"of {','.join(KINDS)}")
    parser.add_argument("--case", type=Path, help="Folder of a kept case, or its case.json: run it alone")
    parser.add_argument("--out", type=Path, default=Path("runs/fuzz"), help="Cases that broke something are kept here")
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    unknown = set(args.kinds) - set(KINDS)
    if unknown:
        parser.error(f"unknown kind {', '.join(sorted(unknown))}; known: {', '.join(KINDS)}")
    return args


def warm_up():
    """Import all that a build imports."""
    for module in KINDS.values():
        importlib.import_module(f"fuzz.{module}")
    case = cases.Case(kind="warm-up", seed=1, number=os.getpid())
    root = prepare(case)
    for kind in ("state", "http"):
        make_of(kind)(random.Random(0), root, case)
        with web.serving(root, case.port):
            child.warm_up(states.BUILD, root)
        child.warm_up(states.arguments("verify", ""), root)
        shutil.rmtree(root / "out")
        shutil.rmtree(root / "in")
        (root / "in").mkdir()
    shutil.rmtree(root)
    for number in range(70):
        cases.jpeg_of(number)
    gc.collect()
    gc.freeze()  # what is imported is not looked through again by every child


def make_of(kind):
    return importlib.import_module(f"fuzz.{KINDS[kind]}").make


def make(case):
    """(the case or None, its folder), made in a child that does not count for the command."""
    root = prepare(case)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            make_of(case.kind)(cases.rng_of(case), root, case)
            case.save(root)
            code = 0
        except BaseException:  # noqa: BLE001  nothing may continue in the parent's place
            sys.excepthook(*sys.exc_info())
        os._exit(code)
    return (cases.load(root) if os.waitpid(pid, 0)[1] == 0 else None), root


def prepare(case):
    """The empty folder in which the case will be made and run."""
    root = WORK / case.name
    shutil.rmtree(root, ignore_errors=True)
    for name in ("in", "secret"):
        (root / name).mkdir(parents=True)
    (root / "secret/photo.jpg").write_bytes(jpeg(999))
    return root


def fork_job(args, number):
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            (args.out / f"job-{number}.json").unlink(missing_ok=True)
            (args.out / f"job-{number}.json").write_text(json.dumps(vars(fuzz(args, number))))
            code = 0
        except BaseException:  # noqa: BLE001  nothing may continue in the parent's place
            sys.excepthook(*sys.exc_info())
        os._exit(code)
    return pid


def fuzz(args, job):
    """Run this process's share of the cases until the time is over."""
    reported = report.Tally()
    number, until = job, time.monotonic() + args.seconds
    while time.monotonic() < until:
        kind, started = args.kinds[number // args.jobs % len(args.kinds)], time.monotonic()
        case, root = make(cases.Case(kind=kind, seed=args.seed, number=number))
        if case is None:
            reported.found[f"{kind} a case could not be made: a fault of the fuzz target"] += 1
        else:
            found, ended = run_case(case, root)
            reported.count(case, found, ended, time.monotonic() - started)
            if reported.is_news(case, found):
                report.keep(case, root, found, ended, args.out)
        shutil.rmtree(root)
        number += args.jobs
    return reported


def run_case(case, root):
    """(findings, [(arguments, how it ended)]) of the case that lies in `root`."""
    ended = []
    in_full = random.Random(f"{case.name} ends in full").random() < IN_FULL_FRAC

    def command(argv):
        ended.append((argv, child.run(argv, root, in_full=in_full, port=case.port)))
        return ended[-1][1]

    before = snapshot(root)
    if case.kind == "state":
        found = states.run(case, root, command)
    else:
        shards = ["--shards", case.shards, "--out", "out"]
        with web.serving(root, case.port):
            build = command(["build", "manifest.toml", *shards, "--executor", "inprocess"])
        verify = command(["verify", "manifest.toml", *shards, "--deep"])
        found = oracle.judge_build(case, root, build, verify)
    after = snapshot(root)
    found += [
        f"outside: {name} changed" for name in sorted(before.keys() | after) if before.get(name) != after.get(name)
    ]
    return sorted(set(found)), ended


def snapshot(root):
    """The files outside the folders that a command may write to."""
    skipped = {*child.WRITABLE, "home", "case.json"}
    tops = (p for p in root.iterdir() if p.name not in skipped)
    found = {p: p.lstat() for top in tops for p in (top, *top.rglob("*"))}
    found |= {p: p.lstat() for name in ("home", "tmp") for p in (root / name).glob("*")}
    return {
        str(p.relative_to(root)): (s.st_size, s.st_mode, s.st_mtime_ns if not p.is_dir() else 0)
        for p, s in found.items()
    }


def replay(folder):
    """Run a kept case alone and print what is found."""
    case = cases.load(folder)
    root = WORK / case.name
    shutil.rmtree(root, ignore_errors=True)
    subprocess.run(["cp", "-a", str(folder), str(root)], check=True)
    for name in ("out", "tmp", "log", "report"):
        shutil.rmtree(root / name, ignore_errors=True)
    found, ended = run_case(case, root)
    print(report.transcript(ended))
    print("\n".join(found) or "nothing is broken", f"\nits folder is {root}", flush=True)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
