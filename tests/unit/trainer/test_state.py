"""The optimiser's side of a step, on two parameters and one process; several are an integration test."""

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from core.errors import NotFiniteError, TrainingError
from trainer.config import TrainConfig
from trainer.state import TrainState


def state(**more):
    AcceleratorState._reset_state(reset_partial_state=True)
    given = {"data": "d", "model": "m", "out": "o", "learning_rate": 0.1, "max_grad_norm": None, **more}
    config = TrainConfig.model_validate(given, strict=False)
    parameters = {name: torch.nn.Parameter(torch.ones(3)) for name in "ab"}
    return TrainState(parameters, config, Accelerator(cpu=True))


def step(one, number, trained=frozenset("a"), scale=1.0):
    one.begin(trained)
    loss = sum((number + 1) * scale * p.square().sum() for p in one.parameters.values() if p.requires_grad)
    loss.backward()
    return one.update(number)


def values(one):
    return {name: parameter.detach().clone() for name, parameter in one.parameters.items()}


def test_only_what_the_step_trains_changes_decay_included():
    one = state(weight_decay=0.5)
    step(one, 0)
    assert (values(one)["a"] < 1).all()
    assert (values(one)["b"] == 1).all()


def test_update_is_torchs_adamw_at_the_rate_of_the_step():
    one = state(warmup_steps=2, steps=9)
    other = torch.nn.Parameter(torch.ones(3))
    optimiser = torch.optim.AdamW([other], lr=0.1)
    for number in range(4):
        step(one, number)
        optimiser.param_groups[0]["lr"] = 0.1 * min(1.0, (number + 1) / 2)
        optimiser.zero_grad()
        ((number + 1) * other.square().sum()).backward()
        optimiser.step()
    assert torch.equal(values(one)["a"], other.detach())


def test_norm_is_that_before_clipping_and_clipping_bounds_the_step():
    assert step(state(), 0) == pytest.approx(2 * 3**0.5)
    one = state(max_grad_norm=0.5)
    assert step(one, 0) == pytest.approx(2 * 3**0.5)
    moments = one.tensors()["exp_avg/a"] / (1 - 0.9)
    assert float(moments.norm()) == pytest.approx(0.5, rel=1e-3)


def test_gradient_that_is_no_number_stops_before_the_weights_change():
    one = state()
    with pytest.raises(NotFiniteError, match="step 0: the norm of the gradients is nan; lower learning_rate"):
        step(one, 0, scale=float("nan"))
    assert (values(one)["a"] == 1).all()


@pytest.mark.parametrize("ema_decay", [None, 0.9])
def test_state_that_is_saved_and_restored_goes_on_as_if_nothing_happened(ema_decay):
    one = state(ema_decay=ema_decay)
    for number in range(3):
        step(one, number, trained=frozenset("ab"[number % 2]))
    other = state(ema_decay=ema_decay)
    other.restore({name: tensor.clone() for name, tensor in one.tensors().items()}, one.scalars())
    for number in range(3, 6):
        for each in (one, other):
            step(each, number, trained=frozenset("ab"[number % 2]))
    assert one.tensors().keys() == other.tensors().keys()
    assert all(torch.equal(tensor, other.tensors()[name]) for name, tensor in one.tensors().items())


def test_average_follows_all_parameters_whichever_the_step_trains():
    one = state(ema_decay=0.5)
    seen = []
    for number in range(4):
        step(one, number, trained=frozenset("ab"[number % 2]))
        seen.append(values(one))
    expected = seen[0]
    for number, now in enumerate(seen[1:], start=2):
        decay = min(0.5, number / (9 + number))  # diffusers' warm-up of the decay: (1 + n) / (10 + n) with n = step - 1
        expected = {name: decay * expected[name] + (1 - decay) * now[name] for name in now}
    one.swap_in_average()
    for name, parameter in values(one).items():
        torch.testing.assert_close(parameter, expected[name])
    one.swap_out_average()
    assert all(torch.equal(parameter, seen[-1][name]) for name, parameter in values(one).items())


def test_checkpoint_of_another_model_is_refused():
    one = state()
    with pytest.raises(TrainingError, match="has no weights for a and 1 others"):
        one.restore({}, {})
    tensors = {name: tensor.clone() for name, tensor in one.tensors().items()}
    with pytest.raises(TrainingError, match="weight/c does not fit the model"):
        one.restore({**tensors, "weight/c": torch.ones(3)}, {})
    with pytest.raises(TrainingError, match="weight/a does not fit the model"):
        one.restore({**tensors, "weight/a": torch.ones(4)}, {})


@pytest.mark.parametrize("lost", ["average/b", "exp_avg/a", "step/a"])
def test_checkpoint_that_lacks_a_tensor_is_refused(lost):
    one = state(ema_decay=0.9)
    step(one, 0)
    tensors = {name: tensor for name, tensor in one.tensors().items() if name != lost}
    with pytest.raises(TrainingError, match=f"the checkpoint has no {lost}, and lacks 0 others"):
        state(ema_decay=0.9).restore(tensors, one.scalars())


@pytest.mark.parametrize("key", ["average/a", "momentum/a", "a", "weight/z"])
def test_checkpoint_with_a_tensor_of_another_kind_is_refused(key):
    one = state()
    with pytest.raises(TrainingError, match=f"the checkpoint's {key} does not fit the model"):
        state().restore({**one.tensors(), key: torch.ones(3)}, one.scalars())
