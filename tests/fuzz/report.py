"""The report of a run of the fuzz target: counts, kept cases, a summary."""

import re
import shutil
import subprocess
from collections import Counter
from dataclasses import dataclass, field

KEPT_OF_A_SHAPE = 3


@dataclass
class Tally:
    """Counts of one process, by kind of case or by the shape of a finding."""

    cases: Counter = field(default_factory=Counter)
    seconds: Counter = field(default_factory=Counter)
    peak: Counter = field(default_factory=Counter)
    codes: Counter = field(default_factory=Counter)
    found: Counter = field(default_factory=Counter)

    def count(self, case, found, ended, seconds):
        """Count one case. Its exit code is that of the last build."""
        self.cases[case.kind] += 1
        self.seconds[case.kind] += seconds
        self.peak[case.kind] = max(self.peak[case.kind], *(end.peak_bytes for _, end in ended))
        self.codes[f"{case.kind} {[end.code for argv, end in ended if argv[0] == 'build'][-1]}"] += 1
        self.found.update({shape_of(case, finding) for finding in found})

    def is_news(self, case, found):
        """True when enough like this one have not been kept yet."""
        return any(self.found[shape_of(case, finding)] <= KEPT_OF_A_SHAPE for finding in found)


def add(tallies):
    """All tallies as one."""
    total = Tally()
    for tally in tallies:
        for name, counts in tally.items():
            own = getattr(total, name)
            for key, count in counts.items():
                own[key] = max(own[key], count) if name == "peak" else own[key] + count
    return total


def shape_of(case, finding):
    """The finding without what differs from case to case."""
    return f"{case.kind} " + re.sub(r"[0-9a-f]{12,}|\d[\d.,:]*|'[^']*'|\"[^\"]*\"|/[\w./-]+", "*", finding)[:110]


def transcript(ended):
    """The commands and their output."""
    return "\n".join(
        f"$ editloom {' '.join(argv)}\n{end.out}{end.err}"
        f"(exit {end.code}, {end.seconds:.1f} s, {end.peak_bytes / 1e6:.0f} MB)\n"
        for argv, end in ended
    )


def keep(case, root, found, ended, out):
    """Keep the case's folder, without what was built, with a README."""
    to = out / case.name
    shutil.rmtree(to, ignore_errors=True)
    subprocess.run(["cp", "-a", str(root), str(to)], check=True)
    for name in ("out", "tmp", "log", "home", "report"):
        shutil.rmtree(to / name, ignore_errors=True)
    broken, what = ("\n".join(f"- {line}" for line in lines) for lines in (found, case.what))
    (to / "README.md").write_text(
        f"# {case.name}\n\nBroken:\n{broken}\n\nThe input:\n{what}\n\n"
        f"Run it again: `python tests/fuzz/run.py --case {to}`\n\n```\n{transcript(ended)}```\n",
        encoding="utf-8", errors="backslashreplace",
    )  # fmt: skip
    print(f"{case.name}: {found[0]}", flush=True)


def summary(total, seed):
    """A line for each kind of case, one for all, one for each shape of a finding."""
    lines = []
    for kind, count in total.cases.items():
        rate, peak = count / max(total.seconds[kind], 1e-9), total.peak[kind] / 1e6
        codes = [f"exit {k.split()[1]}: {n:,}" for k, n in sorted(total.codes.items()) if k.split()[0] == kind]
        lines.append(f"{kind:10}{count:7,} cases, {rate:4.1f}/s a process, peak {peak:5,.0f} MB, {', '.join(codes)}")
    num_found = sum(total.found.values())
    lines.append(
        f"{sum(total.cases.values()):,} cases, {num_found:,} findings of {len(total.found)} shapes; seed {seed}"
    )
    lines += [f"{count:6,} x {shape}" for shape, count in total.found.most_common()]
    return "\n".join(lines)
