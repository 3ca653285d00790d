"""Recorded maps against a direct softmax(Q K^T / sqrt(d)), from the inputs of each layer."""

import math
from types import SimpleNamespace

import pytest
import torch
from diffusers import UNet2DConditionModel

from models.schemes.zoo import ZOO
from trainer.diffusion.attention import AttentionRecorder, cross_attentions

TIMESTEP = torch.tensor([3, 700])


def unet():
    return UNet2DConditionModel.from_pretrained(ZOO / "sd", subfolder="unet", torch_dtype=torch.float32)


def inputs(network):
    generator = torch.Generator().manual_seed(0)
    latent = torch.randn(2, 4, 16, 16, generator=generator)
    return latent, TIMESTEP, torch.randn(2, 5, network.config.cross_attention_dim, generator=generator)


def direct_map(layer, hidden, text):
    def heads(projected):
        return projected.unflatten(-1, (layer.heads, -1)).transpose(1, 2)

    query, key = heads(layer.to_q(hidden)), heads(layer.to_k(text))
    return (query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])).softmax(-1).mean(1)


def seen_inputs(network):
    """Name -> (hidden, text) of each cross-attention, filled as the network runs."""
    seen = {}
    for name, layer in network.named_modules():
        if name.endswith("attn2"):
            layer.register_forward_pre_hook(
                lambda _, args, named, name=name: seen.update({name: (args[0], named["encoder_hidden_states"])}),
                with_kwargs=True,
            )
    return seen


@pytest.mark.parametrize("max_queries", [10_000, 64])
def test_maps_are_those_computed_directly(max_queries):
    network = unet()
    seen, recorder = seen_inputs(network), AttentionRecorder(network, cross_attentions(network, 16, max_queries))
    with recorder.recording() as maps:
        network(*inputs(network))
    small = {name for name, (hidden, _) in seen.items() if hidden.shape[1] <= max_queries}
    assert maps.keys() == small
    assert 0 < len(small) < len(seen) or max_queries == 10_000
    for name, map_BQL in maps.items():
        hidden, text = seen[name]
        torch.testing.assert_close(map_BQL, direct_map(network.get_submodule(name), hidden, text))
        torch.testing.assert_close(map_BQL.sum(-1), torch.ones(2, hidden.shape[1]))


def test_output_stays_as_it_is():
    plain, recorded = unet(), unet()
    recorder = AttentionRecorder(recorded, cross_attentions(recorded, 16, 10_000))
    with recorder.recording():
        found = recorded(*inputs(recorded)).sample
    assert torch.equal(found, plain(*inputs(plain)).sample)


def test_nothing_is_kept_outside_of_recording_or_without_gradients():
    network = unet()
    recorder = AttentionRecorder(network, cross_attentions(network, 16, 10_000))
    with recorder.recording() as maps:
        pass
    network(*inputs(network))
    with torch.no_grad(), recorder.recording() as others:
        network(*inputs(network))
    assert maps == others == {}


def gradients(*, is_checkpointing):
    network = unet().train()
    if is_checkpointing:
        network.enable_gradient_checkpointing()
    recorder = AttentionRecorder(network, cross_attentions(network, 16, 10_000))
    with recorder.recording() as maps:
        out = network(*inputs(network)).sample
    (out.square().mean() + sum(one[..., 0].mean() for one in maps.values())).backward()
    return {name: p.grad for name, p in network.named_parameters() if p.grad is not None}


def test_gradient_through_maps_is_the_same_with_gradient_checkpointing():
    plain, checkpointed = gradients(is_checkpointing=False), gradients(is_checkpointing=True)
    assert plain.keys() == checkpointed.keys()
    assert any(name.endswith("attn2.to_k.weight") for name in plain)
    for name, gradient in plain.items():
        torch.testing.assert_close(checkpointed[name], gradient, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize(
    ("side", "max_queries", "levels"),
    [(32, 1024, {0, 1, 2, 3}), (64, 1024, {1, 2, 3}), (64, 64, {3}), (64, 63, set()), (128, 1024, {2, 3})],
)
def test_layers_are_chosen_by_the_places_that_a_square_has_at_their_level(side, max_queries, levels):
    """Levels of Stable Diffusion 1: three that attend on the way down, the middle, three on the way up."""
    blocks = [f"down_blocks.{n}.attentions.0" for n in range(3)] + ["mid_block.attentions.0"]
    blocks += [f"up_blocks.{n}.attentions.0" for n in range(1, 4)]
    own = (0, 1, 2, 3, 2, 1, 0)
    processors = {
        f"{block}.transformer_blocks.0.{kind}.processor": None for block in blocks for kind in ("attn1", "attn2")
    }
    network = SimpleNamespace(config=SimpleNamespace(block_out_channels=(1, 1, 1, 1)), attn_processors=processors)
    expected = [
        f"{block}.transformer_blocks.0.attn2" for block, level in zip(blocks, own, strict=True) if level in levels
    ]
    assert list(cross_attentions(network, side, max_queries)) == expected


@pytest.mark.parametrize("shape", [(16, 16), (8, 24), (24, 8)])
def test_a_latent_of_another_shape_has_the_maps_of_the_square(shape):
    network = unet()
    recorder = AttentionRecorder(network, cross_attentions(network, 16, 64))
    _, timestep, text = inputs(network)
    with recorder.recording() as maps:
        network(torch.randn(2, 4, *shape), timestep, text)
    assert set(maps) == set(cross_attentions(network, 16, 64))
    assert {one.shape[1] for one in maps.values()} == {shape[0] * shape[1] // 4}
