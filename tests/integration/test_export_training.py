"""A step of diffusers' documented training on an export: loaded by `datasets`, prepared as its script prepares it.

Steps and names follow examples/instruct_pix2pix/train_instruct_pix2pix.py of huggingface/diffusers at 000280f.
"""

from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from _datasets import write_dataset
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from torchvision import transforms
from transformers import CLIPTextModel, CLIPTokenizer

from cli.exits import run
from cli.main import app

SD = Path(__file__).resolve().parents[2] / "zoo" / "weights" / "sd"
RESOLUTION, BATCH = 64, 2


def pixel_values(images):
    """(B, 3, H, W), -1 to 1."""
    arrays = [np.array(image.convert("RGB").resize((RESOLUTION, RESOLUTION))).transpose(2, 0, 1) for image in images]
    return 2 * (torch.tensor(np.stack(arrays)).float() / 255) - 1


def widened(unet):
    """The UNet with eight input channels, as the script makes them: the new ones begin at zero."""
    old = unet.conv_in
    unet.register_to_config(in_channels=8)
    with torch.no_grad():
        unet.conv_in = torch.nn.Conv2d(8, old.out_channels, old.kernel_size, old.stride, old.padding)
        unet.conv_in.weight.zero_()
        unet.conv_in.weight[:, :4].copy_(old.weight)
        unet.conv_in.bias.copy_(old.bias)
    return unet


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    write_dataset(folder / "dataset", (3, 3))
    arguments = [str(folder / "dataset"), "--to", "huggingface", "--out", str(folder / "out"), "--workers", "1"]
    assert run(app, ["export", *arguments]) == 0
    return folder


def test_export_trains_a_step_of_the_documented_loop(exported):
    torch.manual_seed(0)
    loaded = datasets.load_dataset(str(exported / "out"), cache_dir=str(exported / "cache"))
    original, prompt, edited = loaded["train"].column_names[:3]  # as the script takes them without column names
    tokenizer = CLIPTokenizer.from_pretrained(SD, subfolder="tokenizer")
    augment = transforms.Compose([transforms.CenterCrop(RESOLUTION), transforms.RandomHorizontalFlip()])

    def preprocess_train(examples):
        both = augment(torch.cat([pixel_values(examples[original]), pixel_values(examples[edited])]))
        examples["original_pixel_values"], examples["edited_pixel_values"] = both.chunk(2)
        examples["input_ids"] = tokenizer(
            list(examples[prompt]), max_length=tokenizer.model_max_length, padding="max_length", truncation=True,
            return_tensors="pt",
        ).input_ids  # fmt: skip
        return examples

    rows = loaded["train"].with_transform(preprocess_train)[:BATCH]
    vae = AutoencoderKL.from_pretrained(SD, subfolder="vae", torch_dtype=torch.float32)
    text_encoder = CLIPTextModel.from_pretrained(SD, subfolder="text_encoder", torch_dtype=torch.float32)
    unet = widened(UNet2DConditionModel.from_pretrained(SD, subfolder="unet", torch_dtype=torch.float32))
    scheduler = DDPMScheduler.from_pretrained(SD, subfolder="scheduler")
    optimizer = torch.optim.AdamW(unet.parameters(), lr=1e-4)
    before = unet.conv_in.weight.detach().clone()
    with torch.no_grad():
        latents = vae.encode(rows["edited_pixel_values"]).latent_dist.sample() * vae.config.scaling_factor
        source = vae.encode(rows["original_pixel_values"]).latent_dist.mode()
        texts = text_encoder(rows["input_ids"])[0]
    noise = torch.randn_like(latents)
    timesteps = torch.randint(0, scheduler.config.num_train_timesteps, (BATCH,)).long()
    noisy = torch.cat([scheduler.add_noise(latents, noise, timesteps), source], dim=1)
    aim = noise if scheduler.config.prediction_type == "epsilon" else scheduler.get_velocity(latents, noise, timesteps)
    loss = torch.nn.functional.mse_loss(unet(noisy, timesteps, texts).sample, aim)
    loss.backward()
    optimizer.step()
    assert torch.isfinite(loss)
    assert not torch.equal(unet.conv_in.weight, before)
    assert not torch.equal(rows["original_pixel_values"], rows["edited_pixel_values"])
