"""Images made ready apart from the network: pixels of the checkpoint's own processor, and the same numbers after."""

import threading

import numpy as np
import pytest
import torch
from _checkpoints import make_image, placement, save_clip, save_dinov2, save_siglip, save_stable_diffusion, weights_at
from _language_models import make_images, save_blip, save_blip2
from transformers import (
    BitImageProcessor,
    BlipImageProcessor,
    CLIPImageProcessor,
    SamImageProcessor,
    SiglipImageProcessor,
    ViTImageProcessor,
)  # fmt: skip

from models.batches import prepared
from models.captioners.blip import Blip
from models.captioners.blip2 import Blip2
from models.diffusion.latents import VaeEncoder
from models.encoders import convert_clip
from models.encoders.clip import Clip
from models.encoders.image import DinoEncoder
from models.encoders.open_clip_encoder import OpenClip
from models.pixels import pixel_values
from models.placement import Placement

IMAGES = [make_image(640, 427), make_image(64, 64, 1), make_image(97, 203, 2), make_image(20, 31, 3).convert("L")]


def small(kind):
    return kind(size={"shortest_edge": 64}, crop_size={"height": 56, "width": 56})


PROCESSORS = {
    "clip": lambda: small(CLIPImageProcessor),
    "dinov2": lambda: small(BitImageProcessor),
    "siglip": lambda: SiglipImageProcessor(size={"height": 48, "width": 48}),
    "blip": lambda: BlipImageProcessor(size={"height": 40, "width": 64}),
    "vit": lambda: ViTImageProcessor(size={"height": 32, "width": 32}),
    "crop alone": lambda: CLIPImageProcessor(do_resize=False, crop_size={"height": 56, "width": 56}),
}


@pytest.mark.parametrize("name", PROCESSORS)
def test_pixels_are_those_of_the_processor_to_the_last_bit(name):
    processor = PROCESSORS[name]()
    rgb = [image.convert("RGB") for image in IMAGES]
    expected = processor(images=rgb, return_tensors="pt")["pixel_values"]
    found = pixel_values(processor, IMAGES)
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)


def test_a_processor_with_steps_of_its_own_is_called_as_it_is():
    processor = SamImageProcessor(size={"longest_edge": 64}, pad_size={"height": 64, "width": 64})
    expected = processor(images=IMAGES[:3], return_tensors="pt")["pixel_values"]
    assert torch.equal(pixel_values(processor, IMAGES[:3]), expected)


def open_clip(folder):
    assert convert_clip.main([str(save_clip(folder / "clip")), str(folder / "open_clip")]) == 0
    return OpenClip(weights_at(folder / "open_clip"), placement())


WRAPPERS = {
    "clip": (lambda folder: Clip(weights_at(save_clip(folder)), placement()), "encode_images", IMAGES),
    "siglip": (lambda folder: Clip(weights_at(save_siglip(folder)), placement()), "encode_images", IMAGES),
    "open_clip": (open_clip, "encode_images", IMAGES),
    "dinov2": (lambda folder: DinoEncoder(weights_at(save_dinov2(folder)), placement()), "encode_images", IMAGES),
    "blip": (lambda folder: Blip(weights_at(save_blip(folder)), placement(), prompt="a c"), "caption", make_images()),
    "blip-2": (lambda folder: Blip2(weights_at(save_blip2(folder)), placement()), "caption", make_images()),
    "latents": (
        lambda folder: VaeEncoder(weights_at(save_stable_diffusion(folder)), placement()), "encode_latents",
        [make_image(32, 32, seed) for seed in range(3)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRAPPERS)
def test_prepared_images_give_the_numbers_of_the_images(name, tmp_path):
    make, method, images = WRAPPERS[name]
    model = make(tmp_path)
    call = getattr(model, method)
    ready = []
    thread = threading.Thread(target=lambda: ready.append(prepared(model, images)))
    thread.start()
    thread.join()
    assert len(ready[0]) == len(images)
    assert not any(hasattr(image, "getpixel") for image in ready[0])
    assert model.prepare_images(ready[0]) is ready[0]
    for found, expected in zip(call(ready[0]), call(images), strict=True):
        assert np.array_equal(found, expected)
    assert len(call(prepared(model, []))) == 0


def test_prepared_pixels_are_in_the_precision_of_the_model(tmp_path):
    clip = Clip(weights_at(save_clip(tmp_path)), Placement(device="cpu", dtype="bfloat16"))
    ready = clip.prepare_images(IMAGES)
    assert ready.dtype == torch.bfloat16
    assert np.array_equal(clip.encode_images(ready), clip.encode_images(IMAGES))


def test_a_model_without_that_part_gets_the_images():
    assert prepared(object(), IMAGES) is IMAGES
