import pytest
import torch
from diffusers import UNet2DConditionModel

from core.errors import ContractError
from models.schemes.zoo import ZOO
from trainer.diffusion.conv_in import widen_conv_in


def unet():
    return UNet2DConditionModel.from_pretrained(ZOO / "sd", subfolder="unet", torch_dtype=torch.float32).eval()


@pytest.mark.parametrize("widths", [(8,), (8, 12)])
def test_widened_unet_gives_the_old_output_whatever_the_new_channels_hold(widths):
    plain, wide = unet(), unet()
    for width in widths:
        widen_conv_in(wide, width)
    latent, more = torch.randn(2, 4, 16, 16), torch.randn(2, widths[-1] - 4, 16, 16)
    text, timestep = torch.randn(2, 5, plain.config.cross_attention_dim), torch.tensor([3, 700])
    with torch.no_grad():
        found = wide(torch.cat([latent, more], 1), timestep, text).sample
        torch.testing.assert_close(found, plain(latent, timestep, text).sample, atol=1e-5, rtol=1e-5)


def test_weights_and_bias_are_copied_and_new_weights_are_zero():
    plain, wide = unet(), unet()
    widen_conv_in(wide, 8)
    assert torch.equal(wide.conv_in.weight[:, :4], plain.conv_in.weight)
    assert torch.equal(wide.conv_in.bias, plain.conv_in.bias)
    assert plain.conv_in.bias.any()
    assert not wide.conv_in.weight[:, 4:].any()
    assert wide.conv_in.weight.requires_grad


def test_widened_unet_is_saved_and_loaded_in_its_new_shape(tmp_path):
    wide = unet()
    widen_conv_in(wide, 8)
    wide.save_pretrained(tmp_path)
    loaded = UNet2DConditionModel.from_pretrained(tmp_path)
    assert loaded.config.in_channels == 8
    assert torch.equal(loaded.conv_in.weight, wide.conv_in.weight)


def test_unet_is_not_narrowed():
    with pytest.raises(ContractError, match="a UNet of 4 input channels cannot be widened to 3"):
        widen_conv_in(unet(), 3)
