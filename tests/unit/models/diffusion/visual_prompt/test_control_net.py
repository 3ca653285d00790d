"""Control networks of each kind: zero at first, saved and loaded, diffusers' own where no part is replaced."""

import json
import shutil

import pytest
import torch
from diffusers import ControlNetModel, UNet2DConditionModel

from core.errors import ModelError
from models.diffusion.visual_prompt.control_net import (
    PARTS,
    ControlParts,
    control,
    load_control_net,
    make_control_net,
    read_parts,
    save_control_net,
)
from models.schemes.zoo import ZOO

pytestmark = pytest.mark.usefixtures("one_thread")

FACTOR = 4
KINDS = [
    ControlParts(hint, zero, width=8, depth=1)
    for hint, zero in (("conv", "conv"), ("vit", "conv"), ("vmamba", "conv"), ("vmamba", "vmamba"))
]
IDS = [f"{one.hint_encoder}-{one.zero_layers}" for one in KINDS]


@pytest.fixture(scope="module")
def unet():
    return UNet2DConditionModel.from_pretrained(ZOO / "sd", subfolder="unet", torch_dtype=torch.float32).eval()


def made(unet, parts):
    torch.manual_seed(0)
    return make_control_net(unet, FACTOR, parts)


def stirred(net):
    """The network as if it had been trained: no weight is zero."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.05)
    return net.eval()


def inputs(rows=2, side=16):
    generator = torch.Generator().manual_seed(2)
    noisy, text = (torch.randn(shape, generator=generator) for shape in ((rows, 4, side, side), (rows, 32, 128)))
    return noisy, torch.tensor([10, 700])[:rows], text, torch.rand(rows, 3, 64, 64, generator=generator) * 2 - 1


@pytest.mark.parametrize("parts", KINDS, ids=IDS)
def test_controlled_unet_equals_the_frozen_one_at_first(unet, parts):
    noisy, timestep, text, grid = inputs()
    with torch.no_grad():
        added = control(made(unet, parts), noisy, timestep, text, grid)
        plain = unet(noisy, timestep, text).sample
        controlled = unet(noisy, timestep, text, **added.as_conditions()).sample
    assert all(not bool(one.any()) for one in (*added.down, added.mid))
    assert torch.equal(plain, controlled)
    assert len(added.down) == len(made(unet, parts).controlnet_down_blocks)


@pytest.mark.parametrize("parts", KINDS, ids=IDS)
def test_trained_network_hears_every_cell_of_the_grid(unet, parts):
    noisy, timestep, text, grid = inputs()
    net = stirred(made(unet, parts))
    grid.requires_grad_(True)
    control(net, noisy, timestep, text, grid).mid.square().sum().backward()
    assert bool((grid.grad.abs().sum(1) > 0).flatten(1).float().mean(1).min() > 0.99)


@pytest.mark.parametrize("parts", KINDS, ids=IDS)
def test_saved_network_is_loaded_as_it_was(unet, parts, tmp_path):
    net = stirred(made(unet, parts))
    save_control_net(net, tmp_path / "net", "float32")
    loaded = load_control_net(tmp_path / "net", torch.float32)
    with torch.no_grad():
        before, after = (control(one, *inputs()) for one in (net, loaded))
    assert all(torch.equal(a, b) for a, b in zip((*before.down, before.mid), (*after.down, after.mid), strict=True))
    found, factor, _ = read_parts(tmp_path / "net")
    assert found.compared() == parts.compared()
    assert factor == FACTOR


def test_saving_in_half_precision_leaves_the_network_as_it_is(unet, tmp_path):
    net = made(unet, KINDS[-1])
    save_control_net(net, tmp_path / "net", "float16")
    assert next(net.parameters()).dtype == torch.float32
    assert next(load_control_net(tmp_path / "net", torch.float16).parameters()).dtype == torch.float16


def test_diffusers_loads_a_network_of_convolutions(unet, tmp_path):
    net = stirred(made(unet, KINDS[0]))
    save_control_net(net, tmp_path, "float32")
    assert PARTS not in json.loads((tmp_path / "config.json").read_text())
    theirs = ControlNetModel.from_pretrained(tmp_path, use_safetensors=True).eval()
    noisy, timestep, text, grid = inputs()
    with torch.no_grad():
        down, mid = theirs(noisy, timestep, text, grid / 2 + 0.5, return_dict=False)
        added = control(net, noisy, timestep, text, grid)
    assert all(torch.equal(a, b) for a, b in zip((*down, mid), (*added.down, added.mid), strict=True))


def test_weights_of_the_unets_first_half_are_copied(unet):
    net = made(unet, KINDS[-1])
    own = unet.state_dict()
    copied = {
        name for name in net.state_dict() if name.startswith(("conv_in.", "time_embedding.", "down_blocks.", "mid"))
    }
    assert copied
    assert all(torch.equal(net.state_dict()[name], own[name]) for name in copied)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({PARTS: {"hint_encoder": "rnn"}}, "is no config of a control network"),
        ({PARTS: {"hint_encoder": "vit", "zero_layers": "conv", "width": -1, "depth": 1}}, "is no config of a control"),
        ({PARTS: "vit"}, "is no config of a control network"),
        ({"conditioning_embedding_out_channels": None}, "is no config of a control network"),
        ({"conditioning_embedding_out_channels": []}, "states 0 widths; expected 1 to 4"),
        ({"conditioning_embedding_out_channels": [16] * 5}, "states 5 widths; expected 1 to 4"),
        ({"conditioning_embedding_out_channels": {"a": 1}}, "cannot be loaded"),
        ({"attention_head_dim": 0}, "cannot be loaded"),
        ({"norm_num_groups": 0}, "cannot be loaded"),
        ({"transformer_layers_per_block": []}, "cannot be loaded"),
        ({"act_fn": 5}, "cannot be loaded"),
        ({PARTS: {"hint_encoder": "vit", "zero_layers": "vmamba", "width": 8, "depth": 1}}, "cannot be loaded"),
    ],
)
def test_damaged_network_is_one_clear_error(unet, tmp_path, change, expected):
    save_control_net(made(unet, KINDS[0]), tmp_path, "float32")
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ModelError, match=expected):
        load_control_net(tmp_path, torch.float32)


def test_absent_weights_are_one_clear_error(unet, tmp_path):
    save_control_net(made(unet, KINDS[0]), tmp_path / "net", "float32")
    (tmp_path / "net" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_control_net(tmp_path / "net", torch.float32)
    shutil.rmtree(tmp_path / "net")
    with pytest.raises(ModelError, match="is no config of a control network"):
        load_control_net(tmp_path / "net", torch.float32)
