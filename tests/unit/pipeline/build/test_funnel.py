from collections import Counter

import pytest

from pipeline.build.funnel import few_left, losses, why_empty
from pipeline.build.result import StageTally


def stage(name, rows_in, kept, out=None, **rejects):
    return StageTally(
        stage=name, rows_in=rows_in, rows_kept=kept, rows_out=kept if out is None else out, rejects=Counter(rejects)
    )


def test_empty_dataset_names_each_stage_that_rejected_and_why():
    stages = [stage("read", 1200, 1100, a=60, b=40), stage("score", 1100, 1100), stage("filter", 1100, 0, c=1100)]
    stages.append(stage("emit", 0, 0))
    assert why_empty(stages) == (
        "no row reached emit: read rejected 100 of 1,200 rows (a 60, b 40); "
        "filter rejected 1,100 of 1,100 rows (c 1,100)"
    )


def test_chain_that_ends_with_its_rejecting_stage_names_it_once():
    assert why_empty([stage("read", 2, 0, a=2)]) == "no row is left after read: read rejected 2 of 2 rows (a 2)"


def test_input_without_rows_is_reported_as_such():
    assert why_empty([stage("read", 0, 0), stage("emit", 0, 0)]) == "no row reached emit: the input has no rows"


def test_chain_that_kept_a_row_is_not_empty():
    assert why_empty([stage("read", 9, 1, a=8), stage("emit", 1, 1)]) is None


def test_reasons_come_by_number_and_are_at_most_three():
    assert losses([stage("f", 20, 0, a=1, b=9, c=2, d=5, e=3)]) == "f rejected 20 of 20 rows (b 9, d 5, e 3, others 3)"


@pytest.mark.parametrize(("kept", "reported"), [(10, True), (11, False), (100, False)])
def test_share_of_rejected_rows_is_mentioned_when_it_is_large(kept, reported):
    stages = [stage("read", 100, 100), stage("filter", 100, kept, a=100 - kept), stage("emit", kept, kept)]
    expected = f"{100 - kept}% of the rows were rejected: filter rejected {100 - kept} of 100 rows (a {100 - kept})"
    assert few_left(stages) == (expected if reported else None)


def test_children_of_an_expand_do_not_hide_what_was_rejected():
    stages = [stage("read", 100, 4, a=96), stage("edit", 4, 4, 400), stage("emit", 400, 400)]
    assert few_left(stages) == "96% of the rows were rejected: read rejected 96 of 100 rows (a 96)"


def test_share_that_rounds_to_all_is_not_called_all():
    stages = [stage("read", 10_000_000, 1, a=9_999_999), stage("emit", 1, 1)]
    assert few_left(stages).startswith("99.9% of the rows were rejected")
