"""Judges how a case ended by files and output, without code of what it judges.

A finding is `invariant: what is wrong`, a line each. The invariants: `exit` (the exit code is true, the message one
line that says what happened), `rows` (every readable row is an output or a reject), `memory`, `hang`, `crash`,
`outside` (nothing is written, read, started or asked outside the case), `verify` (`verify --deep` agrees).
"""

import json
import re
from collections import Counter

import pyarrow.parquet as pq
from fuzz.child import MEMORY_BOUND

PAGES = ("shards.json", "samples.parquet", "rejects.parquet", "README.md", "report.html")
BUG = re.compile(
    r"^(?:editloom|failed|stopped): (?:stage \S+, shard \S+: )?(?:[\w ]+: )?"
    r"(?:(?!OSError|Connection|Timeout)\w*(?:Error|Exception)|Arrow\w+): "
)
"""A message that is an exception of Python instead of a sentence."""
ALL_REJECTED = re.compile(r"\bno row (is left|reached)\b", re.IGNORECASE)


def judge_ended(ended, command="build"):
    """Findings about any one command: crash, hang, memory, outside, and whether its message is one."""
    found = [f"outside: {line}" for line in ended.touched]
    if ended.killed:
        return [*found, f"{ended.killed}: {command} was ended after {ended.seconds:.0f} s, {_mb(ended.peak_bytes)}"]
    if ended.peak_bytes > MEMORY_BOUND:
        found.append(f"memory: {command} held {_mb(ended.peak_bytes)}, more than {_mb(MEMORY_BOUND)}")
    if ended.code not in (0, 1, 2):
        found.append(f"crash: {command} ended with {ended.code}: {last_line(ended.err)}")
    if "Traceback (most recent call last)" in ended.err + ended.out:
        return [*found, f"exit: {command} printed a traceback: {last_line(ended.err)}"]
    return found + _judge_message(ended, command)


def _judge_message(ended, command):
    """Yield faults of the last lines: one line for a command that failed, none for one that did not."""
    lines = [*ended.err.splitlines(), *ended.out.splitlines()]
    died = [line for line in ended.err.splitlines() if line.startswith("editloom: ")]
    failures = [line for line in ended.out.splitlines() if line.startswith(("failed: ", "stopped: "))]
    found = [f"exit: {command} shows a bug as its message: {line[:300]}" for line in lines if BUG.match(line)][:1]
    if ended.code == 0:
        return found + [f"exit: {command} ended with 0 and reported {line[:200]}" for line in died + failures]
    if ended.code in (1, 2) and len(died) != 1 and not _is_on_stdout(ended, command, died, failures):
        found.append(
            f"exit: {command} ended with {ended.code} and {len(died)} lines `editloom: …`: {last_line(ended.out)}"
        )
    return found


def _is_on_stdout(ended, command, died, failures):
    """True for failures reported on stdout instead: a summary, the findings of verify, an empty build."""
    if died or not ended.out.strip():
        return False
    if command == "build":
        reported = failures and re.search(r"^(not complete|interrupted): ", ended.out, re.MULTILINE)
        return bool(reported or is_all_rejected(ended))
    return command == "verify"


def is_all_rejected(ended):
    """True when the build's last line says that nothing was left."""
    return ended.code == 1 and any(ALL_REJECTED.search(last_line(text)) for text in (ended.out, ended.err))


def judge_build(case, root, build, verify):
    """All findings about a case that is one build and one `verify --deep`."""
    found = judge_ended(build) + judge_ended(verify, "verify")
    if build.killed or build.code not in (0, 1, 2):
        return found
    if build.code == 0:
        return found + _judge_complete(root, build) + judge_agreed(verify) + judge_rows(case, root)
    is_empty = is_all_rejected(build)
    if verify.code == 0 and not is_empty:
        found.append("verify: agrees with a build that ended with 1")
    if is_empty or not case.may_refuse:
        is_finished = is_empty and (root / "out/dataset/rejects.parquet").is_file()
        found += judge_rows(case, root, is_finished=is_finished, cause=_cause(build))
    return found


def _judge_complete(root, build):
    missing = [name for name in PAGES if not (root / "out/dataset" / name).is_file()]
    if missing:
        return [f"exit: the build ended with 0 and dataset/ lacks {', '.join(missing)}"]
    found = []
    if not read_table(root / "out/dataset/samples.parquet"):
        found.append("exit: the build ended with 0 and the dataset has no sample")
    if not re.search(r"^dataset: ", build.out, re.MULTILINE):
        found.append(f"exit: the build ended with 0 and names no dataset: {last_line(build.out)}")
    return found


def judge_agreed(verify):
    """Findings where `verify --deep` contradicts a finished build."""
    if verify.killed or verify.code == 0:
        return []
    return [f"verify: contradicts a build that ended with 0: {' '.join((verify.out or verify.err).split())[:300]}"]


def judge_rows(case, root, *, is_finished=True, cause=""):
    """Findings where a row is neither an output nor a reject. Of an unfinished build only the source is read."""
    source = read_source(root)
    outputs, rejects = read_dataset(root, source) if is_finished else (Counter(source.values()), Counter())
    rejects += read_rejects(root)
    found = []
    lost = [key for key in [*case.accounted, *case.kept] if not outputs[key] + rejects[key]]
    if lost:
        found.append(f"rows: {len(lost)} readable rows are neither output nor reject, {lost[0]!r:.80} first{cause}")
    dropped = [key for key in case.kept if is_finished and rejects[key] and not outputs[key]]
    if dropped:
        found.append(
            f"rows: {len(dropped)} healthy rows are rejected, {dropped[0]!r:.80} first: {_why(root, dropped[0])}"
        )
    count = len(source) + sum(read_rejects(root).values())
    if is_finished and case.num_rows is not None and count != case.num_rows:
        found.append(f"rows: the source accounts for {count} rows, the input has {case.num_rows}")
    return found


def read_source(root):
    """(shard, sample id) -> source key of the rows that the source stage kept."""
    return {
        (path.stem, row["sample_id"]): row["source_key"]
        for path in root.glob("out/stages/read_*/*.parquet")
        if not path.name.endswith((".rejects.parquet", ".bulk.parquet"))
        for row in read_table(path, ["sample_id", "source_key"])
    }


def read_rejects(root):
    """Source keys of the rows that the source stage rejected, counted."""
    rows = [row for path in root.glob("out/stages/read_*/*.rejects.parquet") for row in read_table(path)]
    return Counter(json.loads(row["row"]).get("source_key") for row in rows)


def read_dataset(root, source):
    """(source keys of outputs, of rejects of later stages), by the dataset's own tables."""
    outputs = Counter(row["source_key"] for row in read_table(root / "out/dataset/samples.parquet", ["source_key"]))
    rows = read_table(root / "out/dataset/rejects.parquet")
    return outputs, Counter(source.get((row["shard"], row["sample_id"])) for row in rows)


def _why(root, key):
    """The reject's stage, reason and detail."""
    source = read_source(root)
    for row in read_table(root / "out/dataset/rejects.parquet"):
        if key in (json.loads(row["row"]).get("source_key"), source.get((row["shard"], row["sample_id"]))):
            return f"{row['stage']} {row['reject_reason']} {row['reject_detail'] or ''}"[:200]
    return "?"


def read_table(path, columns=None):
    return pq.ParquetFile(path).read(columns, use_threads=False).to_pylist() if path.is_file() else []


def _cause(build):
    lines = [
        line for line in (build.out + build.err).splitlines() if line.startswith(("failed", "stopped", "editloom"))
    ]
    return "".join(f"; {line[:150]}" for line in lines[:3])


def last_line(text):
    return text.strip().rpartition("\n")[2][:300]


def _mb(count):
    return f"{count / 1e6:,.0f} MB"
