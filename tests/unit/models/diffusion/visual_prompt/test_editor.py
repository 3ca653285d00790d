"""The visual-prompt editor: guidance against the formula, sampling against a loop by hand, requests of all shapes."""

import logging
from types import SimpleNamespace

import pytest
import torch
from _checkpoints import make_image
from diffusers import DDIMScheduler, StableDiffusionPipeline

from core.errors import ModelError
from models.diffusion.editor_kinds import CONTROL_FOLDER
from models.diffusion.text_conditions import TextCondition
from models.diffusion.visual_prompt.control_net import ControlParts, make_control_net, save_control_net
from models.diffusion.visual_prompt.editor import VisualPromptEditor
from models.diffusion.visual_prompt.editor_file import EDITOR_FILE, TrainedAs, read_editor_file, write_editor_file
from models.diffusion.visual_prompt.grid import condition_of, output_cell, without_examples
from models.diffusion.visual_prompt.guidance import GuidedControl, PromptConditions
from models.diffusion.visual_prompt.settings import VisualPromptSettings
from models.language.unification.unifier import Unifier
from models.placement import Placement
from models.protocols import EditRequest
from models.registry import load
from models.schemes.zoo import ZOO

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:__array:DeprecationWarning"),
]

CELL_PX = 16
CONV = ControlParts("conv", "conv")


@pytest.fixture(scope="module")
def pipeline():
    found = StableDiffusionPipeline.from_pretrained(ZOO / "sd", dtype=torch.float32)
    found.set_progress_bar_config(disable=True)
    return found


@pytest.fixture(scope="module")
def net(pipeline):
    torch.manual_seed(0)
    made = make_control_net(pipeline.unet, 4, CONV)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.05)
    return made.eval()


@pytest.fixture
def editor(pipeline, net):
    def make(batch_size=4, unifier=None, **settings):
        return VisualPromptEditor.over(
            pipeline, net, VisualPromptSettings(num_steps=2, **settings), cell_px=CELL_PX, batch_size=batch_size,
            unifier=unifier,
        )  # fmt: skip

    return make


def request(seed=0, size=(20, 20), text="make it red", num_examples=1):
    examples = tuple((make_image(*size, seed + 10 + n), make_image(*size, seed + 20 + n)) for n in range(num_examples))
    return EditRequest(image=make_image(*size, seed), instruction=text, examples=examples)


def same(one, other):
    return [image.tobytes() for image in one] == [image.tobytes() for image in other]


@pytest.mark.parametrize(("text_scale", "example_scale"), [(1.0, 1.0), (1.0, 3.0), (4.0, 1.0), (4.0, 2.5)])
def test_guidance_is_the_formula_of_three_evaluations(text_scale, example_scale):
    class Net:
        dtype = torch.float32

        def __call__(self, noisy, timestep, tokens, hint, return_dict):
            return (hint.mean((1, 2, 3)),), hint[:, :, :1].mean((1, 2, 3))

    class Unet:
        dtype = torch.float32

        def __call__(self, noisy, timestep, tokens, down_block_additional_residuals, mid_block_additional_residual):
            seen = tokens.mean((1, 2)) + down_block_additional_residuals[0] + 2 * mid_block_additional_residual
            return SimpleNamespace(sample=noisy * seen[:, None, None, None].square())

    generator = torch.Generator().manual_seed(0)
    noisy, cells = torch.randn(2, 4, 4, 4, generator=generator), torch.randn(3, 2, 3, 8, 8, generator=generator)
    text, nothing = torch.randn(2, 3, 5, generator=generator), torch.randn(1, 3, 5, generator=generator)
    grid = condition_of(*cells)
    settings = VisualPromptSettings(guidance_scale=text_scale, example_guidance_scale=example_scale)
    conditions = PromptConditions(TextCondition(text), TextCondition(nothing), grid)
    found = GuidedControl(Unet(), Net(), conditions, settings)(noisy, torch.tensor(3))

    def evaluated(tokens, seen):
        down, mid = Net()(None, None, None, (seen + 1) / 2, False)
        return Unet()(noisy, None, tokens, down, mid).sample

    bare = evaluated(nothing.expand(2, -1, -1), without_examples(grid, torch.tensor([True, True])))
    shown, full = evaluated(nothing.expand(2, -1, -1), grid), evaluated(text, grid)
    expected = full if text_scale <= 1 else bare + example_scale * (shown - bare) + text_scale * (full - shown)
    assert torch.allclose(found, expected, atol=1e-5)


def test_sample_equals_a_loop_with_diffusers_own_scheduler(pipeline, net, editor):
    from torchvision.transforms.functional import to_tensor

    one = request(size=(CELL_PX, CELL_PX))
    found = editor(guidance_scale=1.0).edit([one], seeds=[7])[0]
    cells = [to_tensor(image)[None] * 2 - 1 for image in (*one.examples[0], one.image)]
    scheduler = DDIMScheduler.from_config(pipeline.scheduler.config, clip_sample=False)
    scheduler.set_timesteps(2)
    latent = torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(7))[None]
    with torch.no_grad():
        text, _ = pipeline.encode_prompt([one.instruction], "cpu", 1, do_classifier_free_guidance=False)
        for step in scheduler.timesteps:
            down, mid = net(latent, step, text, condition_of(*cells) / 2 + 0.5, return_dict=False)
            out = pipeline.unet(
                latent, step, text, down_block_additional_residuals=down, mid_block_additional_residual=mid
            ).sample
            latent = scheduler.step(out, step, latent).prev_sample
        decoded = pipeline.vae.decode(output_cell(latent) / pipeline.vae.config.scaling_factor).sample
    expected = pipeline.image_processor.postprocess(decoded, output_type="pil")[0]
    difference = (to_tensor(found) - to_tensor(expected)).abs().max()
    assert float(difference) <= 1 / 255 + 1e-6


def test_image_does_not_depend_on_the_other_requests(editor):
    requests = [request(0), request(1, (24, 16)), request(2, num_examples=2), request(3, num_examples=0)]
    together = editor().edit(requests, seeds=[1, 2, 3, 4])
    alone = [
        editor(batch_size=1).edit([one], seeds=[seed])[0] for one, seed in zip(requests, (1, 2, 3, 4), strict=True)
    ]
    assert [image.size for image in together] == [(20, 20), (24, 16), (20, 20), (20, 20)]
    assert same(together, alone)


def test_same_example_twice_is_that_example(editor):
    one = request()
    twice = EditRequest(image=one.image, instruction=one.instruction, examples=one.examples * 2)
    assert same(editor().edit([one], seeds=[1]), editor().edit([twice], seeds=[1]))


def test_examples_and_their_order_within_the_pair_matter(editor):
    one = request()
    turned = tuple((after, before) for before, after in one.examples)
    variants = [one.examples, turned, (), request(5).examples]
    found = [editor().edit([EditRequest(image=one.image, instruction="a", examples=e)], seeds=[1]) for e in variants]
    assert len({images[0].tobytes() for images in found}) == len(variants)


def test_example_of_another_size_or_mode_is_cut_and_reported(editor, caplog):
    caplog.set_level(logging.INFO)
    wide = (make_image(90, 20).convert("RGBA"), make_image(3, 60).convert("L"))
    found = editor().edit([EditRequest(image=make_image(20, 20), instruction="a", examples=(wide,))], seeds=[1])
    assert found[0].size == (20, 20)
    assert "an example of 90 x 20 pixels is cut to the shape of its image" in caplog.messages


def test_unified_instruction_is_used_and_shown(editor, caplog):
    caplog.set_level(logging.INFO)
    unified = editor(unifier=Unifier(None))
    found = unified.edit([request(text="please paint the car blue"), request(text="make the car blue")], seeds=[1, 1])
    assert same(found[:1], found[1:])
    assert "the instruction 'please paint the car blue' is read as 'make the car blue'" in caplog.messages


def test_request_without_instruction_is_refused(editor):
    with pytest.raises(ValueError, match="request 0 has no instruction; this editor is led by it"):
        editor().edit([EditRequest(image=make_image(20, 20))], seeds=[1])


@pytest.fixture
def saved(pipeline, net, tmp_path):
    pipeline.save_pretrained(tmp_path)
    index = (tmp_path / "model_index.json").read_text()
    (tmp_path / "model_index.json").write_text(
        index.replace('"StableDiffusionPipeline"', '"StableDiffusionVisualPromptPipeline"')
    )
    save_control_net(net, tmp_path / CONTROL_FOLDER, "float32")
    write_editor_file(tmp_path, TrainedAs(cell_px=CELL_PX, unifier="rules"))
    return tmp_path


def test_saved_folder_is_an_editor_in_one_call(saved, editor):
    settings = VisualPromptSettings(num_steps=2)
    loaded = load("Editor", f"path:{saved}", Placement(device="cpu"), settings=settings)
    one = request(text="make it red")
    assert same(loaded.edit([one], seeds=[3]), editor().edit([one], seeds=[3]))


@pytest.mark.parametrize("content", ["{}", "[]", "no json", '{"cell_px": 0, "unifier": "rules"}', None])
def test_damaged_editor_file_is_one_clear_error(saved, content):
    (saved / EDITOR_FILE).unlink()
    if content is not None:
        (saved / EDITOR_FILE).write_text(content)
    with pytest.raises(ModelError, match=r"visual_prompt\.json"):
        read_editor_file(saved)
