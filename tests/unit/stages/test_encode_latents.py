"""Latents against the library's own encoder."""

import io

import numpy as np
import torch
from _inputs import jpeg, table
from diffusers import AutoencoderKL
from PIL import Image, ImageOps

from models.model_ids import find
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


def test_a_size_that_the_autoencoder_cannot_take_is_refused():
    import pytest

    ctx = Context(stage_name="encode_latents", loader=load_model)
    rows = table(["a"], source_images=[[jpeg(1)]], target_image=[jpeg(3)])
    with pytest.raises(ValueError, match="62 x 62 px: sides must be multiples of 4"):
        EncodeLatents(model="zoo:sd", size_px=62).open(ctx)(rows)
