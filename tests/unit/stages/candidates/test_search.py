"""The search for pairs: its result, its order, and the images it holds."""

import random
from collections import Counter

import numpy as np
import pytest
from _plain_pairs import ColourEncoder, PlainPairs
from PIL import Image

from models.protocols import PairRequest
from samples.stored_images import rgb_image
from stages.candidates.draws import Draws
from stages.candidates.rows import candidate_records
from stages.candidates.search import Search
from stages.candidates.trials import Edit
from stages.pair_scores.bounds import Bounds
from stages.pair_scores.pixels import l1_scores, pixels_of
from stages.pair_scores.scores import PAIR_SCORES, ScoreStep, score_steps

DRAWS = Draws(num_steps=(3, 5, 8), strength=0.6, guidance_scale=(0, 0), attention_frac=(0.1, 0.9))
BOUNDS = {"pair_l1": Bounds(min=0.25, max=0.4)}
"""About a third of the candidates pass."""


def edits(number=6):
    """Edits one by one, each with a generator of its own."""
    for n in range(number):
        anchor = Image.new("RGB", (20, 12), (40 + n, 40, 40))
        request = PairRequest(source_caption="a red car", target_caption="a blue car", anchor=anchor)
        yield Edit(request=request, candidates=DRAWS.candidates(random.Random(n), has_ring=False))


def search(wave=8, steps=None, **settings):
    synthesizer, encoder = PlainPairs(), ColourEncoder()
    wanted = {"bounds": BOUNDS, "keep": 2, "max_candidates": 9, "format": "png", "quality": 95, **settings}
    steps = score_steps(encoder, encoder) if steps is None else steps
    made = Search(synthesizer=synthesizer, encoder=encoder, steps=steps, pairs_per_wave=wave, **wanted)
    return made, synthesizer, encoder


def found(wave=8, number=6, **settings):
    made, synthesizer, _ = search(wave, **settings)
    done = list(edits(number))
    made.run(iter(done))
    return done, synthesizer


def plain(done):
    return [(candidate_records(edit), [trial.files for trial in edit.kept]) for edit in done]


def test_the_first_candidates_that_pass_are_kept():
    done, _ = found()
    for seed, edit in enumerate(done):
        drawn = DRAWS.candidates(random.Random(seed), has_ring=False)
        every = [next(drawn) for _ in range(9)]
        passing = [n for n, one in enumerate(every, 1) if 0.25 <= round(one.seed % 128 / 255, 5) <= 0.4]
        assert [trial.number for trial in edit.kept] == passing[:2]
        last = passing[1] if len(passing) >= 2 else 9
        assert [trial.candidate for trial in edit.trials] == every[:last]
    assert {len(edit.kept) for edit in done} >= {1, 2}, "the draws should be of several kinds"


@pytest.mark.parametrize("wave", [1, 2, 3, 5, 64, 1000])
def test_the_result_does_not_depend_on_the_size_of_the_waves(wave):
    assert plain(found(wave)[0]) == plain(found(8)[0])


def test_the_result_of_an_edit_does_not_depend_on_the_others():
    together = plain(found()[0])
    made, _, _ = search()
    alone = list(edits())
    for edit in alone:
        made.run(iter([edit]))
    assert plain(alone) == together


def test_candidates_of_several_edits_share_a_wave():
    _, synthesizer = found(8)
    assert synthesizer.calls[0] == 8
    assert len(synthesizer.calls) < sum(len(edit.trials) for edit in found(8)[0]) / 4


def test_what_candidates_share_is_computed_once_an_edit():
    made, synthesizer, encoder = search(3)
    made.run(edits(6))
    assert len(synthesizer.requests) == 6
    assert encoder.num_texts == 12


def test_images_of_one_wave_are_alive_however_many_candidates():
    for most in (9, 200):
        _, synthesizer = found(5, keep=2, max_candidates=most, bounds={"pair_l1": Bounds(min=0.45)})
        assert max(synthesizer.calls) <= 5
        assert max(synthesizer.alive) == 0
        assert len(synthesizer.calls) > 5


def test_every_image_that_is_drawn_is_scored():
    seen = Counter()

    def measure(pairs):
        seen["pairs"] += len(pairs)
        return [{"pair_l1": float(np.asarray(pair.target).mean() > 90)} for pair in pairs]

    _, synthesizer = found(5, steps=[ScoreStep(names=("pair_l1",), measure=measure)], bounds={"pair_l1": Bounds(min=1)})
    assert sum(synthesizer.calls) == seen["pairs"]


def test_a_dear_score_is_measured_for_those_that_pass_the_cheap_ones():
    seen = {}

    def step(name, passes):
        def measure(pairs):
            seen[name] = seen.get(name, 0) + len(pairs)
            return [{name: float(passes(pair))} for pair in pairs]

        return ScoreStep(names=(name,), measure=measure)

    steps = [
        step("pair_ssim", lambda _: True),
        step("pair_l1", lambda pair: np.asarray(pair.target).mean() > 90),
        step("pair_dino_cos", lambda _: True),
    ]
    bounds = {"pair_l1": Bounds(min=1), "pair_dino_cos": Bounds(min=1)}
    done, _ = found(9, number=1, steps=steps, keep=9, bounds=bounds)
    passed = len(done[0].kept)
    assert 0 < passed < 9
    assert seen == {"pair_l1": 9, "pair_dino_cos": passed, "pair_ssim": passed}
    assert all("pair_ssim" not in trial.scores for trial in done[0].trials if trial.failed)


def test_a_pair_that_passes_has_every_score():
    done, _ = found()
    kept = [trial for edit in done for trial in edit.kept]
    assert kept
    assert all(set(trial.scores) == set(PAIR_SCORES) for trial in kept)


def test_failures_are_counted_by_bound():
    done, _ = found(number=1, keep=9, max_candidates=9)
    assert [trial.failed for trial in done[0].trials].count(None) == 5
    assert done[0].failures == "2 high_pair_l1, 2 low_pair_l1"


@pytest.mark.parametrize("image_format", ["jpg", "webp"])
def test_scores_are_those_of_the_images_as_stored(image_format):
    done, _ = found(format=image_format, quality=30)
    trials = [trial for edit in done for trial in edit.kept]
    assert trials
    for trial in trials:
        source, target = (pixels_of(rgb_image(file)) for file in trial.files)
        assert trial.scores["pair_l1"] == pytest.approx(l1_scores(source, target, None)[0], abs=1e-5)
