"""Candidates are drawn from one generator, within what may be drawn."""

import random
from dataclasses import replace
from itertools import islice

import pytest

from stages.candidates.draws import Draws

DRAWS = Draws(
    num_steps=(3, 5, 8), strength=0.6, guidance_scale=(7.5, 15.0), attention_frac=(0.1, 0.9), ring_values=(0.0, 0.3),
    ring_share=0.5,
)  # fmt: skip


def drawn(number, *, seed=0, has_ring=True, draws=DRAWS):
    return list(islice(draws.candidates(random.Random(seed), has_ring=has_ring), number))


def test_draws_keep_to_their_ranges_and_choices():
    found = drawn(300)
    assert {one.num_steps for one in found} == {3, 5, 8}
    assert {one.ring_frac for one in found} == {None, 0.0, 0.3}
    assert 0.35 < sum(one.ring_frac is None for one in found) / 300 < 0.65
    assert all(0.1 <= one.cross_attention_frac == one.self_attention_frac <= 0.9 for one in found)
    assert all(7.5 <= one.guidance_scale <= 15 for one in found)
    assert all(0 <= one.seed < 2**32 for one in found)
    assert len({one.seed for one in found}) == 300


def test_a_candidate_depends_on_generator_and_number_alone():
    assert drawn(5) == drawn(9)[:5] != drawn(5, seed=1)


def test_without_a_ring_a_candidate_is_the_same_but_for_its_value():
    assert drawn(9, has_ring=False) == [replace(one, ring_frac=None) for one in drawn(9)]


@pytest.mark.parametrize(("share", "expected"), [(0.0, {None}), (1.0, {0.0, 0.3})])
def test_the_share_of_rings_may_be_none_or_all(share, expected):
    assert {one.ring_frac for one in drawn(50, draws=replace(DRAWS, ring_share=share))} == expected
