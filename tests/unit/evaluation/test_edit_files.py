from dataclasses import replace

import numpy as np
import pytest
from _folders import save
from PIL import Image

from core.errors import EvaluationError, UsageError
from evaluation.edit_files import FileEdit, edit_files
from evaluation.editors import EditorChoice
from evaluation.masks import PhraseMasks


class Declaring:
    """Returns images unchanged, has the needs that a test sets, and keeps the requests."""

    def __init__(self, needs, uses=()):
        self.needs, self.uses = frozenset(needs), frozenset(uses)

    def edit(self, requests, *, seeds):
        self.requests, self.seeds = requests, seeds
        return [one.image for one in requests]


@pytest.fixture
def image(tmp_path):
    save(np.full((8, 10, 3), 40, np.uint8), tmp_path / "a.png")
    return tmp_path / "a.png"


def edited(image, editor, *, masks="none", **edit):
    choice = EditorChoice.of_editor(editor, "mine", {}, masks=masks)
    edit_files([image], FileEdit(**{"text": "make it red", "seeds": (5,)} | edit), image.with_name("out.png"), choice)
    return editor.requests[0]


@pytest.mark.parametrize(
    ("needs", "uses", "field"),
    [
        ({"instruction"}, (), "instruction"),
        ({"target_caption"}, {"instruction"}, "target_caption"),
        (set(), {"target_caption"}, "target_caption"),
        (set(), {"instruction", "target_caption"}, "instruction"),
        ({"image", "instruction"}, (), "instruction"),
    ],
)
def test_the_text_is_the_field_that_the_editor_needs(image, needs, uses, field):
    editor = Declaring(needs, uses)
    request = edited(image, editor)
    given = {name: getattr(request, name) for name in ("instruction", "source_caption", "target_caption", "mask")}
    assert given == {"instruction": None, "source_caption": None, "target_caption": None, "mask": None} | {
        field: "make it red"
    }
    assert editor.seeds == [5]


def test_a_source_caption_reaches_an_editor_that_takes_it(image):
    request = edited(image, Declaring({"instruction", "source_caption"}), source_caption="a blue car")
    assert (request.instruction, request.source_caption) == ("make it red", "a blue car")


def test_with_a_target_caption_the_text_is_the_instruction(image):
    for needs, uses in (({"instruction", "target_caption"}, ()), ({"target_caption"}, {"instruction"})):
        request = edited(image, Declaring(needs, uses), target_caption="a red car")
        assert (request.instruction, request.target_caption) == ("make it red", "a red car")


@pytest.mark.parametrize(("given", "expected"), [((7,), [7, 7]), ((7, 8), [7, 8])])
def test_images_share_a_seed_or_have_one_each(image, tmp_path, given, expected):
    save(np.full((8, 10, 3), 50, np.uint8), tmp_path / "b.png")
    editor = Declaring({"instruction"})
    choice = EditorChoice.of_editor(editor, "mine", {})
    edit_files([image, tmp_path / "b.png"], FileEdit(text="x", seeds=given), tmp_path / "out", choice)
    assert editor.seeds == expected


def test_another_number_of_seeds_is_refused(image):
    with pytest.raises(UsageError, match="2 seeds for 1 images; give one for all, or one an image"):
        edited(image, Declaring({"instruction"}), seeds=(1, 2))


def test_a_network_trained_with_regions_says_that_it_has_none(image, tmp_path, caplog):
    left = np.uint8([[255] * 5 + [0] * 5] * 8)
    Image.fromarray(left).save(tmp_path / "mask.png")
    choice = EditorChoice.of_editor(Declaring({"instruction"}, {"mask"}), "mine", {})
    files = [image], FileEdit(text="x", mask=tmp_path / "mask.png"), tmp_path / "out.png"
    edit_files(*files, replace(choice, masks="given", trained_on=frozenset({"mask"})))
    edit_files(*files, choice)
    assert caplog.messages == []
    edit_files(*files, replace(choice, trained_on=frozenset({"mask"})))
    (line,) = caplog.messages
    assert line == "mine was trained with masks and is given none: each image may change as a whole"


@pytest.mark.parametrize(
    ("needs", "uses", "edit", "message"),
    [
        ({"instruction"}, (), {"source_caption": "x"}, "takes no source_caption (it takes instruction); leave it out"),
        ({"instruction", "source_caption"}, (), {}, "editor mine needs source_caption, and the edit has none; give it"),
        ({"instruction", "target_caption"}, (), {}, "editor mine needs target_caption, and the edit has none; give it"),
        ({"instruction", "mask"}, (), {}, "editor mine needs mask, and the edit has none; give it"),
        ({"instruction"}, (), {"target_caption": "x"}, "takes no target_caption (it takes instruction); leave it out"),
        (
            {"target_caption"}, (), {"target_caption": "x"},
            "editor mine takes no instruction; leave the target caption out, and give it as text",
        ),
        ({"examples"}, (), {}, "editor mine takes neither instruction nor target_caption; name another editor"),
        ({"instruction", "examples"}, (), {}, "editor mine needs examples, and the edit has none; give it"),
        (
            {"instruction"}, (), {"examples": (("a.png", "b.png"),)},
            "editor mine takes no examples; leave them out, or name a visual-prompt editor",
        ),
    ],
)  # fmt: skip
def test_what_the_editor_lacks_or_does_not_take_is_refused(image, needs, uses, edit, message):
    with pytest.raises(UsageError) as caught:
        edited(image, Declaring(needs, uses), **edit)
    assert message in str(caught.value)
    assert not image.with_name("out.png").exists()


def test_examples_reach_an_editor_that_uses_them(image, tmp_path):
    for name, grey in (("before.png", 10), ("after.png", 200)):
        save(np.full((4, 6, 3), grey, np.uint8), tmp_path / name)
    pair = tmp_path / "before.png", tmp_path / "after.png"
    request = edited(image, Declaring({"instruction"}, {"examples"}), examples=(pair, pair[::-1]))
    assert [[one.getpixel((0, 0))[0] for one in found] for found in request.examples] == [[10, 200], [200, 10]]
    assert edited(image, Declaring({"instruction"}, {"examples"})).examples == ()


def test_example_that_is_no_image_is_refused(image, tmp_path):
    (tmp_path / "no.png").write_bytes(b"no image")
    with pytest.raises(EvaluationError, match=r"no\.png"):
        edited(image, Declaring({"instruction"}, {"examples"}), examples=((image, tmp_path / "no.png"),))


def test_a_mask_file_reaches_an_editor_that_needs_one(image, tmp_path):
    left = np.uint8([[255] * 5 + [0] * 5] * 8)
    Image.fromarray(left).save(tmp_path / "mask.png")
    request = edited(image, Declaring({"instruction", "mask"}), mask=tmp_path / "mask.png")
    assert (request.mask == (left > 0)).all()


def test_the_editor_is_refused_before_the_segmenter_is_loaded(image, monkeypatch):
    def refuse(_placement):
        raise UsageError("takes 12 channels")

    monkeypatch.setattr("evaluation.loading.load_model", lambda *_: pytest.fail("loaded"))
    choice = replace(
        EditorChoice.of_editor(Declaring({"instruction"}, {"mask"}), "mine", {}, masks=PhraseMasks("zoo:clipseg")),
        load=refuse,
    )
    with pytest.raises(UsageError, match="takes 12 channels"):
        edit_files([image], FileEdit(text="make it red", phrase="car"), image.with_name("out.png"), choice)
