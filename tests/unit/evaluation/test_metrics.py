import numpy as np
import pytest
import torch
from PIL import Image
from skimage.metrics import structural_similarity

from evaluation.metrics import (
    clip_scores,
    cosines,
    direction_cosines,
    l1,
    l2,
    resized_to,
    ssim_in_and_out,
    ssim_map,
    unit_range,
)

RNG = np.random.default_rng(0)
ONE, OTHER = (Image.fromarray(RNG.integers(0, 256, (20, 24, 3), dtype=np.uint8)) for _ in range(2))
A, B = unit_range(ONE), unit_range(OTHER)
MASK = RNG.random((20, 24)) < 0.3


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


EMB = [unit(RNG.normal(size=(6, 16))) for _ in range(4)]


def tensors(*images):
    return [torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255 for image in images]


def test_l1_and_l2_are_those_of_torch_on_tensors_from_nought_to_one():
    a, b = tensors(ONE, OTHER)
    assert l1(A, B) == pytest.approx(torch.nn.L1Loss()(a, b).item(), rel=1e-6)
    assert l2(A, B) == pytest.approx(torch.nn.MSELoss()(a, b).item(), rel=1e-6)
    assert l1(A, A) == l2(A, A) == 0


def test_l1_and_l2_in_a_mask_count_its_pixels_only():
    assert l1(A, B, MASK) == pytest.approx(np.abs(A - B)[MASK].mean())
    assert l2(A, B, MASK) == pytest.approx(np.square(A - B)[MASK].mean())
    share = MASK.mean()
    assert share * l1(A, B, MASK) + (1 - share) * l1(A, B, ~MASK) == pytest.approx(l1(A, B))
    assert l1(A, B, np.zeros_like(MASK)) is None


def test_an_image_is_resized_as_pillow_does_by_default():
    assert resized_to(ONE, (11, 13)).tobytes() == ONE.resize((11, 13)).tobytes()
    assert resized_to(ONE, ONE.size) is ONE


def test_ssim_map_has_the_mean_that_scikit_image_and_torchmetrics_report():
    from torchmetrics.functional.image import structural_similarity_index_measure

    expected, full = structural_similarity(A, B, data_range=1.0, channel_axis=2, full=True)
    np.testing.assert_array_equal(ssim_map(A, B), full)
    assert ssim_map(A, B)[3:-3, 3:-3].mean() == pytest.approx(expected)  # scikit-image leaves the border out
    a, b = (torch.from_numpy(one).permute(2, 0, 1)[None] for one in (A, B))
    window = {"gaussian_kernel": False, "kernel_size": 7, "data_range": 1.0, "return_full_image": True}
    _, map_1CHW = structural_similarity_index_measure(a, b, **window)
    # away from the border, and up to the variance's denominator: 49 pixels there, 48 in scikit-image
    difference = ssim_map(A, B) - map_1CHW[0].permute(1, 2, 0).numpy()
    assert np.abs(difference[8:-8, 8:-8]).max() < 1e-3


def test_ssim_in_and_out_are_means_of_the_map():
    inside, outside = ssim_in_and_out(A, B, MASK)
    assert inside == pytest.approx(ssim_map(A, B)[MASK].mean())
    assert outside == pytest.approx(ssim_map(A, B)[~MASK].mean())
    assert ssim_in_and_out(A, A, MASK) == (pytest.approx(1), pytest.approx(1))
    assert ssim_in_and_out(A, B, np.ones_like(MASK))[1] is None
    assert ssim_in_and_out(A, B, np.zeros_like(MASK))[0] is None


def test_ssim_of_a_tiny_image_is_refused():
    with pytest.raises(ValueError, match="an image of 24 x 6 pixels is too small for SSIM; it needs 7"):
        ssim_map(A[:6], B[:6])


def test_cosines_and_directions_are_those_of_torch():
    a, b, c, d = (torch.from_numpy(one).double() for one in EMB)
    expected = torch.nn.functional.cosine_similarity(a, b)
    np.testing.assert_allclose(cosines(EMB[0], EMB[1]), expected.numpy(), atol=1e-6)
    expected = torch.nn.functional.cosine_similarity(b - a, d - c)
    np.testing.assert_allclose(direction_cosines(*EMB), expected.numpy(), atol=1e-6)


def test_an_edit_that_changes_nothing_has_no_direction():
    """Two files with the same pixels may differ in the last digit of their embeddings."""
    nearly = EMB[0] + np.float32(1e-7)
    assert (direction_cosines(EMB[0], nearly, EMB[2], EMB[3]) == 0).all()
    assert (direction_cosines(EMB[0], EMB[1], EMB[2], EMB[2]) == 0).all()


def test_clip_score_is_hessels():
    """torchmetrics' CLIPScore is 100 * max(cosine, 0). Hessel's, and iEdit's percent, is 2.5 times that."""
    opposite = -EMB[0]
    assert (clip_scores(EMB[0], opposite) == 0).all()
    np.testing.assert_allclose(clip_scores(EMB[0], EMB[0]), 250, rtol=1e-6)
    cosine = (EMB[0] * EMB[1]).sum(1)
    np.testing.assert_allclose(clip_scores(EMB[0], EMB[1]), 250 * cosine.clip(0), atol=1e-4)


def test_clip_score_agrees_with_torchmetrics_on_the_same_model():
    from torchmetrics.functional.multimodal import clip_score
    from transformers import CLIPModel, CLIPProcessor

    from models import registry
    from zoo.export import WEIGHTS
    from zoo.world import caption, render, scene_of

    scenes = [scene_of(3, index) for index in range(4)]
    images, texts = [Image.fromarray(render(scene)) for scene in scenes], [caption(scene) for scene in scenes[::-1]]

    def zoo():
        model = CLIPModel.from_pretrained(WEIGHTS / "clip", use_safetensors=True).float().eval()
        for name in ("get_image_features", "get_text_features"):  # torchmetrics 1.9 expects what transformers 4 gave
            now = getattr(model, name)
            setattr(model, name, lambda *a, _now=now, **k: _now(*a, **k).pooler_output)
        return model, CLIPProcessor.from_pretrained(WEIGHTS / "clip")

    pixels = [torch.from_numpy(np.array(image)).permute(2, 0, 1) for image in images]
    expected = clip_score(pixels, texts, model_name_or_path=zoo).item()
    clip = registry.load("ImageTextEncoder", "zoo:clip")
    found = cosines(clip.encode_images(images), clip.encode_texts(texts))
    assert 100 * max(found.mean(), 0) == pytest.approx(expected, rel=1e-4)
