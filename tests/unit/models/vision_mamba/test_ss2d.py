import pytest
import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from models.vision_mamba.selective_scan import sequential_scan
from models.vision_mamba.ss2d import DIRECTIONS, SS2D, STEP_RANGE, merged, ordered

pytestmark = pytest.mark.usefixtures("one_thread")

HEIGHT, WIDTH = 7, 9
BY_ROWS = [(row, column) for row in range(HEIGHT) for column in range(WIDTH)]
BY_COLUMNS = [(row, column) for column in range(WIDTH) for row in range(HEIGHT)]
ORDERS = [BY_ROWS, BY_COLUMNS, BY_ROWS[::-1], BY_COLUMNS[::-1]]
CENTRE = HEIGHT // 2, WIDTH // 2


def block(channels=8, **settings):
    torch.manual_seed(0)
    return SS2D(channels, **settings).double()


def image(channels=8, height=HEIGHT, width=WIDTH, rows=2):
    return torch.randn(rows, height, width, channels, generator=torch.Generator().manual_seed(1)).double()


def reached(module, given):
    """Cells (H, W) of the input whose gradient from the output's centre is not zero."""
    given = given.requires_grad_()
    out = module(given)
    (gradient,) = torch.autograd.grad(out[:, CENTRE[0], CENTRE[1]].square().sum(), given)
    return gradient.abs().sum((0, 3)) > 0


def test_tokens_follow_rows_and_columns_from_both_ends():
    cells = torch.arange(HEIGHT * WIDTH).view(1, HEIGHT, WIDTH, 1, 1).expand(-1, -1, -1, DIRECTIONS, -1)
    tokens = ordered(cells)
    assert [[divmod(one, WIDTH) for one in tokens[:, 0, k, 0].tolist()] for k in range(DIRECTIONS)] == ORDERS


def test_each_direction_has_its_own_channels():
    cells = torch.randn(2, HEIGHT, WIDTH, DIRECTIONS, 3)
    tokens = ordered(cells)
    for direction, order in enumerate(ORDERS):
        expected = torch.stack([cells[:, row, column, direction] for row, column in order])
        assert torch.equal(tokens[:, :, direction], expected)


def test_merging_sums_each_cell_over_the_directions():
    cells = torch.randn(2, HEIGHT, WIDTH, DIRECTIONS, 3)
    torch.testing.assert_close(merged(ordered(cells), HEIGHT, WIDTH), cells.sum(3))


@pytest.mark.parametrize("settings", [{}, {"num_states": 3}, {"expansion": 2}])
def test_block_equals_a_loop_over_directions_and_cells(settings):
    module, given = block(**settings), image()
    inner = module.in_proj(given).movedim(-1, 1)
    inner = functional.silu(functional.conv2d(inner, module.conv.weight, padding=1, groups=inner.shape[1]))
    total = torch.zeros_like(inner)
    weights = module.parameters_proj.weight.unflatten(0, (DIRECTIONS, -1))
    num_states, rank = module.log_decay_KDN.shape[-1], module.step_weight_KDR.shape[-1]
    for direction, order in enumerate(ORDERS):
        tokens = torch.stack([inner[:, :, row, column] for row, column in order], -1)
        step, write, read = (weights[direction] @ tokens).split((rank, num_states, num_states), 1)
        delta = module.step_weight_KDR[direction] @ step
        per_row = (one.unsqueeze(1) for one in (tokens, delta, write, read))
        per_direction = (module.log_decay_KDN, module.skip_KD, module.step_bias_KD)
        u, delta, B, C, log_decay, D, bias = (*per_row, *(one[direction, None] for one in per_direction))
        out = sequential_scan(u, delta, -log_decay.exp(), B, C, D, bias)
        for place, (row, column) in enumerate(order):
            total[:, :, row, column] += out[:, 0, :, place]
    expected = module.out_proj(module.out_norm(total.movedim(1, -1)))
    torch.testing.assert_close(module(given), expected, atol=1e-10, rtol=1e-10)


def test_every_cell_reaches_the_centre():
    assert reached(block(), image()).all()


def test_convolution_does_not_reach_the_centre_from_afar():
    module = torch.nn.Conv2d(8, 8, 3, padding=1).double()
    found = reached(lambda given: module(given.movedim(-1, 1)).movedim(1, -1), image())
    assert int(found.sum()) == 9


@pytest.mark.parametrize("direction", range(DIRECTIONS))
def test_a_direction_alone_reaches_the_cells_before_in_its_order(direction):
    module = block()
    with torch.no_grad():
        module.conv.weight.zero_()[:, :, 1, 1] = 1.0
        for other in set(range(DIRECTIONS)) - {direction}:
            module.parameters_proj.weight.view(DIRECTIONS, -1, 8)[other] = 0.0
            module.skip_KD[other] = 0.0
    order = ORDERS[direction]
    expected = torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)
    for row, column in order[: order.index(CENTRE) + 1]:
        expected[row, column] = True
    assert torch.equal(reached(module, image()), expected)


def test_initial_values_are_those_of_mamba():
    module = SS2D(64, num_states=4)
    step = functional.softplus(module.step_bias_KD)
    assert step.min() >= STEP_RANGE[0] * 0.999
    assert step.max() <= STEP_RANGE[1] * 1.001
    assert step.log().mean().item() == pytest.approx(-4.605, abs=0.3)
    torch.testing.assert_close(module.log_decay_KDN.exp(), torch.arange(1.0, 5).expand(DIRECTIONS, 64, 4))
    assert torch.equal(module.skip_KD, torch.ones(DIRECTIONS, 64))


@pytest.mark.parametrize("size", [(1, 1), (1, 6), (12, 5)])
def test_images_of_any_size_keep_their_shape(size):
    given = image(height=size[0], width=size[1])
    assert block()(given).shape == given.shape


def test_gradients_of_all_parameters_are_finite_and_not_zero():
    module = block(num_states=2)
    module(image()).square().mean().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 1e-9, name


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_stays_near_float32(kind):
    module, given = block().float(), image().float()
    expected = module(given)
    found = module.to(kind)(given.to(kind))
    assert found.dtype == kind
    torch.testing.assert_close(found.float(), expected, atol=0.05, rtol=0.05)


def test_autocast_stays_near_float32():
    module, given = block().float(), image().float()
    with torch.autocast("cpu", torch.bfloat16):
        found = module(given)
    torch.testing.assert_close(found.float(), module(given), atol=0.05, rtol=0.05)


def test_gradient_checkpointing_gives_the_same_gradients():
    module, given = block(), image().requires_grad_()
    expected = torch.autograd.grad(module(given).square().sum(), [given, *module.parameters()])
    out = checkpoint(module, given, use_reentrant=False)
    found = torch.autograd.grad(out.square().sum(), [given, *module.parameters()])
    torch.testing.assert_close(found, expected)
