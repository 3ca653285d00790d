"""The table of the benchmark, and what in it counts as a failure."""

from __future__ import annotations

from typing import Any

HEAD = ("part", "case", "a second", "batch", "MFU", "GPU memory", "notes")
FLOPS = (
    "MFU: operations of forward and backward pass as torch.utils.flop_counter counts them (matrix products, "
    "convolutions and attention; a multiplication with an addition is two) x samples a second, over the card's dense "
    "bf16 peak by its data sheet ({peak})."
)
GB = 1e9


def of(result: dict[str, Any]) -> str:
    """The line about the machine, the table, and how MFU is counted."""
    machine = result["machine"]
    about = ", ".join(f"{name} {value}" for name, value in machine["versions"].items())
    peak = machine["peak_bf16_tflops"]
    head = (
        f"{machine['date']}, {machine['card'] or 'no GPU'}, driver {machine['driver'] or 'none'}, {machine['cores']} "
        f"cores, {about}{', in small' if machine['small'] else ''}, {result['seconds']:.0f} s in all"
    )
    lines = [
        head,
        "",
        *(_line(cells) for cells in (HEAD, ["---"] * len(HEAD), *map(_cells, result["rows"]))),
        "",
        FLOPS.format(peak=f"{peak:.0f} TFLOP/s" if peak else "not known for this card"),
    ]
    return "\n".join(lines)


def failures(result: dict[str, Any]) -> list[str]:
    """One line for each case that failed or took too long, and for each bar that was not reached."""
    found = [
        f"{row['part']}, {row['case']}: {row['status']}, {row.get('notes', '')}"
        for row in result["rows"] if row["status"] in ("failed", "timed out")
    ]  # fmt: skip
    return found + [f"{row['part']}: {one}" for row in result["rows"] for one in row.get("missed", ())]


def _cells(row: dict[str, Any]) -> list[str]:
    start = [row["part"], row["case"]]
    notes = row.get("notes", "")
    if row["status"] != "measured":
        return [*start, f"**{row['status']}**", "", "", "", notes]
    mfu, peak = row["mfu"], row["peak_bytes"]
    rate = row["per_second"]
    digits = 0 if rate >= 100 else 1 if rate >= 10 else 2
    return [
        *start, f"{rate:,.{digits}f} {row['unit']}", str(row["batch"]), f"{mfu:.0%}" if mfu else "",
        f"{peak / GB:.1f} GB" if peak else "", notes,
    ]  # fmt: skip


def _line(cells: Any) -> str:
    return f"| {' | '.join(str(cell).replace('|', '/') for cell in cells)} |"
