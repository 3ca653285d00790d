"""Shares of dropped conditions, and what is encoded of a batch."""

import pytest
import torch

from core.errors import SettingError
from trainer.diffusion.dropout import Dropout
from trainer.draws import Draws
from trainer.recipe import make_recipe
from trainer.recipes.ip2p.recipe import InstructPix2Pix

NUM_SAMPLES = 20_000
SHARES = {"text": 0.05, "image": 0.1, "both": 0.2}


def test_shares_of_dropped_conditions_are_those_of_the_settings():
    uniform_B = Draws(3, torch.arange(NUM_SAMPLES)).uniform("dropout")
    text_B, image_B = Dropout(**SHARES).dropped(uniform_B)
    found = {"text": text_B & ~image_B, "image": image_B & ~text_B, "both": text_B & image_B}
    for name, dropped_B in found.items():
        share = SHARES[name]
        assert abs(dropped_B.sum() - NUM_SAMPLES * share) < 3 * (NUM_SAMPLES * share * (1 - share)) ** 0.5, name


def test_order_of_the_shares_is_that_of_the_papers_code():
    text_B, image_B = Dropout(0.05, 0.05, 0.05).dropped(torch.tensor([0.0, 0.0499, 0.051, 0.0999, 0.101, 0.149, 0.151]))
    assert text_B.tolist() == [True, True, True, True, False, False, False]
    assert image_B.tolist() == [False, False, True, True, True, True, False]


def test_nothing_is_dropped_with_shares_of_zero():
    assert not torch.stack(Dropout(0, 0, 0).dropped(torch.tensor([0.0, 0.5]))).any()


def test_shares_that_leave_less_than_nothing_are_refused():
    values = {"data": "d", "model": "m", "out": "o", "text_dropout": 0.5, "image_dropout": 0.4, "both_dropout": 0.3}
    with pytest.raises(SettingError, match=r"text_dropout, image_dropout and both_dropout add up to 1\.2; exp"):
        make_recipe(InstructPix2Pix, values)
