import pytest
from _stage_inputs import rows
from pydantic import ValidationError

from pipeline.context import Context
from stages.price_edit import PriceEdit

MODEL = "openai:a@http://b/v1"


def costs(tokens, models=None, **prices):
    """(costs, notes) of rows with these (input tokens, output tokens)."""
    table = rows(
        edit_model=models or [MODEL] * len(tokens),
        edit_input_tokens=[first for first, _ in tokens], edit_output_tokens=[second for _, second in tokens],
    )  # fmt: skip
    context = Context(stage_name="price_edit")
    found = PriceEdit(**prices).open(context)(table)
    return found["edit_cost_usd"].to_pylist(), dict(context.notes)


def test_cost_is_the_price_of_the_image_and_of_the_tokens():
    prices = {"usd_per_image": 0.01, "usd_per_million_input_tokens": 5.0, "usd_per_million_output_tokens": 40.0}
    assert costs([(1000, 2000), (0, 0)], **prices) == ([0.095, 0.01], {})


def test_cost_of_unknown_tokens_is_unknown_and_counted():
    assert costs([(None, 5), (3, None), (1, 1)], usd_per_million_output_tokens=1.0) == (
        [None, None, 1e-6], {"edits without billed tokens": 2},
    )  # fmt: skip


def test_price_of_an_image_needs_no_tokens():
    assert costs([(None, None)], usd_per_image=0.04) == ([0.04], {})


def test_row_without_an_edit_of_its_own_costs_nothing():
    assert costs([(7, 7), (7, 7)], [None, MODEL], usd_per_image=0.04) == ([None, 0.04], {})


def test_stage_without_a_price_is_refused():
    with pytest.raises(ValidationError, match="no price is set; set usd_per_image"):
        PriceEdit()
