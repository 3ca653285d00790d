import numpy as np
import pytest
from _folders import save
from PIL import Image

from models.diffusion.sdedit import SdEditSettings

pytestmark = pytest.mark.usefixtures("models")

MODEL = ["--model", "zoo:sd"]
SET = ["a cat", *MODEL, "--out", "o", "--set"]


def pixels(path):
    return np.asarray(Image.open(path).convert("RGB"))


def test_several_images_are_edited_into_a_folder(tmp_path, images, models, editloom):
    out = tmp_path / "out"
    code, output, _ = editloom("edit", *images, "a cat", *MODEL, "--out", out, "--seed", "5", "--batch-size", "3")
    assert code == 0
    assert output.split() == [str(out / "a.png"), str(out / "b.png")]
    assert (pixels(out / "b.png") == 255 - 41).all()
    assert models[0].asked == [("a cat", 5, (10, 8))] * 2
    assert models[1:] == [("Editor", "zoo:sd", 3, {"settings": SdEditSettings()})]


def test_each_image_may_have_a_seed_of_its_own(tmp_path, images, models, editloom):
    argv = ("edit", *images, "a cat", *MODEL, "--out", tmp_path / "out")
    assert editloom(*argv, "--seed", "5", "--seed", "6")[0] == 0
    assert [asked[1] for asked in models[0].asked] == [5, 6]


def test_each_example_is_two_files(tmp_path, images, models, editloom, monkeypatch):
    from evaluation import edit_files

    asked = []
    monkeypatch.setattr(edit_files, "edit_files", lambda paths, edit, *more: asked.append((paths, edit.examples)) or [])
    argv = ("edit", "--example", "b.png", "a.png", images[0], "a cat", *MODEL, "--out", tmp_path, "--example", "c", "d")
    assert editloom(*argv)[0] == 0
    edited, examples = asked[0]
    assert list(map(str, edited)) == images[:1]
    assert [tuple(map(str, pair)) for pair in examples] == [("b.png", "a.png"), ("c", "d")]


@pytest.mark.parametrize("flags", [["--example"], ["--example", "a.png"], ["--example", "a.png", "--seed", "1"]])
def test_example_of_one_file_is_refused(models, refused, flags):
    assert "--example takes two files, before and after" in refused("edit", "a.png", *SET[:-1], *flags, code=2)


@pytest.mark.parametrize("flags", [["--example=b.png"], ["--example=b.png", "c.png"], ["--example="]])
def test_example_with_an_equals_sign_is_refused(models, refused, flags):
    message = refused("edit", "a.png", *SET[:-1], *flags, code=2)
    assert f"'{flags[0]}' names one file; write two files after it: --example BEFORE AFTER" in message


def test_example_in_the_place_of_a_value_is_refused(models, refused):
    message = refused("edit", "a.png", "x", *MODEL, "--out", "--example", "b.png", "c.png", code=2)
    assert "the value of the option before --example is missing; give it one" in message


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--mask", "m.png"], "takes no mask (it takes instruction); leave it out"),
        (["--target-caption", "a dog"], "takes no target_caption (it takes instruction); leave it out"),
        (["--example", "a.png", "b.png"], "takes no examples; leave them out, or name a visual-prompt editor"),
        (["--set", "image_guidance_scale=0.5"], "image_guidance_scale: input should be greater than or equal to 1"),
        (["--seed", "1", "--seed", "2"], "2 seeds for 1 images; give one for all, or one an image"),
    ],
)
def test_what_an_editor_by_instruction_cannot_do_is_refused(tmp_path, models, flags, message, refused):
    (tmp_path / "model_index.json").write_text('{"_class_name": "StableDiffusionInstructPix2PixPipeline"}')
    (tmp_path / "model.safetensors").touch()
    assert message in refused("edit", "a.png", "x", "--model", f"path:{tmp_path}", "--out", "o", *flags, code=2)
    assert len(models) == 1


def test_one_image_is_written_to_the_file_that_is_named(tmp_path, images, editloom):
    for name in ("x.png", "x.jpg", "deep/x.webp"):
        assert editloom("edit", images[0], "a cat", *MODEL, "--out", str(tmp_path / name))[0] == 0
        assert abs(int(pixels(tmp_path / name)[0, 0, 0]) - 215) <= 2
    assert (
        editloom("edit", images[0], "a cat", *MODEL, "--out", str(tmp_path / "folder"), "--set", "size_px=384")[0] == 0
    )
    assert (tmp_path / "folder" / "a.png").is_file()


def test_settings_reach_the_editor(tmp_path, images, models, editloom):
    pairs = ["sampling_ratio=0.6", "num_steps=25", "guidance_scale=5", "size_px=384"]
    flags = [part for pair in pairs for part in ("--set", pair)]
    assert editloom("edit", images[0], "a cat", *MODEL, "--out", str(tmp_path / "o"), *flags)[0] == 0
    settings = SdEditSettings(sampling_ratio=0.6, num_steps=25, guidance_scale=5.0, size_px=384)
    assert models[1][3] == {"settings": settings}


def test_an_edit_stays_within_a_mask_from_a_file_or_a_phrase(tmp_path, images, editloom):
    save(np.uint8([[255] * 5 + [0] * 5] * 8), tmp_path / "mask.png")
    for number, flags in enumerate(
        (["--mask", str(tmp_path / "mask.png")], ["--mask-model", "zoo:clipseg", "--phrase", "red car"])
    ):
        assert editloom("edit", *images, "a cat", *MODEL, "--out", str(tmp_path / f"out{number}"), *flags)[0] == 0
        found = pixels(tmp_path / f"out{number}" / "a.png")[0, :, 0]
        assert found.tolist() == [215] * 5 + [40] * 5


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "Missing argument"),
        (["a cat"], "Missing option '--model'"),
        (["a cat", *MODEL], "Missing option '--out'"),
        (
            [*SET, "sampling_ratio=1.2"],
            "editor zoo:sd: sampling_ratio: input should be less than or equal to 1, got 1.2",
        ),
        ([*SET, "sampling_ratio=nan"], "sampling_ratio: input should be a finite number"),
        ([*SET, "guidance_scale=inf"], "guidance_scale: input should be a finite number"),
        ([*SET, "guidance_scale=nan"], "guidance_scale: input should be a finite number"),
        ([*SET, "guidance_scale=-1"], "guidance_scale: input should be greater than or equal to 0, got -1"),
        ([*SET, "num_step=5"], "editor zoo:sd: unknown key 'num_step' (did you mean 'num_steps'?)"),
        ([*SET, "num_steps"], "--set 'num_steps' is no setting; expected key=value"),
        (
            ["a cat", *MODEL, "--out", "o", "--source-caption", "x"],
            "editor zoo:sd takes no source_caption (it takes mask, target_caption); leave it out",
        ),
        (["a cat", *MODEL, "--out", "o", "--mask-threshold", "nan"], "Invalid value for '--mask-threshold'"),
        ([*SET, "num_steps=0"], "num_steps: input should be greater than or equal to 1, got 0"),
        ([*SET, "num_steps=x"], "num_steps: input should be a valid integer, got 'x'"),
        (["a cat", *MODEL, "--out", "o", "--seed", str(2**64)], "Invalid value for '--seed'"),
        (["a cat", *MODEL, "--out", "o", "--dtype", "int8"], "dtype 'int8' is not known; expected auto or one of"),
        (["a cat", *MODEL, "--out", "o", "--phrase", "x"], "--mask-model looks for --phrase; give both or neither"),
        (["a cat", *MODEL, "--out", "o", "--mask-model", "zoo:clipseg"], "give both or neither"),
        (
            ["a cat", *MODEL, "--out", "o", "--mask", "m", "--mask-model", "zoo:clipseg", "--phrase", "x"],
            "--mask and --mask-model both say where the image may change; give one of them",
        ),
    ],
)
def test_wrong_usage_of_edit_is_one_line_and_exits_2(flags, message, refused):
    assert message in refused("edit", "a.png", *flags, code=2)


def test_failure_of_edit_is_one_line_and_exits_1(tmp_path, images, monkeypatch, refused):
    out = ["--out", tmp_path / "out"]
    assert refused("edit", tmp_path / "none.png", "a cat", *MODEL, *out, code=1).startswith(
        f"image {tmp_path / 'none.png'} cannot be read (No such file or directory)"
    )
    save(np.zeros((3, 3), np.uint8), tmp_path / "m.png")
    message = refused("edit", *images, "a cat", *MODEL, *out, "--mask", tmp_path / "m.png", code=1)
    assert "m.png is 3 x 3 pixels, its image 10 x 8; expected the same size" in message
    save(np.zeros((8, 10), np.uint8), tmp_path / "black.png")
    message = refused("edit", *images, "a cat", *MODEL, *out, "--mask", tmp_path / "black.png", code=1)
    assert "black.png lets nothing change; expected white or transparent pixels somewhere" in message
    assert "is one of the images to edit" in refused("edit", images[0], "a cat", *MODEL, "--out", images[0], code=1)
    (tmp_path / "deep").mkdir()
    save(np.zeros((8, 8, 3), np.uint8), tmp_path / "deep" / "a.png")
    argv = [images[0], tmp_path / "deep" / "a.png", "a cat", *MODEL, *out]
    assert "several images would be written to " in refused("edit", *argv, code=1)
    monkeypatch.undo()
    argv = [images[0], "a cat", "--model", "zoo:nothing", *out]
    assert "no model is called 'zoo:nothing' (the zoo holds: " in refused("edit", *argv, code=1)
    message = refused("edit", images[0], "a cat", "--model", "zoo:sd-inpaint", *out, code=1)
    assert "is of kind 'StableDiffusionInpaintPipeline', which cannot serve Editor" in message
    for device in ("cuda:63", "gpu"):
        message = refused("edit", images[0], "a cat", "--model", "zoo:sd", "--device", device, *out, code=1)
        assert message.startswith("model 'zoo:sd' cannot be used: ")
