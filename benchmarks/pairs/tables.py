"""The tables of `run.py`, and the bars that its rows have to reach."""

from __future__ import annotations

from typing import Any

MOST_OF_PLAIN = 1.10
LEAST_OF_LOOP = 5.0
LEAST_OF_OPERATOR = 3.0
Rows = list[dict[str, Any]]


def of(result: dict[str, Any]) -> str:
    """All tables that the result has rows for."""
    makers = {"controllers": controllers, "plain": plain, "operator": operator, "loop": loop}
    return "\n\n".join(make(result[part]) for part, make in makers.items() if part in result)


def controllers(rows: Rows) -> str:
    """Layers in which the target has the source's attention."""
    return _table(
        ("controller", "guidance", "pairs", "self-attention", "cross-attention", "passes"),
        [
            (
                row["controller"], "on" if row["guidance_scale"] > 1 else "off", row["num_pairs"],
                f"{row['self_transferred']} of {row['self_layers']}",
                f"{row['cross_transferred']} of {row['cross_layers']}", "yes" if row["holds"] else "no",
            )
            for row in rows
        ],
    )  # fmt: skip


def plain(rows: Rows) -> str:
    """Prompt-to-prompt against plain sampling."""
    return _speed(rows, "plain", "plain sampling", "unet_ratio", "ratio inside the UNet")


def operator(rows: Rows) -> str:
    """Pairs against Data-Juicer's operator."""
    return _speed(rows, "operator", "Data-Juicer", None, "")


def loop(rows: Rows) -> str:
    """Accepted pairs a second."""
    return _table(
        (
            "records", "loop, pairs a second", "stage", "ratio", "ratio of seconds a candidate",
            "accepted, loop / stage", "candidates, loop / stage",
        ),
        [
            (
                row["num_records"], f"{row['per_second']['loop']:.2f}", f"{row['per_second']['stage']:.2f}",
                f"{row['ratio']:.2f}", f"{_a_candidate(row['sides']):.2f}",
                *(_both(row["sides"], key) for key in ("accepted", "drawn")),
            )
            for row in rows
        ],
    )  # fmt: skip


def _a_candidate(sides: dict[str, Any]) -> float:
    """How much longer the loop takes for a candidate: what batches and shared work give, without the early stop."""
    loop_s, stage_s = (sides[name]["seconds"] / sides[name]["drawn"] for name in ("loop", "stage"))
    return float(loop_s / stage_s)


def _both(sides: dict[str, Any], key: str) -> str:
    return f"{sides['loop'][key]:.0f} / {sides['stage'][key]:.0f}"


def missed(result: dict[str, Any]) -> list[str]:
    """One line for each bar that is not reached."""
    found = [
        f"{row['what']}, {row['layout']}: {row['ratio']:.2f} is more than {MOST_OF_PLAIN}"
        for row in result.get("plain", []) if row["ratio"] > MOST_OF_PLAIN
    ]  # fmt: skip
    barred = [row for row in result.get("operator", []) if has_bar(row)]
    for rows, least in ((barred, LEAST_OF_OPERATOR), (result.get("loop", []), LEAST_OF_LOOP)):
        found += [
            f"{row['what']}, {row.get('layout', 'zoo:sd')}: {row['ratio']:.2f} is less than {least}"
            for row in rows if row["ratio"] < least
        ]  # fmt: skip
    for row in result.get("controllers", []):
        is_meant = row["controller"] == "ours" or (row["guidance_scale"] > 1 and row["num_pairs"] == 1)
        if row["holds"] != is_meant:
            verdict = "passes, expected it to fail" if row["holds"] else "fails, expected it to pass"
            found.append(f"{row['controller']}, {row['num_pairs']} pairs, guidance {row['guidance_scale']}: {verdict}")
    return found


def has_bar(row: dict[str, Any]) -> bool:
    """Both sides draw pairs that pass the test of attention, and the device is not full with one pair."""
    theirs, ours = row["guidance_scales"]
    return bool(theirs > 1 >= ours and row["layout"] != "sdxl-small")


def _speed(rows: Rows, other: str, title: str, extra: str | None, extra_title: str) -> str:
    head = ["pipeline", "px", "guidance", "pairs", "steps", f"{title}, s", "ours, s", "ratio", extra_title]
    cells = [
        [
            row["layout"], 8 * row["latents"], _guidance(row), row["num_pairs"],
            row["num_steps"], f"{row['sides'][other]['seconds']:.2f}", f"{row['sides']['ours']['seconds']:.2f}",
            f"{row['ratio']:.2f}", f"{row[extra]:.2f}" if extra else "",
        ]
        for row in rows
    ]  # fmt: skip
    width = len(head) - (extra is None)
    return _table(head[:width], [line[:width] for line in cells])


def _guidance(row: dict[str, Any]) -> str:
    """`on`, `off`, or both where the two sides differ."""
    words = ["on" if scale > 1 else "off" for scale in row.get("guidance_scales", [row.get("guidance_scale", 0)])]
    return words[0] if len(set(words)) == 1 else f"theirs {words[0]}, ours {words[1]}"


def _table(head: Any, lines: Any) -> str:
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in (head, ["---"] * len(head), *lines))
