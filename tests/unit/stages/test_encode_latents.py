"""Latents against the library's own encoder."""

import io

import numpy as np
import torch
from _inputs import encoded, jpeg, table
from diffusers import AutoencoderKL
from PIL import Image, ImageOps

from models.diffusion.latents import VaeEncoder
from models.model_ids import find
from models.placement import Placement
from pipeline.context import Context
from pipeline.plan.plugins import load_model
from stages.encode_latents import EncodeLatents


def test_latents_are_the_librarys_posterior_mode_scaled():
    ctx = Context(stage_name="encode_latents", loader=load_model)
    rows = table(["a", "b"], source_images=[[jpeg(1)], [jpeg(2)]], target_image=[jpeg(3), jpeg(4)])
    found = EncodeLatents(model="zoo:sd", size_px=64).open(ctx)(rows)
    assert found["latent_model"].to_pylist() == ["zoo:sd"] * 2
    vae = AutoencoderKL.from_pretrained(find("zoo:sd").location, subfolder="vae").eval()
    image = ImageOps.fit(Image.open(io.BytesIO(jpeg(4))).convert("RGB"), (64, 64), Image.Resampling.BICUBIC)
    pixels = torch.from_numpy(np.asarray(image, np.float32) / 127.5 - 1).permute(2, 0, 1)[None]
    with torch.no_grad():
        expected = vae.encode(pixels).latent_dist.mode()[0] * vae.config.scaling_factor
    got = np.load(io.BytesIO(found["target_latent"][1].as_py()), allow_pickle=False)
    assert (got.dtype, got.shape) == (np.float16, (4, 16, 16))
    np.testing.assert_allclose(got, expected.numpy(), atol=5e-3)


def test_latents_of_a_batch_are_those_of_the_images_alone(monkeypatch):
    images = [Image.open(io.BytesIO(jpeg(seed, (64, 64)))).convert("RGB") for seed in range(5)]
    images.insert(2, images[0].resize((32, 32)))
    encoder = VaeEncoder(find("zoo:sd"), Placement(device="cpu", batch_size=3))
    calls, encode = [], encoder._vae.encode
    monkeypatch.setattr(encoder._vae, "encode", lambda pixels: calls.append(tuple(pixels.shape)) or encode(pixels))
    alone = encoder.encode_latents(images)
    assert [shape[0] for shape in calls] == [1] * 6
    calls.clear()
    monkeypatch.setattr("models.diffusion.latents.PIXELS_AT_ONCE", {"cpu": 64 * 64 * 4})
    together = encoder.encode_latents(images)
    assert calls == [(3, 3, 64, 64), (2, 3, 64, 64), (1, 3, 32, 32)]
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
    calls.clear()
    monkeypatch.setattr("models.diffusion.latents.PIXELS_AT_ONCE", {"cpu": 64 * 64 * 2 + 1})
    assert len(encoder.encode_latents(images[3:])) == 3
    assert [shape[0] for shape in calls] == [2, 1]


def mask(box, size=(96, 80)):
    image = Image.new("L", size)
    image.paste(255, box)
    return image


def encoded_regions(masks, **settings):
    count = len(masks)
    rows = table(
        [str(n) for n in range(count)], source_images=[[jpeg(1)]] * count, target_image=[jpeg(2)] * count,
        region_mask_png=[None if one is None else encoded(one, "PNG") for one in masks],
    )  # fmt: skip
    ctx = Context(stage_name="encode_latents", loader=load_model)
    return EncodeLatents(model="zoo:sd", size_px=64, **settings).open(ctx)(rows)


def array(scalar):
    return np.load(io.BytesIO(scalar.as_py()), allow_pickle=False)


def test_the_region_is_encoded_as_an_rgb_image_of_the_same_square():
    drawn = mask((30, 10, 70, 60))
    found = encoded_regions([drawn], with_region=True)["region_latent"]
    square = ImageOps.fit(drawn, (64, 64), Image.Resampling.NEAREST).convert("RGB")
    expected = VaeEncoder(find("zoo:sd"), Placement(device="cpu")).encode_latents([square])[0]
    np.testing.assert_allclose(array(found[0]), expected, atol=5e-3)


def test_equal_regions_have_one_latent_and_rows_without_region_none():
    drawn, white = mask((0, 0, 20, 20)), mask((0, 0, 96, 80))
    found = encoded_regions([drawn, None, white, drawn], with_region=True)["region_latent"].to_pylist()
    assert found[0] == found[3] != found[2]
    assert found[1] is None


def test_without_regions_the_other_latents_are_the_same():
    drawn = mask((0, 0, 20, 20))
    plain, both = encoded_regions([drawn]), encoded_regions([drawn], with_region=True)
    assert plain["region_latent"].to_pylist() == [None]
    assert plain.drop_columns("region_latent").equals(both.drop_columns("region_latent"))


def test_a_chain_without_region_masks_is_refused():
    stage = EncodeLatents(model="zoo:sd", size_px=64, with_region=True)
    assert stage.needs_columns() == ("region_mask_png",)
    assert stage.writes_empty() == ()
    assert EncodeLatents(model="zoo:sd", size_px=64).writes_empty() == ("region_latent",)


def test_a_size_that_the_autoencoder_cannot_take_is_refused():
    import pytest

    ctx = Context(stage_name="encode_latents", loader=load_model)
    rows = table(["a"], source_images=[[jpeg(1)]], target_image=[jpeg(3)])
    with pytest.raises(ValueError, match="62 x 62 px: sides must be multiples of 4"):
        EncodeLatents(model="zoo:sd", size_px=62).open(ctx)(rows)
