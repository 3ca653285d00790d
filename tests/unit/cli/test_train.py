import subprocess
import sys
from pathlib import Path

import pytest

from core.errors import InterruptedTraining, ModelError, NotFiniteError
from trainer.recipes import RECIPES
from trainer.result import Result

GIVEN = ["--recipe", "iedit", "--data", "d", "--model", "zoo:sd"]


@pytest.fixture
def asked(monkeypatch):
    """The calls of the loop. It raises what the list holds beyond that."""
    calls, failures = [], []

    def train(config, *, resume):
        calls.append((config, resume))
        if failures:
            raise failures[0]
        return Result(Path("o/model"), config.steps, {"loss": 0.5})

    monkeypatch.setattr("trainer.loop.train", train)
    monkeypatch.setattr("cli.train._quiet_libraries", lambda: None)
    calls.append(failures)
    return calls


def test_options_win_over_set_and_set_over_the_file(asked, tmp_path, editloom):
    (tmp_path / "c.toml").write_text(
        'steps = 1\nseed = 1\nlatent_loss = "paired"\n[run_on]\nbatch_size = 1\nnum_workers = 1\n'
    )
    pairs = ["--set", "seed=2", "--set", "run_on.batch_size=2"]
    flags = ["--config", tmp_path / "c.toml", *pairs, "--batch-size", "3", "--resume"]
    code, output, _ = editloom("train", *GIVEN, "--out", "o", *flags)
    config, resume = asked[1]
    assert (code, resume) == (0, True)
    assert (config.steps, config.seed, config.latent_loss) == (1, 2, "paired")
    assert (config.run_on.batch_size, config.run_on.num_workers) == (3, 1)
    assert output == "o/model: 1 steps, last loss 0.5000\n"


def test_several_datasets_are_given_one_after_another(asked, editloom):
    editloom("train", *GIVEN, "--data", "e", "--out", "o", "--set", "data_weights=[3,1]")
    editloom("train", *GIVEN, "--out", "o")
    assert [(config.data, config.data_weights) for config, _ in asked[1:]] == [(("d", "e"), (3.0, 1.0)), ("d", None)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([*GIVEN], "recipe iedit: out: this setting has no default"),
        ([*GIVEN, "--out", "o", "--set", "stepz=3"], "recipe iedit: unknown key 'stepz' (did you mean 'steps'?)"),
        (["--recipe", "x", "--out", "o"], f"no recipe is called 'x' (known: {', '.join(sorted(RECIPES))})"),
        (
            [*GIVEN, "--data", "e", "--out", "o", "--set", "data_weights=[1]"],
            "recipe iedit: data_weights is [1.0]; expected a number above 0 for each dataset in data (2)",
        ),
        ([], "Missing option '--recipe'."),
        ([*GIVEN, "--steps", "many"], "Invalid value for '--steps': "),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(asked, arguments, message, refused):
    assert refused("train", *arguments, code=2).startswith(message)


@pytest.mark.parametrize(
    "error", [NotFiniteError("nan\nagain"), InterruptedTraining("stopped"), ModelError("no model")]
)
def test_failure_is_one_line_and_exit_code_1(asked, error, refused):
    asked[0].append(error)
    assert refused("train", *GIVEN, "--out", "o", code=1) == " ".join(str(error).split())


@pytest.mark.parametrize("value", ["inf", "nan", "-inf"])
def test_rate_that_is_no_finite_number_is_wrong_usage(asked, value, refused):
    message = refused("train", *GIVEN, "--out", "o", "--set", f"learning_rate={value}", code=2)
    assert "learning_rate: input should be a finite number" in message


def test_dataset_that_is_none_is_wrong_usage(tmp_path, refused):
    given = ["--recipe", "iedit", "--data", tmp_path, "--model", "zoo:sd", "--out", tmp_path / "o"]
    assert f"{tmp_path} holds no shards.json" in refused("train", *given, code=2)


def test_command_and_settings_import_no_heavy_package():
    code = "import sys, cli.train, trainer.recipes; print({'torch', 'diffusers', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
