import json
import os
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
from _hub import hub

from core.errors import ModelError
from models import model_ids
from models.model_ids import find
from models.schemes.weights import Offer

ROOT = Path(__file__).resolve().parents[3]
COMMIT = "a" * 40
ONE, TWO = f"hf:owner/one@{COMMIT}", f"hf:owner/two@{COMMIT}"
MANIFEST = """
name = "x"
[models]
clip = "{clip}"
[[stage]]
use = "read_webdataset"
[[stage]]
use = "normalise_image"
shorter_side_px = 64
[[stage]]
use = "caption"
model = "{blip}"
[[stage]]
use = "embed"
model = "clip"
[[stage]]
use = "score_pair"
model = "clip"
"""


@pytest.fixture
def manifest(tmp_path):
    path = tmp_path / "m.toml"
    path.write_text(MANIFEST.format(clip=ONE, blip=TWO))
    return path


@pytest.fixture
def source(monkeypatch, tmp_path):
    """A source of downloads that has every repository but owner/gone, and the ids of its downloads."""
    asked = []

    def offer(weights):
        if weights.is_local:
            return None
        if "owner/gone" in weights.model_id:
            raise httpx2.ConnectError("no route\nto host")
        return Offer(num_bytes=1_500_000_000, licence=None if "two" in weights.model_id else "mit")

    def download(weights):
        if "owner/gone" in weights.model_id:
            raise OSError("404 Client Error\nRepository Not Found")
        asked.append(weights.model_id)
        return weights

    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(model_ids, "offer", offer)
    monkeypatch.setattr(model_ids, "download", download)
    return asked


def test_models_of_a_manifest_are_fetched_once_after_sizes_and_licences(editloom, manifest, source):
    code, out, err = editloom("fetch", manifest)
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        f"{TWO}: 1.5 GB, licence not stated",
        f"{ONE}: 1.5 GB, licence mit",
        "2 of 2 models to download, 3.0 GB",
        f"{TWO}: now at owner/two",
        f"{ONE}: now at owner/one",
    ]
    assert source == [TWO, ONE]


def test_dry_run_says_sizes_and_downloads_nothing(editloom, manifest, source):
    code, out, _ = editloom("fetch", manifest, "--dry-run")
    assert code == 0
    assert out.splitlines()[-1] == "2 of 2 models to download, 3.0 GB"
    assert source == []


def test_dry_run_fails_for_an_id_that_names_nothing(editloom, source):
    code, _, err = editloom("fetch", "zoo:nothing", ONE, "--dry-run")
    assert code == 1
    assert "1 of 2 models could not be fetched: zoo:nothing: no model is called 'zoo:nothing'" in err
    assert source == []


def test_ids_are_accepted_with_manifests(editloom, manifest, source):
    code, out, _ = editloom("fetch", "zoo:clip", manifest, ONE, "--json")
    assert code == 0
    result = json.loads(out)
    assert [one["model"] for one in result["models"]] == ["zoo:clip", TWO, ONE]
    assert [one["bytes"] for one in result["models"]] == [0, 1_500_000_000, 1_500_000_000]
    assert [one["licence"] for one in result["models"]] == ["apache-2.0", None, "mit"]
    assert result["models"][0]["location"] == find("zoo:clip").location
    assert result["bytes"] == 3_000_000_000


def test_what_cannot_be_fetched_is_named_and_the_rest_is_fetched(editloom, source):
    gone = f"hf:owner/gone@{COMMIT}"
    code, out, err = editloom("fetch", gone, "zoo:none", "hf:owner/unpinned", TWO)
    assert code == 1
    assert source == [TWO]
    assert err.count("\n") == 1
    assert err.startswith(
        f"editloom: 3 of 4 models could not be fetched: {gone}: OSError: 404 Client Error Repository Not Found; "
        "zoo:none: no model is called 'zoo:none'"
    )
    assert "; hf:owner/unpinned: model 'hf:owner/unpinned' is not pinned" in err
    assert out.splitlines()[0] == f"{gone}: size and licence are not known (ConnectError: no route to host)"
    assert "4 of 4 models to download, 1.5 GB, besides those of unknown size" in out


def test_model_of_a_server_is_not_reported_as_on_this_machine(editloom):
    code, out, _ = editloom("fetch", "openai:m@http://127.0.0.1:1/v1")
    assert code == 0
    assert out.splitlines()[0] == "openai:m@http://127.0.0.1:1/v1: nothing to download, licence not stated"


def test_unknown_manifest_ends_with_2(refused, tmp_path):
    assert refused("fetch", tmp_path / "none.toml", code=2).endswith("no such manifest; see the folder manifests/")


FILES = {
    "config.json": b'{"model_type": "clip"}',
    "model.safetensors": b"weights" * 100,
    "pytorch_model.bin": b"pickle" * 1000,
    "README.md": b"---\nlicense: mit\n---\n",
}


def fetch(served, tmp_path, *args):
    """The command in a process of its own, whose Hub is `served`: exit code, stdout, stderr."""
    places = {"HF_ENDPOINT": served.url, "HF_HOME": str(tmp_path), "HF_HUB_CACHE": str(tmp_path / "hub")}
    places["HF_HUB_DISABLE_XET"] = "1"
    environment = {k: v for k, v in os.environ.items() if k not in ("HF_HUB_OFFLINE", "EDITLOOM_DOWNLOAD")} | places
    code = "from cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "fetch", *args], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    return done.returncode, done.stdout, done.stderr


def test_repository_is_downloaded_from_the_hub_without_its_pickles(tmp_path, monkeypatch):
    with hub({"owner/one": FILES}, {"owner/one": "mit"}) as served:
        code, out, err = fetch(served, tmp_path, ONE)
        assert code == 0, err
        size = sum(len(content) for name, content in FILES.items() if not name.endswith(".bin"))
        assert out.splitlines()[:2] == [f"{ONE}: {size} bytes, licence mit", f"1 of 1 models to download, {size} bytes"]
        assert set(served.sent) == set(FILES) - {"pytorch_model.bin"}
        code, out, err = fetch(served, tmp_path, ONE)
        assert out.splitlines() == [
            f"{ONE}: already on this machine, licence mit",
            "0 of 1 models to download, 0 bytes",
        ]
        assert set(served.sent.values()) == {1}
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    found = find(ONE)
    assert found.is_local
    assert (Path(found.location) / "model.safetensors").read_bytes() == FILES["model.safetensors"]


def test_repository_of_pickles_is_refused_by_name(tmp_path):
    pickles = {name: content for name, content in FILES.items() if name != "model.safetensors"}
    with hub({"owner/one": pickles}) as served:
        code, _, err = fetch(served, tmp_path, ONE)
        assert code == 1
        assert f"1 of 1 models could not be fetched: {ONE}: model '{ONE}': " in err
        assert "holds no weights; expected *.safetensors" in err
        assert "pytorch_model.bin" not in served.sent


def test_repository_that_the_hub_does_not_have_is_named(tmp_path):
    with hub({}) as served:
        code, out, err = fetch(served, tmp_path, ONE)
    assert code == 1
    assert out.startswith(f"{ONE}: size and licence are not known (RepositoryNotFoundError: ")
    assert f"1 of 1 models could not be fetched: {ONE}: RepositoryNotFoundError: " in err


STRANGE = {"rfilename": "config.json", "size": "large"}


@pytest.mark.parametrize(
    "about", [b"<html>log in</html>", b"[1]", b"{}", json.dumps({"id": "x", "siblings": [STRANGE]}).encode()]
)
def test_answer_that_is_not_of_the_hub_is_one_line(tmp_path, about):
    with hub({"owner/one": FILES}) as served:
        served.about = about
        code, out, err = fetch(served, tmp_path, ONE)
    assert (code, err.count("\n")) == (1, 1), err
    assert out.startswith(f"{ONE}: size and licence are not known (the answer about owner/one is not one of the Hub (")
    assert err.endswith("; check HF_ENDPOINT and the proxies\n")


def test_file_outside_of_its_repository_is_refused(tmp_path):
    with hub({"owner/one": FILES | {"../../outside.json": b"{}"}}, {"owner/one": ["mit", "other"]}) as served:
        code, out, err = fetch(served, tmp_path, ONE)
    assert code == 1
    assert out.splitlines()[0].endswith(", licence mit, other")
    assert "outside.json" in err.splitlines()[-1]
    assert not list(tmp_path.rglob("outside.json"))


def test_lexicon_is_fetched_like_a_model(editloom, monkeypatch, tmp_path):
    from models.language import fetch_wordnet, wordnet

    monkeypatch.setattr(wordnet, "search_places", lambda: (tmp_path / "nowhere",))
    monkeypatch.setattr(wordnet, "data_folder", lambda: tmp_path / "here")
    asked = []
    monkeypatch.setattr(fetch_wordnet, "fetch", lambda folder: asked.append(folder) or folder / "corpora" / "wordnet")
    code, out, _ = editloom("fetch", "wordnet:3.0")
    assert code == 0
    assert asked == [tmp_path / "here"]
    assert out.splitlines()[0] == "wordnet:3.0: 10.8 MB, licence WordNet 3.0"
    monkeypatch.setattr(fetch_wordnet, "fetch", lambda folder: (_ for _ in ()).throw(ModelError("no source")))
    code, _, err = editloom("fetch", "wordnet:3.0")
    assert (code, err) == (1, "editloom: 1 of 1 models could not be fetched: wordnet:3.0: no source\n")
