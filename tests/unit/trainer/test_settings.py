from pathlib import Path
from typing import get_args

import pytest

from core.errors import SettingError
from core.settings import parse_pairs
from trainer.recipe import make_recipe
from trainer.recipes import RECIPES, find_recipe

IEdit = find_recipe("iedit")
GIVEN = {"data": "d", "model": "zoo:sd", "out": "o"}


def refusal(**values):
    with pytest.raises(SettingError) as caught:
        make_recipe(IEdit, {**GIVEN, **values})
    return str(caught.value)


def test_defaults_of_iedit_are_the_papers():
    config = make_recipe(IEdit, GIVEN)
    assert (config.size_px, config.learning_rate, config.run_on.batch_size, config.steps) == (384, 2e-4, 1, 10_000)
    assert (config.lambda_perc, config.run_on.preview.guidance_scale, config.alternate) == (0.1, 7.5, True)
    assert (config.latent_loss, config.global_loss, config.local_loss, config.perceptual_loss) == ("mask", *[True] * 3)
    assert (config.schedule, config.ema_decay, config.out) == ("constant", None, Path("o"))
    assert 0.6 <= config.run_on.preview.sampling_ratio <= 0.8


def test_unknown_setting_is_refused_with_the_nearest_name():
    reported = "recipe iedit: unknown key 'learning_rat' (did you mean 'learning_rate'?)"
    assert refusal(learning_rat=1.0) == reported
    reported = "recipe iedit: run_on: unknown key 'num_worker' (did you mean 'num_workers'?)"
    assert refusal(run_on={"num_worker": 1}) == reported


def test_setting_of_a_section_is_refused_outside_of_it():
    reported = "recipe iedit: num_workers is a setting of the section run_on; write run_on.num_workers"
    assert refusal(num_workers=1) == reported


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"steps": 0}, "recipe iedit: steps: input should be greater than or equal to 1, got 0"),
        ({"seed": 2**63}, "recipe iedit: seed: input should be less than 9223372036854775808, got 9223372036854775808"),
        ({"steps": "many"}, "recipe iedit: steps: input should be a valid integer, got 'many'"),
        ({"alternate": 1}, "recipe iedit: alternate: input should be a valid boolean, got 1"),
        ({"precision": "fp8"}, "recipe iedit: precision: input should be 'no', 'bf16' or 'fp16', got 'fp8'"),
        ({"learning_rate": float("inf")}, "recipe iedit: learning_rate: input should be a finite number, got inf"),
        (
            {"run_on": {"check_shards": "no"}},
            "recipe iedit: run_on.check_shards: input should be 'sha256' or 'size', got 'no'",
        ),
        ({"data": 3}, "recipe iedit: data: expected a folder or URL, or a list of them, got 3"),
        ({"data": []}, "recipe iedit: data: expected a folder or URL, or a list of them, got []"),
        ({"data_weights": [1, 2]}, "recipe iedit: data_weights is [1.0, 2.0]; expected a number above 0 for each data"),
        ({"data": ["a", "b"], "data_weights": [1.0]}, "recipe iedit: data_weights is [1.0]; expected a number above 0"),
        ({"data": ["a", "b"], "data_weights": [1.0, 0.0]}, "recipe iedit: data_weights is [1.0, 0.0]; expected a numb"),
        ({"data": ["a", "b"], "data_weights": [2, -1]}, "recipe iedit: data_weights is [2.0, -1.0]; expected a number"),
        ({"data_weights": ["3"]}, "recipe iedit: data_weights.0: input should be a valid number, got '3'"),
        ({"steps": 5, "warmup_steps": 5}, "recipe iedit: warmup_steps 5 must be below steps 5"),
        (
            {"run_on": {"preview": {"num_steps": 1}}},
            "recipe iedit: run_on: preview.num_steps 1 x preview.sampling_ratio 0.7 is less than one step, got {",
        ),
    ],
)
def test_value_of_the_wrong_kind_is_refused_with_the_key_and_the_value(values, message):
    assert refusal(**values).startswith(message)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("value", ["inf", "-inf", "nan"])
def test_no_number_of_any_recipe_may_be_infinite_or_none(recipe, value):
    kind = find_recipe(recipe)
    numbers = [
        name for name, field in kind.model_fields.items() if float in (field.annotation, *get_args(field.annotation))
    ]
    assert "learning_rate" in numbers
    given = {key: GIVEN[key] for key in GIVEN.keys() & kind.model_fields.keys()}
    for name in numbers:
        with pytest.raises(SettingError, match=rf"{name}: input should be (a finite number|greater|less)"):
            make_recipe(kind, {**given, **parse_pairs([f"{name}={value}"])})


def test_missing_setting_is_named():
    with pytest.raises(SettingError, match="recipe iedit: model: this setting has no default"):
        make_recipe(IEdit, {"data": "d", "out": "o"})


def test_settings_cannot_be_changed_afterwards():
    with pytest.raises(ValueError, match="frozen"):
        make_recipe(IEdit, GIVEN).steps = 3


def test_several_datasets_are_named_by_a_list():
    config = make_recipe(IEdit, {**GIVEN, "data": ["a", "b"], "data_weights": [3, 1]})
    assert (config.data, config.data_weights) == (("a", "b"), (3.0, 1.0))
    assert config.deciding()["data_weights"] == [3.0, 1.0]
    assert "data" not in config.deciding()


def test_unknown_recipe_is_refused():
    with pytest.raises(SettingError, match=r"no recipe is called 'iedits' \(did you mean 'iedit'\?\)"):
        find_recipe("iedits")


def test_every_recipe_is_under_its_own_name():
    assert {name: find_recipe(name).recipe for name in RECIPES} == {name: name for name in RECIPES}


class Elsewhere(IEdit):
    """A recipe that the table does not list."""


def test_recipe_outside_of_the_table_is_named_by_module_and_class():
    assert find_recipe(f"{__name__}:Elsewhere") is Elsewhere


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere.at_all:X", "recipe 'nowhere.at_all:X': there is no module 'nowhere.at_all' on the import path"),
        ("trainer.recipe:Missing", "'trainer.recipe:Missing' is no recipe; expected package.module:Class"),
        ("trainer.recipe:Recipe", "'trainer.recipe:Recipe' has no name, by which a training is resumed; set `recipe`"),
        ("trainer.settings:TrainSettings", "'trainer.settings:TrainSettings' is no recipe; expected package.module"),
    ],
)
def test_class_that_is_no_recipe_is_refused(name, message):
    with pytest.raises(SettingError, match=message):
        find_recipe(name)


def test_out_is_a_path_of_the_users_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert make_recipe(IEdit, {**GIVEN, "out": "~/x"}).out == tmp_path / "x"


def test_rate_warms_up_and_stays_or_follows_a_cosine():
    constant = make_recipe(IEdit, {**GIVEN, "warmup_steps": 4, "steps": 12})
    assert [constant.rate_frac(step) for step in (0, 1, 3, 4, 11)] == [0.25, 0.5, 1.0, 1.0, 1.0]
    cosine = make_recipe(IEdit, {**GIVEN, "warmup_steps": 4, "steps": 12, "schedule": "cosine"})
    assert [cosine.rate_frac(step) for step in (0, 3, 4, 8, 12)] == pytest.approx([0.25, 1.0, 1.0, 0.5, 0.0])


def test_what_decides_the_result_leaves_out_what_decides_speed():
    config = make_recipe(IEdit, GIVEN)
    assert config.deciding().keys() == IEdit.model_fields.keys() - {"data", "out", "run_on", "steps"}
    assert "steps" in make_recipe(IEdit, {**GIVEN, "schedule": "cosine"}).deciding()
