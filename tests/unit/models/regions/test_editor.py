"""The editor and the segmenter over a head: what is repainted, who describes it, and images without a region."""

import json
import logging

import numpy as np
import pytest
import torch
from _left_share import LeftShare
from _region_heads import save_region_head
from PIL import Image

from core.errors import UsageError
from models.encoders.clip_tokens import ClipTokens
from models.model_ids import find
from models.placement import Placement
from models.protocols import EditRequest
from models.regions.editor import RegionEditor
from models.regions.head import RegionHead
from models.regions.segmenter import RegionSegmenter
from models.regions.settings import RegionEditorSettings
from trainer.preview import DrawsPictures

IMAGE = Image.new("RGB", (60, 40), (10, 20, 30))
LEFT = np.zeros((40, 60), np.bool_)
LEFT[:, :20] = True


def left_third():
    """Finds "left" in the left third, and anything else nowhere."""
    return LeftShare(lambda text: 1 / 3 if "left" in text else 0)


class Painter:
    """An EditSynthesizer that paints white, and keeps what it was asked."""

    def __init__(self):
        self.asked = []

    def inpaint(self, images, masks, prompts, *, seeds, num_steps, guidance_scale):
        rows = zip(prompts, seeds, masks, strict=True)
        self.asked += [(prompt, seed, num_steps, guidance_scale, float(mask.mean())) for prompt, seed, mask in rows]
        found = []
        for image, mask in zip(images, masks, strict=True):
            pixels = np.array(image)
            pixels[mask] = 255
            found.append(Image.fromarray(pixels))
        return found


class Describes:
    """A Captioner and a TextGenerator."""

    def caption(self, images):
        return [f"an image of {image.width} px" for image in images]

    def generate(self, prompts, **_):
        asked = [prompt.rpartition("Caption: ")[2] for prompt in prompts]
        return [json.dumps({"target_caption": one.replace("\n", "; ")}) if "odd" not in one else "?" for one in asked]


def editor(painter, **settings):
    return RegionEditor.over(left_third(), painter, RegionEditorSettings(**{"margin_frac": 0.0, **settings}))


def request(text="paint the left", **more):
    return EditRequest(image=IMAGE, instruction=text, **{"target_caption": "white", **more})


def is_white(image):
    return (np.asarray(image) == 255).all(-1)


def test_only_the_region_is_repainted():
    painter = Painter()
    (found,) = editor(painter, num_steps=7, guidance_scale=2.0).edit([request()], seeds=[5])
    np.testing.assert_array_equal(is_white(found), LEFT)
    assert painter.asked == [("white", 5, 7, 2.0, pytest.approx(1 / 3))]


def test_margin_and_threshold_are_settings():
    (wide,) = editor(Painter(), margin_frac=0.1).edit([request()], seeds=[0])
    assert is_white(wide).mean() == pytest.approx(24 / 60)
    (found,) = editor(Painter(), threshold=0.05).edit([request("nothing")], seeds=[0])
    assert is_white(found).all()


def test_a_given_mask_takes_the_place_of_the_region():
    mask = ~LEFT
    (found,) = editor(Painter()).edit([request(mask=mask)], seeds=[0])
    np.testing.assert_array_equal(is_white(found), mask)
    with pytest.raises(ValueError, match="mask 0 is bool of shape"):
        editor(Painter()).edit([request(mask=mask.T)], seeds=[0])


@pytest.mark.parametrize(
    ("when_empty", "share", "said"), [("whole", 1, "repainted as a whole"), ("unchanged", 0, "left")]
)
def test_instruction_that_names_nothing_has_a_stated_fallback(caplog, when_empty, share, said):
    painter = Painter()
    found = editor(painter, when_empty=when_empty).edit([request("fly"), request()], seeds=[0, 1])
    assert is_white(found[0]).mean() == share
    np.testing.assert_array_equal(is_white(found[1]), LEFT)
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("'fly' names nothing on its image at threshold 0.5: the image is ")
    assert said in line
    assert len(painter.asked) == 1 + share


def test_missing_descriptions_are_written(caplog):
    caplog.set_level(logging.INFO)
    painter, own = Painter(), RegionEditorSettings(margin_frac=0.0)
    made = RegionEditor.over(left_third(), painter, own)
    made._captioner = made._language_model = Describes()
    made.edit([request(target_caption=None), request(target_caption=None, source_caption="a cat"), request()],
              seeds=[0, 1, 2])  # fmt: skip
    prompts = [one[0] for one in painter.asked]
    first, second = (f"{caption}; Request: paint the left; JSON:" for caption in ("an image of 60 px", "a cat"))
    assert prompts == [first, second, "white"]
    assert "the edited image shows" in caplog.text


def test_unusable_description_is_replaced_by_the_instruction(caplog):
    painter = Painter()
    made = editor(painter)
    made._language_model = Describes()
    made.edit([request("the odd left", target_caption=None, source_caption="a cat")], seeds=[0])
    assert painter.asked[0][0] == "the odd left"
    assert "the instruction is used in its place" in caplog.text


def test_request_that_nobody_describes_is_refused():
    with pytest.raises(UsageError, match="no target_caption; give it, or set language_model"):
        editor(Painter()).edit([request(target_caption=None)], seeds=[0])
    made = editor(Painter())
    made._language_model = Describes()
    with pytest.raises(UsageError, match="no source_caption; give it, or set captioner"):
        made.edit([request(target_caption=None)], seeds=[0])
    with pytest.raises(ValueError, match="request 0 has no instruction"):
        made.edit([request(None)], seeds=[0])


def test_pictures_show_probabilities_and_outline():
    made = editor(Painter())
    assert isinstance(made, DrawsPictures)
    first, second = made.pictures([request(), request("fly")])
    assert first.size == second.size == (120, 40)
    assert np.asarray(first)[20, 10].tolist() != np.asarray(second)[20, 10].tolist()


def test_further_models_are_all_that_decide_the_images(tmp_path):
    named = RegionEditorSettings(generator="zoo:sd", captioner="zoo:blip")
    weights = find(save_region_head(tmp_path))
    assert RegionEditor.further_models(RegionEditorSettings(), weights) == ("zoo:clip", "zoo:sd-inpaint")
    assert RegionEditor.further_models(named, weights) == ("zoo:clip", "zoo:sd", "zoo:blip")


def test_target_caption_is_needed_where_nobody_writes_it():
    assert RegionEditor.needs_with(RegionEditorSettings()) == {"instruction", "target_caption"}
    assert RegionEditor.needs_with(RegionEditorSettings(language_model="zoo:llm")) == {"instruction"}


@pytest.fixture(scope="module")
def segmenter():
    torch.manual_seed(0)
    tokens = ClipTokens(find("zoo:clip"), Placement(device="cpu"))
    head = RegionHead(tokens.dim, num_heads=4, hidden=16).eval()
    with torch.no_grad():
        head.region[3].weight.mul_(20)
    return RegionSegmenter.over(head, tokens, threshold=0.5, batch_size=2)


def test_segmenter_gives_a_map_of_each_images_size(segmenter):
    images = [Image.effect_noise(size, 90).convert("RGB") for size in ((64, 64), (100, 30), (33, 90))]
    found = segmenter.segment_instructions(images, ["make the car red", "remove the dog", "make it night"])
    assert [one.shape for one in found] == [(64, 64), (30, 100), (90, 33)]
    assert all(one.dtype == np.float32 and one.min() >= 0 and one.max() <= 1 for one in found)
    alone = segmenter.segment_instructions(images[2:], ["make it night"])[0]
    np.testing.assert_allclose(alone, found[2], atol=1e-5)
    assert segmenter.segment_instructions([], []) == []
    with pytest.raises(ValueError, match="differ in length"):
        segmenter.segment_instructions(images, ["a"])


def test_region_depends_on_the_instruction(segmenter):
    image = Image.effect_noise((64, 64), 90).convert("RGB")
    one, other = segmenter.segment_instructions([image] * 2, ["make the car red", "remove the dog"])
    assert np.abs(one - other).max() > 1e-4
