"""The optimiser's side of a step, on two parameters and one process; several are an integration test."""

from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from core.errors import ContractError, NotFiniteError, TrainingError
from trainer.recipe import ParameterGroup
from trainer.settings import TrainSettings
from trainer.state import TrainState

ALL = (ParameterGroup(names=("m.a", "m.b")),)


class Two(torch.nn.Module):
    """Two trained parameters, one that is not, a buffer that is saved and one that is not."""

    def __init__(self):
        super().__init__()
        for name in ("a", "b", "frozen"):
            self.register_parameter(name, torch.nn.Parameter(torch.ones(3)))
        self.register_buffer("mean", torch.zeros(2))
        self.register_buffer("cache", torch.zeros(2), persistent=False)


def state(groups=ALL, **more):
    AcceleratorState._reset_state(reset_partial_state=True)
    settings = TrainSettings(**{"data": "d", "out": "o", "learning_rate": 0.1, "max_grad_norm": None, **more})
    return TrainState(SimpleNamespace(modules={"m": Two()}, groups=groups), settings, Accelerator(cpu=True))


def step(one, number, trained=("m.a",), scale=1.0):
    one.begin(trained)
    loss = sum((number + 1) * scale * p.square().sum() for p in one.parameters.values() if p.requires_grad)
    loss.backward()
    return one.update(number)


def in_turn(number):
    return ("m.a", "m.b")[number % 2 :][:1]


def values(one):
    return {name: parameter.detach().clone() for name, parameter in one.parameters.items()}


def test_only_what_the_step_trains_changes_decay_included():
    one = state(weight_decay=0.5)
    step(one, 0)
    assert (values(one)["m.a"] < 1).all()
    assert (values(one)["m.b"] == 1).all()


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
    assert torch.equal(values(one)["m.a"], other.detach())


def test_groups_have_rates_and_decays_of_their_own():
    groups = (ParameterGroup(names=("m.b",), learning_rate=0.01, weight_decay=0.0), ParameterGroup(names=("m.a",)))
    one = state(groups, warmup_steps=2, steps=9, weight_decay=0.5)
    others = [torch.nn.Parameter(torch.ones(3)) for _ in "ba"]
    optimiser = torch.optim.AdamW([{"params": [p]} for p in others])
    rates, decays = (0.01, 0.1), (0.0, 0.5)
    for number in range(3):
        step(one, number, ("m.a", "m.b"))
        for group, rate, decay in zip(optimiser.param_groups, rates, decays, strict=True):
            group["lr"], group["weight_decay"] = rate * min(1.0, (number + 1) / 2), decay
        optimiser.zero_grad()
        sum((number + 1) * p.square().sum() for p in others).backward()
        optimiser.step()
    assert torch.equal(values(one)["m.b"], others[0].detach())
    assert torch.equal(values(one)["m.a"], others[1].detach())


def test_rate_of_zero_is_a_rate():
    one = state((ParameterGroup(names=("m.a",), learning_rate=0.0), ParameterGroup(names=("m.b",))))
    step(one, 0, ("m.a", "m.b"))
    assert (values(one)["m.a"] == 1).all()
    assert (values(one)["m.b"] < 1).all()


def test_gradient_that_is_missing_counts_as_zeros():
    one = state(weight_decay=0.5)
    one.begin(("m.a", "m.b"))
    one.parameters["m.a"].square().sum().backward()
    assert one.update(0) == pytest.approx(2 * 3**0.5)
    assert torch.equal(values(one)["m.b"], torch.full((3,), 1 - 0.1 * 0.5))  # decay alone
    assert not one.tensors()["exp_avg/m.b"].any()


def test_norm_is_that_before_clipping_and_clipping_bounds_the_step():
    assert step(state(), 0) == pytest.approx(2 * 3**0.5)
    one = state(max_grad_norm=0.5)
    assert step(one, 0) == pytest.approx(2 * 3**0.5)
    moments = one.tensors()["exp_avg/m.a"] / (1 - 0.9)
    assert float(moments.norm()) == pytest.approx(0.5, rel=1e-3)


def test_gradient_that_is_no_number_stops_before_the_weights_change():
    one = state()
    with pytest.raises(NotFiniteError, match="step 0: the norm of the gradients is nan; lower learning_rate"):
        step(one, 0, scale=float("nan"))
    assert (values(one)["m.a"] == 1).all()


@pytest.mark.parametrize("ema_decay", [None, 0.9])
def test_restored_state_trains_on_as_if_nothing_happened(ema_decay):
    one = state(ema_decay=ema_decay)
    for number in range(3):
        step(one, number, in_turn(number))
    other = state(ema_decay=ema_decay)
    other.restore({name: tensor.clone() for name, tensor in one.tensors().items()}, one.scalars())
    for number in range(3, 6):
        for each in (one, other):
            step(each, number, in_turn(number))
    assert one.tensors().keys() == other.tensors().keys()
    assert all(torch.equal(tensor, other.tensors()[name]) for name, tensor in one.tensors().items())


def test_buffers_are_saved_and_restored():
    one, other = state(), state()
    one.buffers["m.mean"].fill_(7)
    tensors = {name: tensor.clone() for name, tensor in one.tensors().items()}
    assert {name for name in tensors if name.startswith("buffer/")} == {"buffer/m.mean"}
    other.restore(tensors, one.scalars())
    assert other.buffers["m.mean"].tolist() == [7, 7]


def test_buffer_that_a_module_replaced_is_the_one_that_is_saved():
    one = state()
    one._modules["m"].mean = one._modules["m"].mean + 5
    assert one.tensors()["buffer/m.mean"].tolist() == [5, 5]
    one.restore({**one.tensors(), "buffer/m.mean": torch.ones(2)}, one.scalars())
    assert one._modules["m"].mean.tolist() == [1, 1]


def test_modules_are_trained_in_train_mode_and_shown_in_eval_mode():
    one = state()
    module = one._modules["m"]
    assert module.training
    with one.as_result():
        assert not module.training
    assert module.training


def test_parameters_in_no_group_are_frozen_and_not_saved():
    one = state()
    assert not one._modules["m"].frozen.requires_grad
    step(one, 0)
    assert not any("frozen" in name for name in one.tensors())


def test_average_follows_all_parameters_whichever_the_step_trains():
    one = state(ema_decay=0.5)
    seen = []
    for number in range(4):
        step(one, number, in_turn(number))
        seen.append(values(one))
    expected = seen[0]
    for number, now in enumerate(seen[1:], start=2):
        decay = min(0.5, number / (9 + number))  # diffusers' warm-up of the decay: (1 + n) / (10 + n) with n = step - 1
        expected = {name: decay * expected[name] + (1 - decay) * now[name] for name in now}
    with one.as_result():
        for name, parameter in values(one).items():
            torch.testing.assert_close(parameter, expected[name])
    assert all(torch.equal(parameter, seen[-1][name]) for name, parameter in values(one).items())


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ((), "the objective's groups are empty"),
        ((ParameterGroup(names=("m.aa",)),), "no trained module has the parameter 'm.aa' .did you mean 'm.a'"),
        ((*ALL, ParameterGroup(names=("m.a",))), "the parameter 'm.a' is in two groups; name each once"),
    ],
)
def test_groups_that_do_not_name_the_modules_parameters_are_refused(groups, message):
    with pytest.raises(ContractError, match=message):
        state(groups)


def test_parameter_that_two_modules_share_is_named_once():
    AcceleratorState._reset_state(reset_partial_state=True)
    module, settings = Two(), TrainSettings(data="d", out="o")
    groups = (ParameterGroup(names=("m.a", "n.a")),)
    objective = SimpleNamespace(modules={"m": module, "n": module}, groups=groups)
    with pytest.raises(ContractError, match=r"'m.a' and 'n.a' are one parameter of two modules; name it once"):
        TrainState(objective, settings, Accelerator(cpu=True))


def test_step_that_trains_what_is_in_no_group_is_refused():
    with pytest.raises(ContractError, match=r"the objective trains 'm.frozen', which is in no group"):
        state().begin(("m.frozen",))


def test_checkpoint_of_another_model_is_refused():
    one = state()
    with pytest.raises(TrainingError, match=r"the checkpoint has no weight/m.a, and lacks 2 others"):
        one.restore({}, {})
    tensors = {name: tensor.clone() for name, tensor in one.tensors().items()}
    with pytest.raises(TrainingError, match=r"weight/m.c does not fit the model"):
        one.restore({**tensors, "weight/m.c": torch.ones(3)}, {})
    with pytest.raises(TrainingError, match=r"weight/m.a does not fit the model"):
        one.restore({**tensors, "weight/m.a": torch.ones(4)}, {})


@pytest.mark.parametrize("lost", ["average/m.b", "exp_avg/m.a", "step/m.a", "buffer/m.mean"])
def test_checkpoint_that_lacks_a_tensor_is_refused(lost):
    one = state(ema_decay=0.9)
    step(one, 0)
    tensors = {name: tensor for name, tensor in one.tensors().items() if name != lost}
    with pytest.raises(TrainingError, match=f"the checkpoint has no {lost}, and lacks 0 others"):
        state(ema_decay=0.9).restore(tensors, one.scalars())


@pytest.mark.parametrize("key", ["average/m.a", "momentum/m.a", "a", "weight/m.z", "buffer/m.a"])
def test_checkpoint_with_a_tensor_of_another_kind_is_refused(key):
    one = state()
    with pytest.raises(TrainingError, match=f"the checkpoint's {key} does not fit the model"):
        state().restore({**one.tensors(), key: torch.ones(3)}, one.scalars())
