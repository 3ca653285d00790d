"""Results of the commands as a person reads them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.build.funnel import EMPTY_REMEDY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


SHOWN_SHARDS = 5
FILE_WIDTH = 120
"""Columns of a table that goes to a file or a pipe."""


def _console() -> Console:
    width = None if sys.stdout.isatty() else FILE_WIDTH
    return Console(soft_wrap=True, highlight=False, width=width)


def _plain(text: str) -> None:
    _console().print(text, markup=False)


def _lines(*lines: str | None) -> None:
    for line in lines:
        if line:
            _plain(line)


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=escape(title), title_justify="left")
    for i, name in enumerate(columns):
        table.add_column(name, justify="left" if i == 0 else "right", overflow="fold", no_wrap=i == 0)
    return table


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


def show_plan(result: Mapping[str, Any]) -> None:
    """The chain with fingerprints, what is cached, and the estimate when there is one."""
    probed = any("estimated_rows" in s for s in result["stages"])
    columns = ["stage", "fingerprint", "recorded"] + (["rows", "disk", "time of one worker"] if probed else [])
    shards, listed, size = result["shards"], result["shards_of_input"], result["input_bytes"]
    read = f"{shards:,} shards" if shards == listed else f"for now {shards:,} of {listed:,} shards"
    table = _table(f"{result['manifest']}: {read}, {size_text(size)} of input, run folder {result['out']}", columns)
    for s in result["stages"]:
        row = [s["stage"], s["fingerprint"][:12], f"{s['done']}/{s['total']}"]
        if probed:
            row += [f"{s['estimated_rows']:,}", size_text(s["estimated_bytes"]), _seconds(s["estimated_worker_s"])]
        table.add_row(*row)
    console = _console()
    console.print(table)
    if probed:
        total_bytes = sum(s["estimated_bytes"] for s in result["stages"])
        total_s = sum(s["estimated_worker_s"] for s in result["stages"])
        console.print(f"in all about {size_text(total_bytes)} of disk and {_seconds(total_s)} of one worker")
    else:
        console.print("rows, disk and time: unknown; --probe 64 measures them on a sample")
    _show_licences(result["licences"])


def _show_licences(found: Mapping[str, Any]) -> None:
    """The expected verdict on the licences, and what contradicts the manifest."""
    for line in found["lines"] or ["no model is used, and no licence of the input is stated"]:
        _plain(f"licences of {found['covers']}: {line}")
    for warning in found["warnings"]:
        _plain(f"warning: {warning}")


def show_build(summary: Mapping[str, Any]) -> None:
    """The funnel and how the build ended."""
    if summary["nothing_to_do"]:
        _plain(f"{summary['out']}: every step has its record already; nothing to do")
    else:
        _console().print(_funnel(summary))
    for s in summary["stages"]:
        for note, count in s["notes"].items():
            _plain(f"note: {s['stage']}: {note}: {count:,}")
    if summary["shards_without_rows"]:
        names = summary["shards_without_rows"]
        more = f" and {len(names) - SHOWN_SHARDS:,} more" if len(names) > SHOWN_SHARDS else ""
        shown = f"{', '.join(names[:SHOWN_SHARDS])}{more}"
        _plain(f"note: {len(names):,} of {summary['num_shards']:,} shards kept no row: {shown}")
    for failure in summary["failures"]:
        _plain(f"failed: {failure['cause']}")
    if summary["stopped"]:
        _plain(f"stopped: {summary['stopped']}")
    if summary["steps_left"] or not (summary["ok"] or summary["empty"]):
        how = "interrupted" if summary["interrupted"] else "not complete"
        _plain(f"{how}: {summary['steps_left']:,} steps are left; run the same command to continue")
    elif summary["dataset"]:
        _plain(f"dataset: {summary['dataset']}")
        _plain(f"look at it: open {summary['dataset']}/report.html in a browser")
    _show_empty(summary["empty"], may_be=summary["ok"])
    _lines(summary["few_left"], _quota_line(summary["quota"]))


def _quota_line(quota: Mapping[str, Any] | None) -> str | None:
    """Whether all wanted rows are there, or the input ended before. None for a build without a quota."""
    if quota is None:
        return None
    wanted, kept, rows = quota["target_rows"], quota["kept"], quota["rows"]
    read, all_shards = quota["shards_read"], quota["shards_of_input"]
    if not quota["is_met"]:
        ended = f"the input ended: {kept:,} of {wanted:,} rows, all {all_shards:,} shards were read"
    else:
        ended = f"all {wanted:,} rows are there, from {read:,} of {all_shards:,} shards"
    lost = f"; later stages failed on {kept - rows:,} of them, see rejects.parquet" if rows < kept else ""
    return f"target_rows: {ended}{lost}"


def _show_empty(empty: str | None, *, may_be: bool) -> None:
    if empty:
        _plain(f"note: {empty}" if may_be else f"empty dataset: {empty}{EMPTY_REMEDY}")


def _funnel(summary: Mapping[str, Any]) -> Table:
    columns = ["stage", "shards done", "cached", "rows in", "rows out", "rejected"]
    table = _table(f"{summary['manifest']}, {_seconds(summary['elapsed_s'])}", columns)
    for s in summary["stages"]:
        numbers = (s["cached"], s["rows_in"], s["rows_out"])
        table.add_row(s["stage"], f"{s['done']}/{s['total']}", *(f"{n:,}" for n in numbers), _counts(s["rejects"]))
    return table


def show_status(result: Mapping[str, Any]) -> None:
    """How far the run is."""
    table = _table(str(result["out"]), ["stage", "recorded", "rows out", "rejected"])
    for s in result["stages"]:
        table.add_row(s["stage"], f"{s['done']}/{s['total']}", f"{s['rows_out']:,}", _counts(s["rejects"]))
    _console().print(table)
    _plain(f"at work: {result['holder'] or 'nobody'}; {'complete' if result['complete'] else 'not complete'}")
    _show_empty(result["empty"], may_be=result["may_be_empty"])


def show_story(story: Sequence[Mapping[str, Any]]) -> None:
    """One block a step of the sample's way."""
    for step in story:
        _plain(f"{step['stage']} ({step['shard']}): {step['fate']}")
        for name, value in step["row"].items():
            if value is not None:
                _plain(f"    {name}: {value}")


def size_text(count: float) -> str:
    """The number of bytes in the largest unit that leaves at least 1."""
    for unit in ("bytes", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _seconds(count: float) -> str:
    if count < 60:
        return f"{count:.1f} s"
    minutes = count / 60
    return f"{minutes:.1f} min" if minutes < 60 else f"{minutes / 60:.1f} h"
