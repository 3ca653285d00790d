"""Tokens of CLIP: the same through transformers and open_clip, and those that its whole embeddings are made of."""

import numpy as np
import pytest
import torch
from _checkpoints import make_image, placement, save_clip, weights_at
from transformers import AutoProcessor, CLIPModel

from models import registry
from models.encoders.clip_tokens import ClipTokens, OpenClipTokens
from models.encoders.convert_clip import convert
from models.placement import Placement

TEXTS = ["a red car", "the cat on the grass", "dog"]
CPU = Placement(device="cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def opened(folder, tmp_path_factory):
    target = tmp_path_factory.mktemp("open") / "clip"
    convert(folder, target)
    return target


@pytest.fixture
def images():
    return torch.rand(3, 3, 40, 56, generator=torch.Generator().manual_seed(0))


def test_both_libraries_give_the_same_tokens(folder, opened, images):
    one, other = ClipTokens(weights_at(folder), placement()), OpenClipTokens(weights_at(opened), placement())
    assert (one.dim, one.grid, one.size_px) == (other.dim, other.grid, other.size_px) == (24, (2, 2), (28, 28))
    for found, expected in zip(one.image_tokens(images), other.image_tokens(images), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    found, expected = one.text_tokens(TEXTS), other.text_tokens(TEXTS)
    length = found.token_BLD.shape[1]
    assert found.is_token_BL.sum(1).tolist() == expected.is_token_BL.sum(1).tolist()
    is_token = found.is_token_BL
    torch.testing.assert_close(
        found.token_BLD[is_token], expected.token_BLD[:, :length][is_token], atol=1e-5, rtol=1e-4
    )
    torch.testing.assert_close(found.emb_BD, expected.emb_BD, atol=1e-5, rtol=1e-4)


def test_whole_embeddings_are_those_of_the_library(folder):
    tokens, model = ClipTokens(weights_at(folder), placement()), CLIPModel.from_pretrained(folder).eval()
    processor = AutoProcessor.from_pretrained(folder)
    image = make_image(28, 28, 1)
    inputs = processor(text=TEXTS, images=[image], return_tensors="pt", padding=True)
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        expected = model(**inputs)
        found = tokens.image_tokens(pixels)
    torch.testing.assert_close(found.emb_BD, expected.image_embeds, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(tokens.text_tokens(TEXTS).emb_BD, expected.text_embeds, atol=1e-5, rtol=1e-4)


def test_the_last_token_of_a_text_is_its_embedding(folder):
    found = ClipTokens(weights_at(folder), placement()).text_tokens(TEXTS)
    last = found.is_token_BL.sum(1) - 1
    ends = found.token_BLD[torch.arange(len(TEXTS)), last]
    torch.testing.assert_close(torch.nn.functional.normalize(ends, dim=-1), found.emb_BD, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", [ClipTokens, OpenClipTokens])
def test_layers_are_counted_from_the_last(kind, folder, opened, images):
    weights = weights_at(folder if kind is ClipTokens else opened)
    last, before = (kind(weights, placement(), patch_layer=layer).image_tokens(images) for layer in (-1, -2))
    torch.testing.assert_close(last.emb_BD, before.emb_BD)
    assert not torch.allclose(last.patch_BND, before.patch_BND, atol=1e-3)
    with pytest.raises(ValueError, match="has 2 layers; expected patch_layer from -2 to -1, got -3"):
        kind(weights, placement(), patch_layer=-3)


@pytest.mark.parametrize("kind", [ClipTokens, OpenClipTokens])
def test_the_image_gets_the_gradient_and_the_weights_none(kind, folder, opened, images):
    tokens = kind(weights_at(folder if kind is ClipTokens else opened), placement())
    images.requires_grad_(True)
    found = tokens.image_tokens(images)
    (found.patch_BND.square().sum() + found.emb_BD.sum()).backward()
    assert images.grad.isfinite().all()
    assert images.grad.abs().amax((1, 2, 3)).min() > 0
    assert all(parameter.grad is None for parameter in tokens._model.parameters())


def test_the_registry_loads_tokens_by_kind(folder, opened):
    assert type(registry.load("ImageTextTokens", f"path:{folder}", CPU)) is ClipTokens
    assert type(registry.load("ImageTextTokens", f"path:{opened}", CPU)) is OpenClipTokens
