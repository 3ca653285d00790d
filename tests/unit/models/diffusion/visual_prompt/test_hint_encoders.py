import math
from typing import get_args

import pytest
import torch
from diffusers import ControlNetModel
from diffusers.models.controlnets.controlnet import ControlNetConditioningEmbedding

from models.diffusion.visual_prompt.hint_encoders import make_hint_encoder, positions, zero_layer
from models.diffusion.visual_prompt.kinds import HintEncoderKind, ZeroLayerKind

pytestmark = pytest.mark.usefixtures("one_thread")

KINDS = get_args(HintEncoderKind)


def encoder(kind, factor=4, **settings):
    torch.manual_seed(0)
    return make_hint_encoder(
        kind, **{"out_channels": 12, "factor": factor, "width": 8, "depth": 1, **settings}
    ).double()


def image(height=32, width=32):
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(1)).double()


def train_a_step(module, given):
    """One step of plain gradient descent to a target that is not zero; the gradients of the step after it."""
    for _ in range(2):
        module.zero_grad()
        (module(given) - 1).square().mean().backward()
        with torch.no_grad():
            for one in module.parameters():
                one.sub_(0.1 * one.grad)
    return {name: one.grad for name, one in module.named_parameters()}


@pytest.mark.parametrize("factor", [1, 2, 4, 8])
@pytest.mark.parametrize("kind", KINDS)
def test_output_is_zero_at_first_and_smaller_by_the_factor(kind, factor):
    found = encoder(kind, factor)(image(32, 16))
    assert found.shape == (2, 12, 32 // factor, 16 // factor)
    assert not found.any()


@pytest.mark.parametrize("kind", KINDS)
def test_all_parameters_of_an_encoder_have_gradients_from_the_second_step(kind):
    for name, gradient in train_a_step(encoder(kind), image()).items():
        assert gradient.isfinite().all(), name
        assert gradient.abs().max() > 1e-12, name


@pytest.mark.parametrize("kind", KINDS)
def test_one_encoder_takes_images_of_any_size(kind):
    module = encoder(kind)
    with torch.no_grad():
        torch.nn.init.normal_(module.conv_out.weight)
        assert [module(image(*size)).shape[2:] for size in ((16, 16), (8, 40))] == [(4, 4), (2, 10)]


@pytest.mark.parametrize(("kind", "is_global"), [("conv", False), ("vit", True), ("vmamba", True)])
def test_attention_and_scan_see_the_whole_image_and_convolutions_do_not(kind, is_global):
    module, given = encoder(kind), image(64, 64).requires_grad_()
    torch.nn.init.normal_(module.conv_out.weight)
    (gradient,) = torch.autograd.grad(module(given)[:, :, 8, 8].square().sum(), given)
    assert bool((gradient.abs().sum((0, 1)) > 0).all()) == is_global


def test_vmamba_has_two_stages_of_the_given_width_and_depth():
    module = make_hint_encoder("vmamba", out_channels=320, factor=8)
    found = [(type(one).__name__, getattr(one, "stride", None)) for one in module.stages]
    blocks = [("VSSBlock", None)] * 2
    assert found == [("Conv2d", (4, 4)), *blocks, ("Conv2d", (2, 2)), *blocks]
    assert [one.out_channels for one in module.stages if isinstance(one, torch.nn.Conv2d)] == [96, 192]
    assert module.conv_out.weight.shape == (320, 192, 1, 1)


def test_vit_has_the_blocks_and_the_last_width_of_vmamba():
    module = make_hint_encoder("vit", out_channels=320, factor=8)
    assert len(module.blocks) == 4
    assert module.conv_out.weight.shape == (320, 192, 1, 1)


def test_weights_of_the_convolutions_load_into_a_control_net():
    module = make_hint_encoder("conv", out_channels=32, factor=8)
    assert isinstance(module, ControlNetConditioningEmbedding)
    net = ControlNetModel(
        block_out_channels=(32,), down_block_types=("DownBlock2D",), layers_per_block=1, norm_num_groups=8,
        cross_attention_dim=8, attention_head_dim=8,
    )  # fmt: skip
    net.controlnet_cond_embedding.load_state_dict(module.state_dict())


@pytest.mark.parametrize("factor", [0, 3, 12])
def test_factor_that_is_no_power_of_two_is_refused(factor):
    with pytest.raises(ValueError, match=f"a hint encoder scales by {factor}; expected a power of two"):
        encoder("vmamba", factor)


def test_factor_beyond_the_widths_of_the_convolutions_is_refused():
    with pytest.raises(ValueError, match="scales by at most 8, not 16"):
        encoder("conv", 16)


def test_odd_width_of_a_vit_is_refused():
    with pytest.raises(ValueError, match="a ViT hint encoder has 14 channels; expected a multiple of 4"):
        encoder("vit", width=7)


def test_positions_are_sines_and_cosines_of_row_and_column():
    found = positions(3, 4, 8).double()
    for row in range(3):
        for column in range(4):
            expected = [
                wave(place * frequency)
                for place in (row, column)
                for wave in (math.sin, math.cos)
                for frequency in (1, 0.01)
            ]
            torch.testing.assert_close(found[row * 4 + column], torch.tensor(expected).double(), atol=1e-6, rtol=0)


def test_tokens_in_another_place_are_encoded_otherwise():
    module, given = encoder("vit"), torch.ones(1, 3, 16, 16).double()
    torch.nn.init.normal_(module.conv_out.weight)
    assert len(module(given).flatten(2).unique(dim=2)[0, 0]) == 16


@pytest.mark.parametrize("kind", get_args(ZeroLayerKind))
def test_zero_layer_is_zero_at_first_and_trains_from_the_second_step(kind):
    torch.manual_seed(0)
    module, given = zero_layer(kind, 8).double(), torch.randn(2, 8, 5, 6).double()
    assert not module(given).any()
    for name, gradient in train_a_step(module, given).items():
        assert gradient.isfinite().all(), name
        assert gradient.abs().max() > 1e-12, name


@pytest.mark.parametrize("kind", KINDS)
def test_encoders_run_in_half_precision(kind):
    module = encoder(kind).to(torch.bfloat16)
    torch.nn.init.normal_(module.conv_out.weight)
    found = module(image().to(torch.bfloat16))
    assert found.dtype == torch.bfloat16
    assert found.isfinite().all()
