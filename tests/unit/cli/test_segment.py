"""`editloom segment`: the files that it writes, and what it refuses."""

import numpy as np
import pytest
from _region_heads import save_region_head
from PIL import Image


def test_region_is_written_as_three_files_an_image(tmp_path, images, editloom):
    model = save_region_head(tmp_path / "head", bias=9)
    code, out, _ = editloom("segment", *images, "make the car red", "--model", model, "--out", tmp_path / "o")
    assert code == 0
    assert out.splitlines() == [f"{tmp_path}/o/{name}.mask.png: 100.0% inside" for name in "ab"]
    assert len(list((tmp_path / "o").iterdir())) == 6
    mask = np.asarray(Image.open(tmp_path / "o" / "a.mask.png"))
    assert mask.shape == (8, 10)
    assert (mask == 255).all()
    assert all(Image.open(tmp_path / "o" / f"a.{name}.png").size == (10, 8) for name in ("heat", "outline"))


def test_threshold_bounds_the_mask(tmp_path, images, editloom):
    model = save_region_head(tmp_path / "head")
    shares = [
        editloom("segment", images[0], "x", "--model", model, "--out", tmp_path / "o", "--mask-threshold", level)[1]
        for level in (0.05, 0.95)
    ]
    assert ["100.0% inside" in one for one in shares] == [True, False]
    assert "0.0% inside" in shares[1]


def test_phrase_segmenter_is_asked_for_the_text(tmp_path, images, models, editloom):
    code, out, _ = editloom("segment", images[0], "red car", "--model", "zoo:clipseg", "--out", tmp_path / "o")
    assert code == 0
    assert "a.mask.png: 50.0% inside" in out
    assert models[1][:2] == ("TextSegmenter", "zoo:clipseg")


def test_model_that_segments_nothing_is_refused(tmp_path, images, refused):
    message = refused("segment", images[0], "x", "--model", "zoo:sd", "--out", tmp_path / "o", code=1)
    assert "cannot serve TextSegmenter" in message
    assert message.endswith("name a phrase segmenter or a region head")


def test_head_over_another_clip_is_refused(tmp_path, images, refused):
    model = save_region_head(tmp_path / "head", clip_revision="sha256:other")
    message = refused("segment", images[0], "x", "--model", model, "--out", tmp_path / "o", code=1)
    assert "was trained over zoo:clip at sha256:other" in message
    assert "train the head again, or bring back that model" in message


def test_head_over_an_absent_clip_is_refused(tmp_path, images, refused):
    model = save_region_head(tmp_path / "head", clip_model="path:nowhere")
    assert "path:nowhere" in refused("segment", images[0], "x", "--model", model, "--out", tmp_path / "o", code=1)


@pytest.mark.parametrize("names", [("missing.png",)])
def test_image_that_is_not_there_is_refused(tmp_path, names, refused):
    model = save_region_head(tmp_path / "head")
    assert "missing.png" in refused("segment", *names, "x", "--model", model, "--out", tmp_path / "o", code=1)


def test_images_of_one_name_are_refused(tmp_path, images, refused):
    model = save_region_head(tmp_path / "head")
    twice = (images[0], images[0])
    message = refused("segment", *twice, "x", "--model", model, "--out", tmp_path / "o", code=1)
    assert message == "several images are called a; segment them in separate calls"


def test_own_threshold_of_a_head_is_the_default(tmp_path, images, editloom):
    shares = [
        editloom("segment", images[0], "x", "--model", save_region_head(tmp_path / str(level), threshold=level),
                 "--out", tmp_path / "o")[1]
        for level in (0.05, 0.95)
    ]  # fmt: skip
    assert ["100.0% inside" in one for one in shares] == [True, False]


def test_edit_without_target_caption_is_refused(tmp_path, images, models, refused):
    model = save_region_head(tmp_path / "head")
    message = refused("edit", images[0], "make it red", "--model", model, "--out", "o", code=2)
    assert message.endswith("needs target_caption, and the edit has none; give it")
    assert len(models) == 1  # nothing was loaded


def test_region_head_masks_for_an_editor_by_caption_with_a_phrase(tmp_path, images, models, editloom, refused):
    head = save_region_head(tmp_path / "head", bias=9)
    masked = ("edit", images[0], "a red car", "--model", "zoo:sd", "--mask-model", head, "--out", tmp_path / "o.png")
    assert refused(*masked, code=2) == "editor zoo:sd takes no instruction to look for; say by --phrase what to mask"
    assert editloom(*masked, "--phrase", "make the car red")[0] == 0


def test_generator_is_an_option_of_edit(tmp_path, images, models, editloom):
    model = save_region_head(tmp_path / "head")
    arguments = ("edit", images[0], "x", "--target-caption", "a cat", "--model", model, "--out", tmp_path / "o.png")
    assert editloom(*arguments, "--generator", "zoo:sd", "--set", "num_steps=3")[0] == 0
    settings = models[1][3]["settings"]
    assert (settings.generator, settings.num_steps) == ("zoo:sd", 3)
    assert [caption for caption, _, _ in models[0].asked] == ["a cat"]


def test_editor_without_generator_refuses_the_option(images, refused):
    message = refused("edit", images[0], "x", "--model", "zoo:sd", "--out", "o", "--generator", "zoo:sd", code=2)
    assert message.startswith("editor zoo:sd: unknown key 'generator' (known: ")


def test_generator_that_cannot_inpaint_is_refused(tmp_path, images, refused):
    model = save_region_head(tmp_path / "head")
    arguments = ("edit", images[0], "x", "--target-caption", "a", "--model", model, "--out", "o")
    message = refused(*arguments, "--generator", "zoo:llm", code=1)
    assert "model 'zoo:llm' is of kind 'llama', which cannot serve EditSynthesizer (served by: " in message
