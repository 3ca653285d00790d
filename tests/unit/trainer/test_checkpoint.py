import errno
import hashlib
import json

import pytest
import torch
from safetensors import SafetensorError

from core.errors import TrainingError
from trainer.checkpoint import check, checkpoints, read_state, read_tensors, save_checkpoint

TENSORS = {"weight/a": torch.arange(6.0).reshape(2, 3).T, "step/a": torch.tensor(4.0)}


def test_what_is_saved_is_read_back(tmp_path):
    folder = save_checkpoint(tmp_path / "c", 7, TENSORS, {"seed": 1}, keep=2)
    assert folder.name == "step-00000007"
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "state.json", "state.safetensors"]
    assert read_state(folder) == {"seed": 1, "step": 7}
    found = read_tensors(folder)
    assert found.keys() == TENSORS.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in TENSORS.items())


def test_only_the_last_are_kept_in_the_order_of_steps(tmp_path):
    for step in (9, 10, 100):
        save_checkpoint(tmp_path, step, TENSORS, {}, keep=2)
    assert [path.name for path in checkpoints(tmp_path)] == ["step-00000010", "step-00000100"]
    assert checkpoints(tmp_path / "nowhere") == []


def test_one_that_was_not_finished_is_no_checkpoint_and_in_nobodys_way(tmp_path):
    partial = tmp_path / ".step-00000007.new"
    partial.mkdir()
    (partial / "state.safetensors").write_bytes(b"half")
    assert checkpoints(tmp_path) == []
    save_checkpoint(tmp_path, 7, TENSORS, {}, keep=2)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000007"]


def test_the_same_step_may_be_saved_again(tmp_path):
    save_checkpoint(tmp_path, 7, TENSORS, {"run": 1}, keep=2)
    assert read_state(save_checkpoint(tmp_path, 7, TENSORS, {"run": 2}, keep=2))["run"] == 2


def test_damaged_checkpoint_says_what_to_do(tmp_path):
    folder = save_checkpoint(tmp_path, 7, TENSORS, {}, keep=2)
    (folder / "state.safetensors").write_bytes(b"nonsense")
    with pytest.raises(TrainingError, match=r"cannot be read .* remove it to resume from the one before"):
        read_tensors(folder)
    (folder / "state.json").write_text("{")
    with pytest.raises(TrainingError, match="cannot be read"):
        read_state(folder)


def test_full_disk_is_one_error_whoever_notices_it(tmp_path, monkeypatch):
    for error in (SafetensorError("I/O error: no space left on device"), OSError(errno.ENOSPC, "No space left")):

        def full(*_given, error=error):
            raise error

        monkeypatch.setattr("trainer.checkpoint.save_file", full)
        with pytest.raises(TrainingError, match=r"step-00000007 cannot be written \(.*no space left.*resume"):
            save_checkpoint(tmp_path, 7, TENSORS, {}, keep=2)
    assert not checkpoints(tmp_path)


def test_state_is_json_and_tensors_are_no_pickle(tmp_path):
    folder = save_checkpoint(tmp_path, 7, TENSORS, {"a": [1, None, True]}, keep=1)
    assert json.loads((folder / "state.json").read_text())["a"] == [1, None, True]
    header_bytes = int.from_bytes((folder / "state.safetensors").read_bytes()[:8], "little")
    assert header_bytes < 1000


@pytest.mark.parametrize("name", ["state.json", "state.safetensors"])
def test_flipped_byte_in_any_file_is_noticed_and_named(tmp_path, name):
    folder = save_checkpoint(tmp_path, 7, TENSORS, {"a": 1}, keep=2)
    check(folder)
    content = bytearray((folder / name).read_bytes())
    content[-9] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(TrainingError) as caught:
        check(folder)
    assert str(caught.value) == (
        f"checkpoint {folder} cannot be read ({name} is not what was written: its size and sha256 are not those in "
        "manifest.json); remove it to resume from the one before"
    )


@pytest.mark.parametrize("reported", ["{", "[]", "{}", '{"state.json": 3}', "[" * 100_000, None])
def test_checkpoint_without_a_sound_manifest_is_refused(tmp_path, reported):
    folder = save_checkpoint(tmp_path, 7, TENSORS, {}, keep=2)
    (folder / "manifest.json").unlink()
    if reported is not None:
        (folder / "manifest.json").write_text(reported)
    with pytest.raises(TrainingError, match=r"cannot be read .*; remove it to resume from the one before"):
        check(folder)


@pytest.mark.parametrize("reported", ["{}", "[]", "7", '{"step": "7"}', '{"step": true}', '{"step": 8}', "[" * 100_000])
def test_state_of_another_shape_is_one_clear_line(tmp_path, reported):
    folder = save_checkpoint(tmp_path, 7, TENSORS, {}, keep=2)
    (folder / "state.json").write_text(reported)
    sign(folder)
    with pytest.raises(TrainingError, match=r"cannot be read \((state.json states no step|.*recursion)") as caught:
        read_state(folder)
    assert "\n" not in str(caught.value)


def sign(folder):
    """The manifest that fits the files as they are."""
    reported = {}
    for name in ("state.safetensors", "state.json"):
        content = (folder / name).read_bytes()
        reported[name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps(reported))
