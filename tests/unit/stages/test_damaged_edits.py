"""Files of published edits with damaged bytes: each edit is a row or a reject, or the input is refused by name."""

import random

import pytest
from _inputs import read_rows

from core.errors import PlanError, ShardFailed
from stages.read_edit_lines import LineReject, ReadEditLines
from stages.read_edit_tars import ReadEditTars
from stages.read_edit_triples import ReadEditTriples
from zoo.write_published import main

STAGES = {
    "imgedit": ReadEditTars(), "pico-banana": ReadEditLines(), "omniedit": ReadEditTriples(require_captions=False),
}  # fmt: skip
ROUNDS = 40


def damaged(data, rng):
    """The bytes with some of them changed, left out, repeated, or cut off."""
    at, size = rng.randrange(len(data)), rng.choice((1, 8, 600))
    return {
        "change": lambda: data[:at] + rng.randbytes(size) + data[at + size :],
        "leave out": lambda: data[:at] + data[at + size :],
        "repeat": lambda: data[: at + size] + data[at:],
        "cut off": lambda: data[:at],
    }[rng.choice(("change", "change", "leave out", "repeat", "cut off"))]()


@pytest.mark.parametrize("layout", STAGES)
def test_damage_ends_as_rejects_or_as_a_refusal_by_name(tmp_path, layout):
    assert main([str(tmp_path), "--layout", layout, "--count", "6", "--seed", "4"]) == 0
    rng = random.Random(layout)
    files = [path for path in sorted(tmp_path.rglob("*")) if path.is_file()]
    allowed = {None, *(reason.value for reason in LineReject)}
    ends = set()
    for _ in range(ROUNDS):
        path = rng.choice(files)
        whole = path.read_bytes()
        path.write_bytes(damaged(whole, rng))
        try:
            rows, _ = read_rows(STAGES[layout], tmp_path)
        except (PlanError, ShardFailed):
            ends.add("refused")
        else:
            found = {row["reject_reason"] for row in rows}
            ends |= found
            assert found <= allowed
            assert all(row["source_raw"] and row["target_raw"] for row in rows if row["reject_reason"] is None)
        path.write_bytes(whole)
    assert None in ends
    assert len(ends) > 1
