"""The recipe on zoo:sd: the loss against diffusers' scheduler, its parts, dropout, gradients, saving, refusals."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from diffusers import ControlNetModel, DDPMScheduler

from core.errors import ModelError, SettingError, UsageError
from models.diffusion.editor_kinds import VISUAL_PROMPT
from models.diffusion.visual_prompt.control_net import control
from models.diffusion.visual_prompt.editor import VisualPromptEditor
from models.diffusion.visual_prompt.editor_file import read_editor_file
from models.diffusion.visual_prompt.grid import condition_of, grid_of, output_cell, without_examples
from models.diffusion.visual_prompt.settings import VisualPromptSettings
from models.placement import Placement
from models.registry import load
from models.schemes.zoo import ZOO
from trainer.batch import Batch
from trainer.draws import Draws
from trainer.recipe import TrainContext, make_recipe
from trainer.recipes.instructgie.recipe import InstructGie

pytestmark = pytest.mark.usefixtures("one_thread")

CTX = TrainContext(device=torch.device("cpu"))
SMALL = {"hint_width": 8, "hint_depth": 1}
CONV = {"hint_encoder": "conv", "zero_layers": "conv"}
NO_DROPOUT = {"text_dropout": 0.0, "example_dropout": 0.0, "both_dropout": 0.0}
PLAIN = {"lambda_shift": 0.0, "lambda_selective": 0.0}
TEXTS = ("make the car red", "make it snowy", "remove the dog", "add a cat")


def settings(**more):
    values = {"data": "d", "model": "zoo:sd", "out": "o", "size_px": 32, "clip_model": "zoo:clip", **CONV, **more}
    return make_recipe(InstructGie, values)


def opened(**more):
    torch.manual_seed(0)  # as the set-up of a training does
    return settings(**more).open(CTX)


@pytest.fixture(scope="module")
def batch():
    generator = torch.Generator().manual_seed(0)
    example_source, example_target, source, target = torch.rand(4, 4, 3, 32, 32, generator=generator) * 2 - 1
    mask = torch.zeros(4, 1, 32, 32)
    mask[:2, :, 8:24, :16] = 1
    columns = {
        "example_source_images": example_source, "example_target_images": example_target, "source_images": (source,),
        "target_image": target, "instruction": tuple(f"please {text}" for text in TEXTS), "unified_instruction": TEXTS,
        "selective_mask_png": mask,
    }  # fmt: skip
    return Batch(
        reader="recipe instructgie", declared=(*columns, "instruction_unifier"), number_B=torch.arange(4),
        epochs=(0,) * 4, keys=("a", "b", "c", "d"), columns=columns, partial={},
    )  # fmt: skip


def cells_of(batch):
    names = ("example_source_images", "example_target_images")
    return (*(batch[name] for name in names), batch["source_images"][0], batch["target_image"])


def loss_of(objective, batch, seed=0, *, keeps_graph=False):
    loss, parts = objective.loss(batch, Draws(seed, batch.number_B))
    return (loss if keeps_graph else loss.detach()), parts


def stir(objective):
    """Move what starts at zero, as training does."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for module in objective.modules.values():
            for parameter in module.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.02)
    return objective


def parameters(objective):
    return {f"{m}.{name}": p for m, module in objective.modules.items() for name, p in module.named_parameters()}


def predicted(objective, batch, *, drops_example=False, text=TEXTS):
    """(output, latent, noise, noisy, timestep), straight from diffusers' scheduler and networks."""
    pipeline = objective._checkpoint.pipeline
    draws = Draws(0, batch.number_B)
    time = draws.integers("timestep", 1000)
    with torch.no_grad():
        scale = pipeline.vae.config.scaling_factor
        latent = pipeline.vae.encode(grid_of(*cells_of(batch))).latent_dist.mode() * scale
        noise = draws.normal("noise", latent.shape[1:])
        noisy = DDPMScheduler.from_config(pipeline.scheduler.config).add_noise(latent, noise, time)
        encoded, _ = pipeline.encode_prompt(list(text), "cpu", 1, do_classifier_free_guidance=False)
        seen = condition_of(*cells_of(batch)[:3])
        if drops_example:
            seen = without_examples(seen, torch.ones(4, dtype=torch.bool))
        added = control(objective.modules["control_net"], noisy, time, encoded, seen)
        out = pipeline.unet(noisy, time, encoded, **added.as_conditions()).sample
    return out, latent, noise, noisy, time


def test_loss_without_parts_is_that_of_diffusers_scheduler(batch):
    objective = stir(opened(**NO_DROPOUT, **PLAIN))
    loss, parts = loss_of(objective, batch)
    out, _, noise, *_ = predicted(objective, batch)
    assert float(loss) == pytest.approx(float((out - noise).square().mean()), rel=1e-5)
    assert parts.keys() == {"error"}


@pytest.mark.parametrize(
    ("dropout", "more"),
    [
        ({"text_dropout": 1.0}, {"text": ("",) * 4}),
        ({"example_dropout": 1.0}, {"drops_example": True}),
        ({"both_dropout": 1.0}, {"text": ("",) * 4, "drops_example": True}),
    ],
)
def test_dropped_conditions_are_the_empty_text_and_grey_cells(batch, dropout, more):
    objective = stir(opened(**{**NO_DROPOUT, **dropout}, **PLAIN))
    loss, _ = loss_of(objective, batch)
    out, _, noise, *_ = predicted(objective, batch, **more)
    assert float(loss) == pytest.approx(float((out - noise).square().mean()), rel=1e-5)


def test_further_losses_are_those_of_the_clean_output_cell(batch):
    objective = stir(opened(**NO_DROPOUT, lambda_shift=0.3, lambda_selective=0.7))
    loss, parts = loss_of(objective, batch)
    out, latent, noise, noisy, time = predicted(objective, batch)
    pipeline = objective._checkpoint.pipeline
    scheduler = DDPMScheduler.from_config(pipeline.scheduler.config, clip_sample=False)
    clean = torch.cat([
        scheduler.step(out[row : row + 1], int(one), noisy[row : row + 1]).pred_original_sample
        for row, one in enumerate(time)
    ])  # fmt: skip
    error = (output_cell(clean) - output_cell(latent)).square().mean(1)
    inside = torch.nn.functional.interpolate(batch["selective_mask_png"], (8, 8), mode="area")[:, 0]
    selective = torch.stack([
        (error[row] * inside[row]).sum() / inside[row].sum() if row < 2 else torch.zeros(()) for row in range(4)
    ])  # fmt: skip
    clip = load("DifferentiableImageText", "zoo:clip", Placement(device="cpu"))
    with torch.no_grad():
        images = pipeline.vae.decode(output_cell(clean) / pipeline.vae.config.scaling_factor).sample
        edited, source, target = (
            clip.image_emb(one / 2 + 0.5) for one in (images, batch["source_images"][0], batch["target_image"])
        )
    shift = 1 - torch.cosine_similarity(edited - source, target - source)
    weight = 1 - time / 1000
    expected = (out - noise).square().mean() + 0.3 * (weight * shift).mean() + 0.7 * (weight * selective).mean()
    assert float(loss) == pytest.approx(float(expected), rel=1e-4)
    assert float(parts["shift"]) == pytest.approx(float(shift.mean()), rel=1e-4)
    assert float(parts["selective"]) == pytest.approx(float(selective.mean()), rel=1e-4)


def test_sample_without_text_has_no_shift_to_match(batch):
    _, parts = loss_of(stir(opened(**{**NO_DROPOUT, "text_dropout": 1.0})), batch)
    assert float(parts["shift"]) == 0
    assert float(parts["selective"]) > 0


def test_instruction_is_read_unified_or_as_it_is(batch):
    objective, other = (stir(opened(**NO_DROPOUT, **PLAIN, unified=unified)) for unified in (True, False))
    raw = replace(batch, columns={**batch.columns, "unified_instruction": batch["instruction"]})
    assert float(loss_of(objective, batch)[0]) != float(loss_of(other, batch)[0])
    assert float(loss_of(objective, raw)[0]) == float(loss_of(other, batch)[0])
    assert settings().needs_columns() == ("unified_instruction",)
    assert settings(unified=False).needs_columns() == ()


@pytest.mark.parametrize("parts", [CONV, {"hint_encoder": "vmamba", "zero_layers": "vmamba", **SMALL}],
                         ids=["conv", "vmamba"])  # fmt: skip
def test_gradients_reach_every_module_from_the_second_step(batch, parts):
    objective = opened(**parts, trained="unet")
    known = parameters(objective)
    for one in known.values():
        one.requires_grad_(True)
    optimiser = torch.optim.SGD(known.values(), 1e-2)
    for step in range(3):
        optimiser.zero_grad()
        loss_of(objective, batch, seed=step, keeps_graph=True)[0].backward()
        moved = {name for name, one in known.items() if one.grad is not None and bool(one.grad.any())}
        assert all(bool(torch.isfinite(known[name].grad).all()) for name in moved)
        if step == 1:
            children = {name.split(".")[1] for name in known if name.startswith("control_net.")}
            assert children == {name.split(".")[1] for name in moved if name.startswith("control_net.")}
        optimiser.step()
    assert moved == set(known)


def test_what_is_not_trained_is_in_no_group():
    control_only, decoder, unet = (opened(trained=one) for one in ("control", "decoder", "unet"))
    assert control_only.modules.keys() == {"control_net"}
    assert all(name.startswith("control_net.") for name in control_only.trained_at(0))
    names = {name for name in decoder.trained_at(0) if name.startswith("unet.")}
    assert names
    assert all(name.startswith(("unet.up_blocks.", "unet.conv_")) for name in names)
    assert names < {name for name in unet.trained_at(0) if name.startswith("unet.")}
    assert opened(trained="unet", unet_learning_rate=1e-6).groups[1].learning_rate == 1e-6


@pytest.mark.parametrize("parts", [CONV, {"hint_encoder": "vit", "zero_layers": "vmamba", **SMALL}],
                         ids=["conv", "vit"])  # fmt: skip
def test_saved_result_edits_as_the_preview_does_and_trains_further(batch, tmp_path, parts):
    objective = stir(opened(**parts))
    objective.save(tmp_path)
    assert json.loads((tmp_path / "model_index.json").read_text())["_class_name"] == VISUAL_PROMPT
    assert read_editor_file(tmp_path).model_dump() == {"cell_px": 32, "unifier": "rules"}
    again = opened(**parts, model=f"path:{tmp_path}")
    before, after = (loss_of(one, batch)[0] for one in (objective, again))
    assert float(after) == pytest.approx(float(before), rel=1e-5)
    assert isinstance(load("Editor", f"path:{tmp_path}", settings=VisualPromptSettings()), VisualPromptEditor)
    if parts == CONV:
        assert ControlNetModel.from_pretrained(tmp_path / "controlnet", use_safetensors=True)


def test_result_with_other_parts_is_refused(tmp_path):
    opened().save(tmp_path)
    with pytest.raises(UsageError, match="has a control network of ControlParts"):
        opened(model=f"path:{tmp_path}", hint_encoder="vmamba")


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"size_px": 34}, "size_px is 34; for grids of two by two, model 'zoo:sd' needs a multiple of 4"),
        ({"model": "zoo:ip2p"}, "this trainer takes a StableDiffusionPipeline or StableDiffusionVisualPromptPipeline"),
        ({"model": "zoo:clip"}, "this trainer takes a StableDiffusionPipeline or"),
        ({"aspect_buckets": True}, "recipe instructgie has grids of squares"),
    ],
)
def test_what_does_not_fit_a_grid_is_refused(more, expected):
    with pytest.raises(UsageError, match=expected):
        opened(**more)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"text_dropout": 0.6, "both_dropout": 0.6}, "add up to 1.25; expected at most 1"),
        ({"use_latents": True}, "a grid is encoded as a whole"),
        ({"unifier": "none"}, "or set unified=false"),
        ({"unet_learning_rate": 1e-4}, "the UNet is not trained"),
        ({"run_on": {"compile_unet": True}}, "compile_unet does not help"),
        ({"hint_encoder": "vit", "hint_width": 9}, "hint_width is 9; hint_encoder 'vit' needs an even number"),
        (
            {"run_on": {"preview": {"unifier": "zoo:llm"}}},
            "run_on.preview.unifier: input should be 'as_trained', 'rules' or 'none', got 'zoo:llm'",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused(more, expected):
    with pytest.raises(SettingError, match=expected):
        settings(**more)


@pytest.mark.parametrize("kind", ["conv", "vmamba"])
def test_odd_width_is_no_fault_of_other_encoders(kind):
    assert opened(hint_encoder=kind, hint_width=9, hint_depth=1, **PLAIN)


@pytest.mark.parametrize(
    ("preview", "unified", "expected"),
    [
        ("as_trained", True, "remove the dog"),
        ("as_trained", False, "Delete the dog!"),
        ("rules", False, "remove the dog"),
        ("none", True, "Delete the dog!"),
    ],
)
def test_previews_unify_as_their_setting_says(preview, unified, expected):
    objective = opened(unified=unified, run_on={"preview": {"unifier": preview}}, **PLAIN)
    assert objective.editor._unified(["Delete the dog!"]) == [expected]


@pytest.mark.parametrize(
    ("unifier", "kind", "expected"),
    [
        ("zoo:lllm", ModelError, "unifier: no model is called 'zoo:lllm'"),
        ("llm", ModelError, "unifier: "),
        ("zoo:clip", UsageError, "unifier 'zoo:clip' is of kind 'clip', which cannot serve TextGenerator"),
    ],
)
def test_unifier_that_no_result_could_load_is_refused(unifier, kind, expected):
    with pytest.raises(kind, match=expected) as caught:
        opened(unifier=unifier, **PLAIN)
    assert "\n" not in str(caught.value)
    assert opened(unifier=unifier, unified=False, **PLAIN)


def test_unifier_of_the_settings_is_that_of_the_result(tmp_path):
    opened(unifier="zoo:llm", **PLAIN).save(tmp_path)
    assert read_editor_file(tmp_path).unifier == "zoo:llm"


def test_model_with_a_step_of_pure_noise_is_refused(tmp_path):
    shutil.copytree(ZOO / "sd", tmp_path / "sd")
    path = tmp_path / "sd" / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "rescale_betas_zero_snr": True}))
    with pytest.raises(UsageError, match="has a timestep of pure noise"):
        opened(model=f"path:{tmp_path / 'sd'}")
    assert opened(model=f"path:{tmp_path / 'sd'}", **PLAIN)


def test_first_batch_without_selective_area_is_reported(batch, caplog):
    caplog.set_level("INFO")
    empty = replace(batch, columns={**batch.columns, "selective_mask_png": torch.zeros(4, 1, 32, 32)})
    objective = opened()
    for one in (empty, empty):
        loss_of(objective, one)
    told = [line for line in caplog.messages if "have no selective area" in line]
    assert len(told) == 1


@pytest.mark.parametrize(
    ("writers", "more", "number"),
    [
        (("rule", "model", "rule", "rule"), {}, 1),
        (("rule",) * 4, {}, 0),
        (("model",) * 4, {"unifier": "zoo:llm"}, 0),
        (("model",) * 4, {"unified": False}, 0),
    ],
)
def test_instructions_that_a_model_unified_are_reported_once(batch, caplog, writers, more, number):
    written = replace(batch, columns={**batch.columns, "instruction_unifier": writers})
    objective = opened(**more, **PLAIN)
    for one in (written, written):
        loss_of(objective, one)
    expected = "instructions of the dataset were unified by a language model; set unifier to its id so that"
    assert sum(expected in line for line in caplog.messages) == number
    assert "instruction_unifier" in settings().reads_if_present
