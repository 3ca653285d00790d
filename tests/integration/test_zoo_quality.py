"""The committed miniature models do what their cards say, on a few held-out scenes: random weights fail every test.

Bars lie below those of `make zoo-evaluate`, for samples as small as these.
"""

import json

import pytest
import torch

from zoo.evaluate import BARS, MEASURES, RESULTS
from zoo.evaluation import generation, perception
from zoo.export import WEIGHTS

AT_LEAST = {
    "clip": {"recall_at_1": 0.9, "noun_zero_shot": 0.8, "colour_zero_shot": 0.9},
    "blip": {"right": 0.8},
    "clipseg": {"iou": 0.65, "wrong_noun_empty": 0.6, "wrong_colour_empty": 0.55},
    "grounding-dino": {"ap50": 0.85},
    "sam": {"iou": 0.88},
    "mask2former": {"mean_iou_things": 0.75},
    "dino": {"knn_noun": 0.7},
    "llm": {"parses": 0.95, "consistent": 0.85},
    "sd": {"one_thing": 0.4},
    "sd-inpaint": {"one_thing": 0.4, "unchanged_outside": 1.0},
    "ip2p-early": {"nearer_than_source": 0.2, "ssim_outside": 0.6},
    "ip2p": {"read_back": 0.45, "nearer_than_source": 0.5, "ssim_outside": 0.8},
}


@pytest.fixture(autouse=True)
def _few(monkeypatch):
    monkeypatch.setattr(perception, "NUM_SCENES", 40)
    monkeypatch.setattr(perception, "NUM_KNOWN", 800)
    monkeypatch.setattr(generation, "NUM_CAPTIONS", 40)
    monkeypatch.setattr(generation, "NUM_PROMPTS", 10)
    monkeypatch.setattr(generation, "NUM_TWO_THINGS", 1)
    monkeypatch.setattr(generation, "NUM_STEPS", 12)
    monkeypatch.setattr(generation, "NUM_EDITS", 28)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of diffusers' Euler scheduler
@pytest.mark.parametrize("name", AT_LEAST)
def test_a_miniature_model_is_trained(name):
    measured = MEASURES[name]()
    for key, least in AT_LEAST[name].items():
        assert measured[key] >= least, (key, measured)


def test_every_model_is_there_was_measured_and_has_a_card():
    results = json.loads(RESULTS.read_text())
    assert set(AT_LEAST) == set(BARS) == set(MEASURES) == set(results)
    for name, figures in results.items():
        card = (WEIGHTS / name / "README.md").read_text()
        for key, value in figures.items():
            assert f"| {key} | {value:.3f} |" in card
