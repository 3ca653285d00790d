"""The rule judge on edits whose truth is known."""

import json
import random
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from models import registry
from models.judges.replies import read_scores
from models.protocols import JudgeRequest
from zoo.world import KINDS, caption, facts_of, render, sample_edit, scene_of
from zoo.world.scene import Scene, Thing
from zoo.write_edits import EditOrder

CAR = Thing("car", "red", "small", 0.32, 0.27, 0.8)
CAT = Thing("cat", "blue", "medium", 0.36, 0.73, 0.85)
SCENE = Scene((CAR, CAT), "beach")


@pytest.fixture(scope="module")
def judge():
    return registry.load("EditJudge", "code:zoo.judging.world_judge:WorldJudge")


def image(scene):
    return Image.fromarray(scene if isinstance(scene, np.ndarray) else render(scene))


def reply(judge, instruction, edited, source=SCENE, **given):
    request = JudgeRequest(source=image(source), edited=image(edited), instruction=instruction, **given)
    return judge.judge([request], seeds=[0])[0].text


def scores(judge, instruction, edited, **given):
    return read_scores(reply(judge, instruction, edited, **given))


def with_car(**changes):
    return SCENE.with_thing(0, replace(CAR, **changes))


def with_cat(**changes):
    return SCENE.with_thing(1, replace(CAT, **changes))


def test_exact_edits_of_every_kind_score_high(judge):
    found = {kind: [] for kind in KINDS}
    for _, edit in EditOrder(35, 4, KINDS).edits():
        one = scores(judge, edit.instruction, edit.target, source=edit.source)
        found[edit.kind].append(0 if one is None else one.overall)
    assert all(np.median(of_kind) >= 9 for of_kind in found.values()), found
    assert sum(score >= 7 for of_kind in found.values() for score in of_kind) >= 32


def test_most_scenes_are_read_as_they_were_drawn():
    from zoo.judging.reading import read_scene

    scenes = [scene_of(5, index) for index in range(40)]
    assert sum(facts_of(read_scene(render(scene)).scene) == facts_of(scene) for scene in scenes) >= 38


@pytest.mark.parametrize(
    ("instruction", "right", "other"),
    [
        ("make the car green", with_car(colour="green"), with_cat(colour="green")),
        ("turn the car into a bus", with_car(noun="bus"), with_cat(noun="bus")),
        ("remove the cat", replace(SCENE, things=(CAR,)), replace(SCENE, things=(CAT,))),
    ],
)
def test_a_change_of_the_wrong_thing_is_not_followed(judge, instruction, right, other):
    assert scores(judge, instruction, right)[:2] == (10, 10)
    wrong = scores(judge, instruction, other)
    assert wrong.instruction == 0
    assert wrong.preservation <= 5


def test_equal_images_follow_nothing(judge):
    assert scores(judge, "make the car green", SCENE)[:2] == (0, 10)


def test_another_change_of_the_right_thing_is_worth_little(judge):
    assert scores(judge, "make the car green", with_car(colour="yellow")).instruction == 3


def test_a_changed_place_or_another_thing_costs_preservation(judge):
    asked = "make the car green"
    assert scores(judge, asked, replace(with_car(colour="green"), place="moon")).preservation <= 5
    both = with_car(colour="green").with_thing(1, replace(CAT, colour="white"))
    assert scores(judge, asked, both).preservation <= 5


def test_pixels_elsewhere_cost_preservation_but_not_within_the_region(judge):
    edited = render(with_car(colour="green")).copy()
    edited[:16] = np.clip(edited[:16].astype(int) - 60, 0, 255)
    asked = "make the car green"
    assert scores(judge, asked, edited).preservation <= 4
    region = np.zeros((64, 64), bool)
    region[:16] = True
    assert scores(judge, asked, edited, region=region).preservation >= 9


def test_images_of_other_sizes_are_read_too_but_no_huge_ones(judge):
    for size_px, is_read in ((128, True), (300, False)):
        source, edited = (render(scene, size_px) for scene in (SCENE, with_car(colour="green")))
        found = scores(judge, "make the car green", edited, source=source)
        assert (found is not None) == is_read
        assert not is_read or found.overall >= 9


def test_noise_costs_quality(judge):
    noise = np.random.default_rng(0).normal(0, 30, (64, 64, 3))
    edited = np.clip(render(with_car(colour="green")) + noise, 0, 255).astype(np.uint8)
    assert scores(judge, "make the car green", edited).quality <= 3


def test_captions_say_what_an_instruction_in_other_words_does_not(judge):
    asked, edited = "I would love this vehicle in the colour of grass", with_car(colour="green")
    assert read_scores(reply(judge, asked, edited)) is None
    texts = {"source_caption": caption(SCENE), "target_caption": caption(edited)}
    assert scores(judge, asked, edited, **texts)[:2] == (10, 10)


@pytest.mark.parametrize(
    ("instruction", "source", "said"),
    [
        ("write a poem", SCENE, "I do not understand the request."),
        ("make the banana green", SCENE, "I see no banana in image 1."),
        ("make the car green", np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8), "Image 1 is no scene"),
        ("make the car green", np.zeros((64, 40, 3), np.uint8), "I compare squares of one size"),
        ("make the car green", render(SCENE, 128), "I compare squares of one size"),
    ],
)
def test_what_cannot_be_judged_is_an_abstention_in_words(judge, instruction, source, said):
    text = reply(judge, instruction, SCENE, source=source)
    assert text.startswith(said)
    assert read_scores(text) is None


def test_a_reply_is_the_json_that_chat_models_are_asked_for(judge):
    found = json.loads(reply(judge, "make the car green", with_car(colour="green")))
    assert found["instruction_reason"] == "the colour of the car is green"
    assert judge.prompt_sha256 is None


@pytest.mark.parametrize("kind", KINDS)
def test_every_wording_of_the_world_is_read(kind):
    from zoo.judging.wanted_change import read_wish

    for index in range(200):
        scene = scene_of(9, index)
        try:
            edit = sample_edit(scene, random.Random(index), kind)
        except ValueError:
            continue
        for instruction in (edit.instruction, f"{edit.instruction.capitalize()}."):
            wish = read_wish(instruction, None, None)
            assert wish is not None, instruction
            assert wish.kind == kind
