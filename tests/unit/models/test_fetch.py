from types import SimpleNamespace

import pytest

from models import fetch as command
from models.registry import can_fetch

COMMIT = "a" * 40
FILES = {"model.safetensors": "weights", "config.json": "{}", "pytorch_model.bin": "pickle"}


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A Hub that serves `FILES` for every repository but owner/gone; `asked` has what was asked for."""

    def snapshot_download(repository, *, revision, allow_patterns, ignore_patterns):
        if repository == "owner/gone":
            raise OSError("404 Client Error\nRepository Not Found")
        served.asked.append((repository, revision))
        folder = tmp_path / "hub" / f"models--{repository.replace('/', '--')}" / "snapshots" / revision
        folder.mkdir(parents=True)
        for name, content in FILES.items():
            if any(name.endswith(pattern.lstrip("*")) for pattern in allow_patterns):
                (folder / name).write_text(content)
        return str(folder)

    served = SimpleNamespace(asked=[])
    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    monkeypatch.setattr("huggingface_hub.list_repo_files", lambda *_, **__: list(FILES))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("EDITLOOM_DOWNLOAD", "0")
    return served


def test_every_id_is_fetched_once_at_its_revision_and_without_pickles(hub, tmp_path, capsys):
    ids = [f"hf:owner/one@{COMMIT}", f"hf:owner/two@{COMMIT}", f"hf:owner/one@{COMMIT}"]
    assert command.main(ids) == 0
    assert hub.asked == [("owner/one", COMMIT), ("owner/two", COMMIT)]
    assert {path.name for path in tmp_path.rglob("snapshots/*/*")} == {"model.safetensors", "config.json"}
    assert capsys.readouterr().out.splitlines()[0].startswith(f"hf:owner/one@{COMMIT}: now at {tmp_path}")


def test_id_that_cannot_be_had_is_named_and_the_others_are_fetched(hub, capsys):
    assert command.main([f"hf:owner/gone@{COMMIT}", "zoo:none", f"hf:owner/two@{COMMIT}"]) == 1
    errors = capsys.readouterr().err.splitlines()
    assert errors[0] == f"error: hf:owner/gone@{COMMIT}: 404 Client Error Repository Not Found"
    assert errors[1].startswith("error: zoo:none: no model is called 'zoo:none'")
    assert hub.asked == [("owner/two", COMMIT)]


def test_lexicon_is_fetched_by_its_own_command(monkeypatch):
    monkeypatch.setattr("models.language.fetch_wordnet.main", lambda argv: 0)
    assert command.main(["wordnet:3.0"]) == 0


@pytest.mark.parametrize(
    ("model_id", "can"),
    [
        (f"hf:owner/one@{COMMIT}", True),
        (f"vllm:hf:owner/one@{COMMIT}", True),
        ("open_clip:ViT-B-32/openai", True),
        ("wordnet:3.0", True),
        ("hf:owner/unpinned", False),
        ("path:/nowhere", False),
        ("openai:x@http://localhost/v1", False),
        ("nonsense", False),
    ],
)
def test_ids_that_can_be_fetched_are_told_from_those_to_correct(hub, model_id, can):
    assert can_fetch(model_id) is can
