"""Held against each library's own preprocessing and forward pass.

The library's processors round to 1/255 after resizing, which alone moves a distance by about 1e-3; without resizing
nothing is rounded, and the tolerance is 1e-5.
"""

import json

import numpy as np
import pytest
import torch
from _checkpoints import make_image, placement, save_clip, save_dinov2, save_siglip, seeded, weights_at
from PIL import Image

from models.encoders.features import ClipDistance, DinoFeatures, Preprocess, TimmFeatures
from models.registry import kind_of, load

TEXTS = ["a red cat", "a photo of the blue car"]


def tensor(*images):
    return torch.stack([torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255 for image in images])


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory):
    return save_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def dino_folder(tmp_path_factory):
    return save_dinov2(tmp_path_factory.mktemp("dinov2"))


@pytest.fixture(scope="module")
def vgg_folder(tmp_path_factory):
    """The files of timm/vgg16.tv_in1k with random weights: fewer classes and a narrow head, which nobody reads."""
    import timm
    from timm.models import save_for_hf

    folder = tmp_path_factory.mktemp("vgg")
    seeded()
    arguments = {"mlp_ratio": 0.01}
    model = timm.create_model("vgg16", pretrained=False, num_classes=2, **arguments)
    save_for_hf(model, folder, model_args=arguments, safe_serialization=True)
    return folder


def librarys_distance(folder, images):
    from transformers import CLIPModel, CLIPProcessor

    model = CLIPModel.from_pretrained(folder).eval()
    inputs = CLIPProcessor.from_pretrained(folder)(text=TEXTS, images=images, padding=True, return_tensors="pt")
    with torch.inference_mode():
        out = model(**inputs)
    return 1 - (out.image_embeds * out.text_embeds).sum(-1).numpy()


@pytest.mark.parametrize(("size", "tolerance"), [((28, 28), 1e-5), ((60, 44), 2e-3), ((23, 31), 2e-3)])
def test_clip_distance_is_that_of_the_librarys_embeddings(clip_folder, size, tolerance):
    images = [make_image(*size, 1), make_image(*size, 2)]
    distance_B = ClipDistance(weights_at(clip_folder), placement()).distance(tensor(*images), TEXTS)
    assert distance_B.shape == (2,)
    np.testing.assert_allclose(distance_B.detach(), librarys_distance(clip_folder, images), atol=tolerance)


@pytest.mark.parametrize("size", [(28, 28), (64, 64), (60, 44), (23, 31)])
def test_differentiable_preprocessing_is_the_librarys_but_for_its_rounding(clip_folder, size):
    from transformers import CLIPImageProcessorPil

    processor = CLIPImageProcessorPil.from_pretrained(clip_folder)
    expected = processor([make_image(*size)], return_tensors="np")["pixel_values"][0]
    found = Preprocess(processor, "m")(tensor(make_image(*size)))[0].numpy()
    step = 1 / 255 / min(processor.image_std)
    assert np.abs(found - expected).max() <= 1.5 * step  # PIL rounds after each of its two passes
    assert np.abs(found - expected).mean() < 0.35 * step


def test_clip_distance_has_a_gradient_at_the_image_and_none_at_the_weights(clip_folder):
    clip = ClipDistance(weights_at(clip_folder), placement())
    image_BCHW = tensor(make_image(40, 40, 1), make_image(40, 40, 2)).requires_grad_()
    clip.distance(image_BCHW, TEXTS).sum().backward()
    assert image_BCHW.grad.isfinite().all()
    assert (image_BCHW.grad.abs().sum((1, 2, 3)) > 0).all()
    assert not any(p.requires_grad for p in clip._model.parameters())


@pytest.mark.parametrize("side_px", [28, 40])
def test_clip_embeddings_have_length_1_and_give_the_distance(clip_folder, side_px):
    clip = ClipDistance(weights_at(clip_folder), placement())
    image_BCHW = tensor(make_image(side_px, side_px, 1), make_image(side_px, side_px, 2))
    image_BD, text_BD = clip.image_emb(image_BCHW), clip.text_emb(TEXTS)
    assert image_BD.shape == text_BD.shape == (2, 24)
    for emb_BD in (image_BD, text_BD):
        torch.testing.assert_close(emb_BD.norm(dim=-1), torch.ones(2))
    cosine_B = torch.nn.functional.cosine_similarity(image_BD, text_BD)
    torch.testing.assert_close(clip.distance(image_BCHW, TEXTS), 1 - cosine_B)


def test_clip_embeddings_of_texts_have_no_gradient_and_those_of_images_do(clip_folder):
    clip = ClipDistance(weights_at(clip_folder), placement())
    image_BCHW = tensor(make_image(40, 40, 1)).requires_grad_()
    assert not clip.text_emb(TEXTS).requires_grad
    clip.image_emb(image_BCHW)[:, 0].sum().backward()
    assert image_BCHW.grad.abs().sum() > 0


def test_a_step_against_the_gradient_brings_the_image_nearer_to_the_text(clip_folder):
    clip = ClipDistance(weights_at(clip_folder), placement())
    image_BCHW = tensor(make_image(40, 40, 1)).requires_grad_()
    before = clip.distance(image_BCHW, TEXTS[:1])
    (gradient,) = torch.autograd.grad(before.sum(), image_BCHW)
    assert clip.distance(image_BCHW - 0.05 * gradient / gradient.abs().max(), TEXTS[:1]) < before


def test_number_of_texts_must_be_that_of_images(clip_folder):
    with pytest.raises(ValueError, match="1 images and 2 texts; pass one text an image"):
        ClipDistance(weights_at(clip_folder), placement()).distance(tensor(make_image(28, 28)), TEXTS)


def test_processor_that_squeezes_images_is_refused(tmp_path):
    from transformers import AutoProcessor

    processor = AutoProcessor.from_pretrained(save_siglip(tmp_path)).image_processor
    with pytest.raises(ValueError, match="does not resize the shorter side"):
        Preprocess(processor, "path:x")


def test_vgg_features_are_timms_relu3_3_after_timms_own_transform(vgg_folder):
    import timm
    from timm.data import create_transform, resolve_data_config

    images = [make_image(48, 48, 1), make_image(48, 48, 2)]
    model = timm.create_model("vgg16", checkpoint_path=vgg_folder / "model.safetensors", num_classes=2, mlp_ratio=0.01)
    transform = create_transform(**resolve_data_config({"input_size": (3, 48, 48), "crop_pct": 1.0}, model=model))
    taken = []
    model.features[15].register_forward_hook(lambda module, given, out: taken.append(out.clone()))
    with torch.inference_mode():
        model.eval().forward_features(torch.stack([transform(image) for image in images]))
    (map_BChw,) = load("PerceptualFeatures", f"path:{vgg_folder}", placement()).features(tensor(*images))
    assert map_BChw.shape == (2, 256, 12, 12)
    np.testing.assert_allclose(map_BChw, taken[0], atol=1e-5)


def test_vgg_is_cut_behind_the_last_tap_and_frozen(vgg_folder):
    vgg = TimmFeatures(weights_at(vgg_folder), placement(), taps=(0, 1))
    assert sum(p.numel() for p in vgg._model.parameters()) < 300_000
    assert not any(p.requires_grad for p in vgg._model.parameters())
    image_BCHW = tensor(make_image(24, 32)).requires_grad_()
    shallow_BChw, deep_BChw = vgg.features(image_BCHW)
    assert (shallow_BChw.shape, deep_BChw.shape) == ((1, 64, 32, 24), (1, 128, 16, 12))
    deep_BChw.square().sum().backward()
    assert image_BCHW.grad.isfinite().all()
    assert image_BCHW.grad.abs().sum() > 0


def test_tap_that_is_not_there_is_refused(vgg_folder, dino_folder):
    with pytest.raises(ValueError, match="has the taps 0 to 5, not 9"):
        TimmFeatures(weights_at(vgg_folder), placement(), taps=(9,))
    with pytest.raises(ValueError, match="has 2 blocks, not 9"):
        DinoFeatures(weights_at(dino_folder), placement(), taps=(9,))


def test_checkpoint_of_timm_is_recognised_by_its_architecture(vgg_folder):
    config = json.loads((vgg_folder / "config.json").read_text())
    assert "model_type" not in config
    assert kind_of(weights_at(vgg_folder)) == "timm"


@pytest.mark.parametrize("taps", [(), (1, 2)])
def test_dino_features_are_hidden_states_without_the_cls_token(dino_folder, taps):
    from transformers import AutoImageProcessor, Dinov2Model

    images = [make_image(28, 28, 1), make_image(28, 28, 2)]
    processor = AutoImageProcessor.from_pretrained(dino_folder, do_resize=False)
    with torch.inference_mode():
        inputs = processor(images, return_tensors="pt")
        states = Dinov2Model.from_pretrained(dino_folder).eval()(**inputs, output_hidden_states=True).hidden_states
    maps = DinoFeatures(weights_at(dino_folder), placement(), taps=taps).features(tensor(*images))
    assert len(maps) == len(taps or (1,))
    for tap, map_BChw in zip(taps or (1,), maps, strict=True):
        assert map_BChw.shape == (2, 32, 2, 2)
        np.testing.assert_allclose(map_BChw.flatten(2).transpose(1, 2), states[tap][:, 1:], atol=1e-5)


def test_dino_resizes_to_whole_patches_and_gives_a_gradient(dino_folder):
    image_BCHW = tensor(make_image(40, 30)).requires_grad_()
    (map_BChw,) = DinoFeatures(weights_at(dino_folder), placement()).features(image_BCHW)
    assert map_BChw.shape == (1, 32, 2, 3)
    map_BChw.square().sum().backward()
    assert image_BCHW.grad.isfinite().all()
    assert image_BCHW.grad.abs().sum() > 0


def test_features_of_zoo_models_load_by_id():
    white = tensor(Image.new("RGB", (64, 64), "white"))
    assert load("DifferentiableImageText", "zoo:clip").distance(white, ["a red car"]).shape == (1,)
    assert load("PerceptualFeatures", "zoo:dino").features(white)[0].shape == (1, 128, 8, 8)
