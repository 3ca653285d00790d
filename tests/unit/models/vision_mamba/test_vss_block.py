import pytest
import torch
from torch.utils.checkpoint import checkpoint

from models.vision_mamba.vss_block import VSSBlock

pytestmark = pytest.mark.usefixtures("one_thread")


def block(channels=8, **settings):
    torch.manual_seed(0)
    return VSSBlock(channels, **settings).double()


def image(height=6, width=5):
    return torch.randn(2, 8, height, width, generator=torch.Generator().manual_seed(1)).double()


@pytest.mark.parametrize("size", [(6, 5), (1, 1), (16, 2)])
def test_shape_is_kept(size):
    given = image(*size)
    assert block()(given).shape == given.shape


def test_both_parts_are_added_to_their_input():
    module, given = block(), image()
    cells = given.movedim(1, -1)
    scanned = cells + module.scan(module.scan_norm(cells))
    expected = scanned + module.mlp(module.mlp_norm(scanned))
    torch.testing.assert_close(module(given), expected.movedim(-1, 1))


def test_block_whose_last_layers_are_zero_is_the_identity():
    module, given = block(), image()
    for layer in (module.scan.out_proj.weight, module.mlp[2].weight, module.mlp[2].bias):
        torch.nn.init.zeros_(layer)
    assert torch.equal(module(given), given)


def test_every_cell_reaches_every_cell():
    module, given = block(), image().requires_grad_()
    out = module(given)
    for row in range(6):
        for column in range(5):
            (gradient,) = torch.autograd.grad(out[:, :, row, column].square().sum(), given, retain_graph=True)
            assert (gradient.abs().sum((0, 1)) > 0).all()


def test_gradients_of_all_parameters_are_finite_and_not_zero():
    module = block(num_states=2, expansion=2)
    module(image()).square().mean().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 1e-9, name


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_gives_finite_gradients(kind):
    module = block().to(kind)
    out = module(image().to(kind))
    assert out.dtype == kind
    out.float().square().mean().backward()
    assert all(one.grad.isfinite().all() for one in module.parameters())


def test_gradient_checkpointing_gives_the_same_gradients():
    module, given = block(), image().requires_grad_()
    expected = torch.autograd.grad(module(given).square().sum(), [given, *module.parameters()])
    out = checkpoint(module, given, use_reentrant=False)
    found = torch.autograd.grad(out.square().sum(), [given, *module.parameters()])
    torch.testing.assert_close(found, expected)
