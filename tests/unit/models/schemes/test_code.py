"""Ids of classes of the user's own: what is found, pinned and refused, and that nothing runs before it is loaded."""

import sys

import pytest

from core.errors import ModelError
from models import registry
from models.model_ids import find, missing, offer, pin
from models.placement import Placement
from stages.synthesise_edit import SynthesiseEdit

JUDGE = """
raise_at_import = 1 / {divisor}

class Mine:
    serves = {serves}
    version = {version}
    prompt_sha256 = None

    def __init__(self, weights, placement, *, strictness=1):
        self.strictness = strictness

    def judge(self, requests, *, seeds):
        return []
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes a module of a package that is importable during the test."""
    monkeypatch.syspath_prepend(tmp_path)
    folder = tmp_path / "their_code" / "judges"
    folder.mkdir(parents=True)
    (tmp_path / "their_code" / "__init__.py").write_text("raise RuntimeError('imported')")

    def write(name="mine", serves='("EditJudge", "Captioner")', version="3", divisor=1, source=None):
        text = JUDGE.format(serves=serves, version=version, divisor=divisor) if source is None else source
        (folder / f"{name}.py").write_text(text)
        return f"code:their_code.judges.{name}:Mine"

    yield write
    for name in [name for name in sys.modules if name.startswith("their_code")]:
        del sys.modules[name]


def refusal(model_id):
    with pytest.raises(ModelError) as caught:
        find(model_id)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_class_is_found_without_importing_it_or_its_packages(write):
    found = find(write(divisor=0))
    assert (found.wrapper, found.serves) == ("their_code.judges.mine:Mine", ("EditJudge", "Captioner"))
    assert registry.cannot_serve("EditJudge", found.model_id) is None
    assert missing(found) is None
    assert offer(found) is None
    assert not [name for name in sys.modules if name.startswith("their_code")]


def test_stage_with_an_editor_of_the_users_own_runs_nothing_of_it(write):
    stage = SynthesiseEdit(model=write(serves='("Editor",)', divisor=0))
    assert (stage.needs_columns(), stage.needs_models()) == ((), (stage.model,))
    assert not [name for name in sys.modules if name.startswith("their_code")]


def test_pin_has_the_version_and_changes_with_the_file(write):
    first = pin(find(write()))
    assert first.startswith("v3 sha256:")
    assert pin(find(write(version="4"))) != first
    assert pin(find(write(divisor=2))) != first
    assert pin(find(write())) == first


def test_class_is_loaded_with_its_settings(write, tmp_path):
    (tmp_path / "their_code" / "__init__.py").write_text("")
    made = registry.load("EditJudge", write(), Placement(), strictness=2)
    assert (type(made).__name__, made.strictness) == ("Mine", 2)
    with pytest.raises(TypeError, match="mildness"):
        registry.load("EditJudge", write(), Placement(), mildness=1)


def test_class_serves_no_protocol_that_it_does_not_state(write):
    model_id = write()
    clause = "states serves = (EditJudge, Captioner), which does not name Tagger"
    assert registry.cannot_serve("Tagger", model_id) == clause
    with pytest.raises(ModelError, match="which does not name Tagger; name another model"):
        registry.load("Tagger", model_id)


@pytest.mark.parametrize("serves", ["()", "'EditJudge'", "('EditJudge', 1)", "make_it()", "None", "{[]: 1}"])
def test_class_without_a_constant_of_protocols_is_refused(write, serves):
    said = 'class Mine states no protocol; expected a line serves = ("EditJudge",) in it'
    assert refusal(write(serves=serves)).endswith(said)


@pytest.mark.parametrize("version", ["0", "True", "'1'", "None", "now()"])
def test_class_without_a_version_is_refused(write, version):
    assert "expected a whole number from 1" in refusal(write(version=version))


@pytest.mark.parametrize(
    ("model_id", "said"),
    [
        ("code:their_code.judges.mine", "is malformed; expected code:package.module:Class"),
        ("code:their_code.judges.mine:", "is malformed"),
        ("code:../mine:Mine", "is malformed"),
        ("code:their_code/judges/mine.py:Mine", "is malformed"),
        ("code::Mine", "is malformed"),
        ("code:their_code.judges.yours:Mine", "there is no module 'their_code.judges.yours' with a source file"),
        ("code:nowhere.at.all:Mine", "there is no module 'nowhere.at.all'"),
        ("code:their_code.judges.mine.deeper:Mine", "there is no module"),
        ("code:sys:Mine", "with a source file on the import path"),
        ("code:their_code.judges.mine:Yours", "has no class Yours"),
    ],
)
def test_id_that_names_no_class_is_refused(write, model_id, said):
    write()
    assert said in refusal(model_id)


@pytest.mark.parametrize("source", ["class Mine(:", "x = 1\x00", "(" * 10_000])
def test_file_that_is_no_python_is_refused(write, source):
    assert "cannot be read as Python" in refusal(write(source=source))
