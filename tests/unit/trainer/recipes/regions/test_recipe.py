"""The recipe on miniature models: losses by part, gradients to every module, the cache, saving, refusals."""

import json

import pytest
import torch
from _checkpoints import save_siglip
from PIL import Image

from core.errors import MissingDependencyError, SettingError, UsageError
from models.placement import Placement
from models.protocols import EditRequest
from models.regions.region_maps import enlarged
from models.regions.settings import RegionEditorSettings
from models.registry import load, missing, revision
from trainer.batch import Batch
from trainer.draws import Draws
from trainer.recipe import TrainContext, make_recipe
from trainer.recipes.regions import losses
from trainer.recipes.regions.recipe import Regions

pytestmark = pytest.mark.usefixtures("one_thread")

CTX = TrainContext(device=torch.device("cpu"))
CPU = Placement(device="cpu")
NO_CLIP = {"lambda_global": 0.0, "lambda_direction": 0.0, "lambda_structure": 0.0}
NO_SEMANTIC = {"lambda_original": 0.0, "lambda_edited": 0.0}
IMAGE_PARTS = {"global", "direction", "structure"}


def settings(tmp_path, **more):
    values = {
        "data": "d", "out": tmp_path, "size_px": 64, "clip_model": "zoo:clip", "generator": "zoo:sd-inpaint",
        "generator_steps": 1, "generator_guidance_scale": 1.0, "num_heads": 4, "hidden": 16, **more,
    }  # fmt: skip
    return make_recipe(Regions, values)


def opened(tmp_path, **more):
    torch.manual_seed(0)  # as the set-up of a training does
    return settings(tmp_path, **more).open(CTX)


@pytest.fixture(scope="module")
def batch():
    source = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    columns = {
        "source_images": (source,), "instruction": ("make the car blue", "remove the dog"),
        "source_caption": ("a red car on a beach", "a dog and a cat in a meadow"),
        "target_caption": ("a blue car on a beach", "a cat in a meadow"),
    }  # fmt: skip
    return Batch(
        reader="recipe regions", declared=tuple(columns), number_B=torch.arange(2), epochs=(0,) * 2, keys=("a", "b"),
        columns=columns, partial={},
    )  # fmt: skip


def loss_of(objective, batch, seed=0):
    return objective.loss(batch, Draws(seed, batch.number_B))


def test_loss_is_the_weighted_sum_of_its_parts(batch, tmp_path):
    weights = {"lambda_original": 0.5, "lambda_edited": 2.0, "lambda_global": 3.0, "lambda_direction": 0.7,
               "lambda_structure": 11.0}  # fmt: skip
    loss, parts = loss_of(opened(tmp_path, **weights), batch)
    names = ("semantic_original", "semantic_edited", "global", "direction", "structure")
    expected = sum(weight * float(parts[name]) for weight, name in zip(weights.values(), names, strict=True))
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-5)
    assert parts.keys() == {*names, "region_frac"}


def test_image_losses_are_those_of_the_composed_image(batch, tmp_path):
    objective = opened(tmp_path, noise_scale=0.0, generated="whole")
    _, parts = loss_of(objective, batch)
    tokens, head = objective._networks.tokens, objective.modules["head"]
    source = batch["source_images"][0] / 2 + 0.5
    with torch.no_grad():
        known, words = tokens.image_tokens(source), tokens.text_tokens(batch["instruction"])
        before, after = (tokens.text_tokens(batch[name]).emb_BD for name in ("source_caption", "target_caption"))
        features = head(known.patch_BND, words)
        mask = (enlarged(features.logit_BN.sigmoid(), tokens.grid, 64, 64) > 0.5).float()
        generated = objective._networks.generated.images(
            source, [(0, 0, 64, 64)] * 2, batch["target_caption"], [0, 0]
        )  # fmt: skip
        result = tokens.image_tokens(mask * generated + (1 - mask) * source)
    expected = {
        "semantic_original": losses.semantic_loss(features.original_BD, before),
        "semantic_edited": losses.semantic_loss(features.edited_BD, after),
        "global": losses.global_loss(result.emb_BD, after),
        "direction": losses.direction_loss(result.emb_BD, known.emb_BD, after, before),
        "structure": losses.structure_loss(result.patch_BND, known.patch_BND),
    }
    assert {name: float(one.mean()) for name, one in expected.items()} == pytest.approx(
        {name: float(parts[name]) for name in expected}, rel=1e-4
    )


@pytest.mark.parametrize("generated", ["box", "whole"])
def test_gradients_reach_every_parameter_of_the_head(batch, tmp_path, generated):
    objective = opened(tmp_path, generated=generated)
    loss_of(objective, batch)[0].backward()
    gradients = {name: one.grad for name, one in objective.modules["head"].named_parameters()}
    assert all(one is not None and bool(one.isfinite().all()) for one in gradients.values())
    assert [name for name, one in gradients.items() if not bool(one.any())] == []


def test_image_losses_alone_reach_the_head_through_the_threshold(batch, tmp_path):
    """The generator is not differentiated and the mask is hard: what is left is the straight-through gradient."""
    objective = opened(tmp_path, **NO_SEMANTIC)
    loss_of(objective, batch)[0].backward()
    moved = {name.partition(".")[0] for name, one in objective.modules["head"].named_parameters()
             if one.grad is not None and bool(one.grad.any())}  # fmt: skip
    expected = {"image_norm", "text_norm", "edited_norm", "cross_attention", "self_attention", "region"}
    assert moved == expected


def test_without_image_losses_nothing_trains_the_region(batch, tmp_path):
    """So the paper's region without L_CLIP is that of an untrained MLP: about half of the image."""
    objective = opened(tmp_path, **NO_CLIP)
    _, parts = loss_of(objective, batch)
    loss_of(objective, batch)[0].backward()
    parameters = dict(objective.modules["head"].named_parameters())
    idle = {name.partition(".")[0] for name, one in parameters.items() if one.grad is None or not bool(one.grad.any())}
    assert {"region", "self_attention"} <= idle
    assert not IMAGE_PARTS & parts.keys()
    assert settings(tmp_path, **NO_CLIP).needs_models() == ("zoo:clip",)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("lambda_original", "semantic_original"), ("lambda_edited", "semantic_edited"), ("lambda_global", "global"),
        ("lambda_direction", "direction"), ("lambda_structure", "structure"),
    ],
)  # fmt: skip
def test_each_loss_can_be_switched_off(batch, tmp_path, name, part):
    _, parts = loss_of(opened(tmp_path, **{name: 0.0}), batch)
    assert part not in parts
    assert len(parts) == 5


def test_second_epoch_generates_nothing(batch, tmp_path):
    objective = opened(tmp_path, generated="whole", num_seeds=2)
    generated = objective._networks.generated
    for seed in range(12):
        loss_of(objective, batch, seed)
    assert generated.num_generated == 4  # two images, two seeds
    assert generated.num_read == 20


def test_a_shared_folder_serves_other_trainings(batch, tmp_path):
    shared = tmp_path / "shared"
    run_on = {"cache": str(shared)}
    first, second = (opened(tmp_path / name, generated="whole", run_on=run_on) for name in ("a", "b"))
    for objective in (first, second):
        loss_of(objective, batch)
    assert second._networks.generated.num_generated == 0
    assert not (tmp_path / "b" / "generated").exists()


def test_same_draws_give_the_same_loss(batch, tmp_path):
    one, again, other = (loss_of(opened(tmp_path), batch, seed)[0].detach() for seed in (0, 0, 1))
    assert float(one) == float(again)
    assert float(other) != float(one)


def test_saved_head_is_loaded_as_editor_and_segmenter(batch, tmp_path):
    objective = opened(tmp_path, threshold=0.4, patch_layer=-2)
    folder = tmp_path / "model"
    folder.mkdir()
    objective.save(folder)
    config = json.loads((folder / "config.json").read_text())
    assert config["clip_model"] == "zoo:clip"
    assert config["clip_revision"] == revision("zoo:clip")
    assert (config["generator"], config["threshold"], config["patch_layer"]) == ("zoo:sd-inpaint", 0.4, -2)
    segmenter = load("InstructionSegmenter", f"path:{folder}", CPU)
    assert segmenter.threshold == 0.4
    editor = load("Editor", f"path:{folder}", CPU, settings=RegionEditorSettings())
    assert editor.needs == {"instruction", "target_caption"}
    assert missing(f"path:{folder}", "InstructionSegmenter") == []


def test_training_goes_on_from_a_trained_head(batch, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    first = opened(tmp_path)
    with torch.no_grad():
        first.modules["head"].region[1].weight.add_(1)
    first.save(folder)
    second = opened(tmp_path, model=f"path:{folder}")
    for one, other in zip(first.modules["head"].parameters(), second.modules["head"].parameters(), strict=True):
        torch.testing.assert_close(one, other)
    with pytest.raises(UsageError, match="has hidden 16; the settings ask for 32"):
        opened(tmp_path, model=f"path:{folder}", hidden=32)
    with pytest.raises(UsageError, match="is of kind 'clip'; name a region head"):
        opened(tmp_path, model="zoo:clip")


def test_generator_that_cannot_inpaint_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"generator 'zoo:ip2p' is of kind .* which cannot serve EditSynthesizer"):
        opened(tmp_path, generator="zoo:ip2p")
    with pytest.raises(UsageError, match="generator 'zoo:llm' is of kind 'llama', which cannot serve EditSynthesizer"):
        opened(tmp_path, generator="zoo:llm")


def test_server_is_refused_as_generator(tmp_path):
    with pytest.raises(UsageError, match="is a server, whose images nothing pins; a training needs weights"):
        opened(tmp_path, generator="openai:m@http://127.0.0.1:1/v1")


def test_generator_is_not_loaded_where_nothing_needs_it(batch, tmp_path):
    absent = {"generator": "path:nowhere", **NO_CLIP}
    objective = opened(tmp_path, **absent, run_on={"preview_every": 0})
    assert loss_of(objective, batch)[0].isfinite()
    with pytest.raises(MissingDependencyError, match=r"generator: .*nowhere"):
        opened(tmp_path, **absent)


def test_loss_of_a_sample_does_not_depend_on_its_batch(batch, tmp_path):
    objective = opened(tmp_path)
    whole, _ = loss_of(objective, batch)
    alone = [objective.loss(one, Draws(0, one.number_B))[0].detach() for one in (batch.select([0]), batch.select([1]))]
    assert float(whole.detach()) == pytest.approx(float(sum(alone)) / 2, rel=1e-4)


def test_previews_are_made_under_autocast(batch, tmp_path):
    editor = opened(tmp_path).editor
    image = Image.effect_noise((64, 64), 90).convert("RGB")
    with torch.autocast("cpu", torch.bfloat16):
        (picture,) = editor.pictures([EditRequest(image=image, instruction="make it red")])
    assert picture.size == (128, 64)


def test_models_that_are_not_here_are_named(tmp_path):
    with pytest.raises(MissingDependencyError, match=r"clip_model: .*path:nowhere"):
        opened(tmp_path, clip_model="path:nowhere")
    folder = save_siglip(tmp_path / "siglip")
    with pytest.raises(UsageError, match=r"clip_model .* is of kind 'siglip', which cannot serve ImageTextTokens"):
        opened(tmp_path, clip_model=f"path:{folder}")


def test_settings_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(UsageError, match="num_heads is 3, which does not divide the 128 channels"):
        opened(tmp_path, num_heads=3)
    with pytest.raises(UsageError, match="set aspect_buckets=false"):
        opened(tmp_path, aspect_buckets=True)
    with pytest.raises(SettingError, match="patch_layer"):
        opened(tmp_path, patch_layer=0)
