"""The best rows of each group, batch by batch."""

import pyarrow as pa
import pytest

from pipeline import partitions
from stages.pair_scores import best_rows
from stages.pair_scores.best_rows import Best, facts_of


def split(rules, table, number=0, rows_per_batch=1000, patch=None):
    """(ids of best rows, ids of other rows) of a rule."""
    patch.setattr(best_rows, "batches", lambda tables: partitions.batches(tables, rows_per_batch))
    facts = facts_of(rules, 0, table)
    parts = [facts.slice(start, 3) for start in range(0, facts.num_rows, 3)]
    made = list(best_rows._split(lambda: parts, number, rules[number].keep))
    return tuple([own for pair in made for own in pair[side]["id"].to_pylist()] for side in (0, 1))


@pytest.mark.parametrize("rows_per_batch", [1, 4, 1000])
def test_batches_do_not_change_who_is_best(monkeypatch, rows_per_batch):
    scores = [n * 7 % 10 / 10 for n in range(30)]
    table = pa.table({
        "sample_id": [f"s{n:02}" for n in range(30)], "parent_id": [f"p{n % 4}" for n in range(30)],
        "pair_image_cos": pa.array(scores, pa.float32()),
    })  # fmt: skip
    rule = Best(per="parent_id", keep=2, by="pair_image_cos")
    best, others = split([rule], table, rows_per_batch=rows_per_batch, patch=monkeypatch)
    wanted = {
        own
        for group in range(4)
        for own in sorted((f"s{n:02}" for n in range(group, 30, 4)), key=lambda s: (-scores[int(s[1:])], s))[:2]
    }
    assert set(best) == wanted
    assert sorted(best + others) == table["sample_id"].to_pylist()


def test_no_more_is_held_than_the_best_of_each_group(monkeypatch):
    held = []
    whole = best_rows._best
    monkeypatch.setattr(best_rows, "_best", lambda rows, *rest: held.append(rows.num_rows) or whole(rows, *rest))
    table = pa.table({
        "sample_id": [f"{n}" for n in range(1000)], "edit_type": ["add", "remove"] * 500,
        "turn": pa.array(range(1000), pa.int32()),
    })  # fmt: skip
    best, _ = split([Best(per="edit_type", keep=3, by="turn")], table, rows_per_batch=50, patch=monkeypatch)
    assert sorted(best) == ["994", "995", "996", "997", "998", "999"]
    assert max(held) <= 51 + 6
