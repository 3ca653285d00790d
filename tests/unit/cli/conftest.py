"""The command line run in the tests' own process, and fake models for `edit` and `evaluate`."""

import numpy as np
import pytest
from _folders import FakeEditor, save

from cli import main as cli
from evaluation import edit_files, editors


class LeftHalf:
    def segment_phrases(self, images, phrases):
        assert phrases == ["red car"] * len(images)
        return [np.repeat([[0.9] * (i.width // 2) + [0.1] * (i.width - i.width // 2)], i.height, 0) for i in images]


@pytest.fixture
def editloom(monkeypatch, capsys):
    """Runs the command in this process: gives exit code, stdout and stderr. A bug is raised."""
    monkeypatch.setenv("COLUMNS", "160")

    def call(*args):
        with pytest.raises(SystemExit) as ended:
            cli.main([str(arg) for arg in args])
        captured = capsys.readouterr()
        return ended.value.code, captured.out, captured.err

    return call


@pytest.fixture
def refused(editloom):
    """Runs the command, which must end with `code` and print one line on stderr only: the message on it."""

    def call(*args, code):
        got, out, err = editloom(*args)
        assert got == code
        assert out == ""
        assert err.startswith("editloom: ")
        assert err.count("\n") == 1
        assert "Traceback" not in err
        return err.removeprefix("editloom: ").rstrip("\n")

    return call


@pytest.fixture
def models(monkeypatch):
    """The fake editor, then for each model that was loaded: protocol, id, batch size and settings."""
    fake, calls = FakeEditor(), []

    def load(protocol, model_id, placement, **settings):
        calls.append((protocol, model_id, placement.batch_size, settings))
        return fake if protocol == "ImageEditor" else LeftHalf()

    for module in (edit_files, editors):
        monkeypatch.setattr(module, "load_model", load)
    calls.append(fake)
    return calls


@pytest.fixture
def images(tmp_path):
    """The paths of two small images of one colour each."""
    made = [tmp_path / f"{name}.png" for name in "ab"]
    for number, path in enumerate(made):
        save(np.full((8, 10, 3), 40 + number, np.uint8), path)
    return [str(path) for path in made]
