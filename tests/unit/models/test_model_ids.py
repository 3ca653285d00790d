import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub.utils import filter_repo_objects

from core.errors import ModelError
from models.model_ids import SCHEMES, download, fetch, find, missing, offer, pin
from models.schemes import snapshot, weights, zoo
from models.schemes.snapshot import gaps
from models.schemes.weights import Weights

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def own_places(monkeypatch, tmp_path):
    """An empty Hub cache and an empty zoo, and no variable that changes what is allowed."""
    for name in ("EDITLOOM_DOWNLOAD", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(zoo, "ZOO", tmp_path / "zoo")


def folder_of(path, **files):
    """A folder with these files, `__` in a name standing for the dot."""
    path.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (path / name.replace("__", ".")).write_text(content)
    return path


def model_at(path, **files):
    return folder_of(path, model__safetensors="weights", config__json='{"model_type": "blip"}', **files)


def cached(tmp_path, **files):
    return model_at(tmp_path / "hub" / "models--owner--name" / "snapshots" / COMMIT, **files)


def refusal(model_id):
    with pytest.raises(ModelError) as caught:
        find(model_id)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_folder_is_found_and_pinned_by_its_content(tmp_path):
    first = find(f"path:{model_at(tmp_path / 'a')}")
    assert first == Weights(f"path:{tmp_path / 'a'}", "path", str(tmp_path / "a"), None, is_local=True)
    assert pin(first).startswith("sha256:")
    assert pin(first) == pin(find(f"path:{model_at(tmp_path / 'b')}"))


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "merges.txt", "chat_template.jinja"])
def test_pin_changes_with_every_file_that_decides_a_result(tmp_path, name):
    folder = model_at(tmp_path / "a", merges__txt="a b", chat_template__jinja="{{ x }}")
    before = pin(find(f"path:{folder}"))
    (folder / name).write_text("something else")
    os.utime(folder / name, ns=(1, 1))
    assert pin(find(f"path:{folder}")) != before


def test_pin_does_not_hang_on_what_decides_nothing(tmp_path):
    folder = model_at(tmp_path / "a")
    before = pin(find(f"path:{folder}"))
    folder_of(folder, README__md="---\nlicense: mit\n---", training_args__bin="pickle")
    assert pin(find(f"path:{folder}")) == before


def test_unchanged_files_are_hashed_once(tmp_path):
    found = find(f"path:{model_at(tmp_path / 'a')}")
    pin(found)
    before = snapshot._sha256.cache_info().misses
    pin(found)
    assert snapshot._sha256.cache_info().misses == before


def test_zoo_model_is_found_by_name_and_no_other(tmp_path):
    model_at(tmp_path / "zoo" / "blip")
    assert find("zoo:blip").location == str(tmp_path / "zoo" / "blip")
    assert refusal("zoo:blop").startswith("no model is called 'zoo:blop' (the zoo holds: blip)")
    assert "the zoo holds: blip" in refusal("zoo:../zoo/blip")


def test_folder_of_pickles_is_refused(tmp_path):
    folder = folder_of(tmp_path / "a", pytorch_model__bin="pickle", config__json="{}")
    assert refusal(f"path:{folder}") == (
        f"model 'path:{folder}': {folder} holds pickled weights only (pytorch_model.bin), which run code when they are "
        "opened; expected safetensors only: take a revision that has them, or convert with save_pretrained"
    )


def test_pickles_next_to_safetensors_are_not_loaded(tmp_path):
    folder = model_at(tmp_path / "a", pytorch_model__bin="pickle")
    assert find(f"path:{folder}").pretrained_arguments() == {"use_safetensors": True, "local_files_only": True}


def test_folder_without_weights_is_refused(tmp_path):
    folder = folder_of(tmp_path / "a", config__json="{}")
    assert "holds no weights; expected *.safetensors or a *.gguf file" in refusal(f"path:{folder}")
    assert refusal("path:/no/such/folder").endswith("/no/such/folder does not exist; correct the path in the manifest")
    assert "is a file; expected a folder" in refusal(f"path:{folder / 'config.json'}")


def test_gguf_file_is_weights(tmp_path):
    folder = folder_of(tmp_path / "a", model__gguf="weights", README__md="---\nlicense: mit\n---\n")
    found = find(f"path:{folder / 'model.gguf'}")
    assert found.location == str(folder / "model.gguf")
    assert pin(found).startswith("sha256:")
    assert found.licence() == "mit"


def test_explicit_download_needs_no_permission(hub, monkeypatch):
    monkeypatch.setenv("EDITLOOM_DOWNLOAD", "0")
    hub.files = {"model.safetensors": "weights", "config.json": "{}"}
    with pytest.raises(ModelError, match="editloom fetch"):
        fetch(find(f"hf:owner/name@{COMMIT}"))
    assert download(find(f"hf:owner/name@{COMMIT}")).is_local


def test_unpinned_repository_is_refused():
    assert refusal("hf:owner/name") == (
        "model 'hf:owner/name' is not pinned: it can change any day; add the 40 hex digits of a commit, "
        "hf:owner/name@<commit>, as shown at https://huggingface.co/owner/name/commits/main"
    )
    assert "is not pinned: 'main' can move" in refusal("hf:owner/name@main")
    assert "is malformed; expected hf:owner/name@<commit>" in refusal(f"hf:../name/x@{COMMIT}")


def test_repository_in_the_cache_is_used_from_there(tmp_path):
    found = find(f"hf:owner/name@{COMMIT}")
    assert (found.location, found.revision, found.is_local) == ("owner/name", COMMIT, False)
    snapshot = cached(tmp_path, README__md="---\nlicense: bsd-3-clause\n---\n")
    found = find(f"hf:owner/name@{COMMIT}")
    assert (found.location, found.is_local, pin(found), found.licence()) == (
        str(snapshot),
        True,
        COMMIT,
        "bsd-3-clause",
    )
    assert fetch(found) == found


def test_absent_repository_names_the_command_that_gets_it(tmp_path, monkeypatch):
    model = f"hf:owner/name@{COMMIT}"
    begin = f"model {model!r} is not in the local cache {tmp_path / 'hub'}; get it with `editloom fetch {model}`"
    lack = missing(find(model))
    assert lack.message == f"{begin}, or set EDITLOOM_DOWNLOAD=1 to let workers do so"
    assert lack.model_id == model
    with pytest.raises(ModelError, match="`editloom fetch hf:owner/name@"):
        fetch(find(model))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("EDITLOOM_DOWNLOAD", "1")
    assert missing(find(model)).message == f"{begin} where HF_HUB_OFFLINE is not set, and copy the cache here"


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A Hub, asked through `fetch`, that serves what a test puts into `files` (name -> content)."""

    def snapshot_download(repository, **options):
        served.asked = {**options, "repository": repository}
        folder = tmp_path / "hub" / "models--owner--name" / "snapshots" / COMMIT
        for name in filter_repo_objects(
            served.files, allow_patterns=options["allow_patterns"], ignore_patterns=options["ignore_patterns"]
        ):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(served.files[name])
        return str(folder)

    served = SimpleNamespace(files={}, asked=None)
    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    monkeypatch.setattr("huggingface_hub.list_repo_files", lambda *_, **__: list(served.files))
    monkeypatch.setenv("EDITLOOM_DOWNLOAD", "1")
    return served


def fetched_names(model_id):
    root = Path(fetch(find(model_id)).location)
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def test_download_happens_only_on_request_and_takes_no_pickles(hub):
    hub.files = {"model.safetensors": "weights", "config.json": "{}", "pytorch_model.bin": "pickle", "x.pt": "pickle"}
    found = find(f"hf:owner/name@{COMMIT}")
    assert missing(found) is None
    assert found.pretrained_arguments()["revision"] == COMMIT
    assert fetch(found).is_local
    assert (hub.asked["repository"], hub.asked["revision"]) == ("owner/name", COMMIT)
    assert fetched_names(f"hf:owner/name@{COMMIT}") == {"model.safetensors", "config.json"}


PIPELINE = {
    "_class_name": "StableDiffusionPipeline",
    "feature_extractor": ["transformers", "CLIPImageProcessor"],
    "requires_safety_checker": True,
    "safety_checker": [None, None],
    "scheduler": ["diffusers", "DDIMScheduler"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}
WANTED = {
    "model_index.json": json.dumps(PIPELINE), "scheduler/scheduler_config.json": "{}", "tokenizer/vocab.json": "{}",
    "unet/config.json": "{}", "unet/model.safetensors": "u", "vae/config.json": "{}", "vae/model.safetensors": "v",
}  # fmt: skip


def test_half_downloaded_pipeline_counts_as_absent_and_is_fetched_on(hub, tmp_path):
    snapshot = tmp_path / "hub" / "models--owner--name" / "snapshots" / COMMIT
    folder_of(snapshot, model_index__json=WANTED["model_index.json"])
    folder_of(snapshot / "unet", model__safetensors="u", config__json="{}")
    folder_of(snapshot / "vae", model__fp16__safetensors="v", config__json="{}")
    assert not find(f"hf:owner/name@{COMMIT}").is_local
    hub.files = dict(WANTED)
    assert fetch(find(f"hf:owner/name@{COMMIT}")).is_local
    assert hub.asked is not None
    assert find(f"hf:owner/name@{COMMIT}").location == str(snapshot)


def test_weights_that_a_repository_holds_twice_are_fetched_once(hub):
    copies = ("sd-v1.safetensors", "unet/model.fp16.safetensors", "unet/model.non_ema.safetensors")
    hub.files = WANTED | dict.fromkeys(copies, "again")
    assert fetched_names(f"hf:owner/name@{COMMIT}") == set(WANTED)


def test_gguf_is_fetched_only_where_there_are_no_safetensors(hub):
    hub.files = {"README.md": "", "model-q4.gguf": "weights"}
    assert fetched_names(f"hf:owner/name@{COMMIT}") == set(hub.files)
    hub.files = {"config.json": "{}", "model.safetensors": "weights", "other-q4.gguf": "weights"}
    other = COMMIT[::-1]
    fetch(find(f"hf:owner/name@{other}"))
    assert hub.asked["ignore_patterns"] == ["*.gguf"]


def test_repository_whose_component_is_a_pickle_is_refused(hub):
    hub.files = {name: text for name, text in WANTED.items() if name != "vae/model.safetensors"} | {"vae/m.bin": "v"}
    with pytest.raises(ModelError, match=r"^model 'hf:owner/name@\w+': the repository has no vae/\*.safetensors; name"):
        fetch(find(f"hf:owner/name@{COMMIT}"))


@pytest.mark.parametrize("entry", ["config.json", "open_clip_config.json"])
def test_half_downloaded_repository_counts_as_absent(tmp_path, entry):
    snapshot = folder_of(tmp_path / "hub" / "models--owner--name" / "snapshots" / COMMIT, model__safetensors="weights")
    assert not find(f"hf:owner/name@{COMMIT}").is_local
    (snapshot / entry).write_text("{}")
    assert find(f"hf:owner/name@{COMMIT}").is_local
    index = json.dumps({"weight_map": {"a": "model.safetensors", "b": "model-00002.safetensors"}})
    folder_of(snapshot, model__safetensors__index__json=index)
    assert not find(f"hf:owner/name@{COMMIT}").is_local


def test_cache_is_where_the_hubs_own_client_looks(monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setenv("HF_HUB_CACHE", constants.HF_HUB_CACHE)
    assert str(weights.hub_cache()) == constants.HF_HUB_CACHE
    monkeypatch.delenv("HF_HUB_CACHE")
    monkeypatch.setenv("HF_HOME", "/x")
    assert str(weights.hub_cache()) == "/x/hub"
    monkeypatch.delenv("HF_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", "/y")
    assert str(weights.hub_cache()) == "/y/huggingface/hub"


@pytest.mark.parametrize(
    ("front", "expected"),
    [
        ("license: apache-2.0", "apache-2.0"), ('license: "mit"', "mit"), ("license:\n  - mit", "mit"),
        ("license: other\nlicense_name: llama3", "llama3"), ("license: other", "other"), ("language: en", None),
    ],
)  # fmt: skip
def test_licence_comes_from_the_front_matter(tmp_path, front, expected):
    folder = model_at(tmp_path / "a", README__md=f"---\nlanguage: en\n{front}\n---\nlicense: not this one\n")
    assert find(f"path:{folder}").licence() == expected


def test_licence_is_none_where_none_is_stated(tmp_path):
    assert find(f"path:{model_at(tmp_path / 'a')}").licence() is None
    assert find(f"path:{model_at(tmp_path / 'b', README__md='license: mit')}").licence() is None
    assert find(f"hf:owner/name@{COMMIT}").licence() is None


def test_endpoint_has_a_model_and_an_address():
    found = find("openai:org/model@v1@http://host:8000/v1/")
    assert (found.scheme, found.location, pin(found)) == ("openai", "http://host:8000/v1", "org/model@v1")
    for wrong in (
        "openai:model",
        "openai:@http://host/v1",
        "openai:model@ftp://host",
        "openai:model@http://host?key=1",
    ):
        assert "is malformed; expected openai:MODEL@http://HOST:PORT/v1" in refusal(wrong)


def test_password_in_an_id_is_refused_and_not_repeated():
    message = refusal("openai:model@http://me:hunter2@host/v1")
    assert message.startswith("an openai: id holds a user name or password")
    assert "hunter2" not in message


def test_open_clip_names_architecture_and_tag():
    found = find("open_clip:ViT-L-14/openai")
    assert (found.scheme, found.location, found.is_local, pin(found)) == (
        "open_clip",
        "ViT-L-14/openai",
        False,
        "openai",
    )
    assert "expected open_clip:ARCH/TAG" in refusal("open_clip:ViT-L-14")


def test_vllm_runs_weights_named_by_another_id(tmp_path):
    folder = model_at(tmp_path / "a")
    inner, outer = find(f"path:{folder}"), find(f"vllm:path:{folder}")
    assert (outer.scheme, outer.location, pin(outer)) == ("vllm", inner.location, pin(inner))
    assert "vLLM runs hf:, path: and zoo: ids, not wordnet:; name another" in refusal("vllm:wordnet:3.0")


def test_what_is_absent_under_the_inner_id_is_absent_under_vllm(hub):
    found = find(f"vllm:hf:owner/name@{COMMIT}")
    assert (found.scheme, found.is_local, pin(found)) == ("vllm", False, COMMIT)
    hub.files = {"model.safetensors": "weights", "config.json": "{}"}
    assert SCHEMES["vllm"].missing(found).model_id == f"vllm:hf:owner/name@{COMMIT}"
    assert fetch(found).scheme == "vllm"
    assert offer(find(f"vllm:hf:owner/name@{COMMIT}")) is None


def test_every_scheme_has_the_same_five_functions():
    for name, scheme in SCHEMES.items():
        own = [key for key in ("find", "missing", "offer", "fetch", "pin") if callable(getattr(scheme, key))]
        assert own == ["find", "missing", "offer", "fetch", "pin"], name
        assert scheme.FORM.startswith(f"{name}:")


def test_unknown_id_names_what_is_known():
    assert refusal("blip") == (
        f"no model is called 'blip' (known: {', '.join(scheme.FORM for scheme in SCHEMES.values())}); "
        "correct the id in the manifest"
    )
    assert "(known: hf:owner/name@<commit>, path:FOLDER, zoo:NAME, " in refusal("blip")
    assert "no model is called 'path:'" in refusal("path:")


DAMAGED = ["", "null", "[]", "7", "[" * 99_999, "\udcff"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        *[(name, content) for name in ("model.safetensors.index.json", "model_index.json") for content in DAMAGED],
        ("model.safetensors.index.json", "{}"),
        ("model.safetensors.index.json", '{"weight_map": []}'),
        ("model.safetensors.index.json", '{"weight_map": {"a": 1}}'),
    ],
)
def test_snapshot_with_a_damaged_description_is_not_whole(tmp_path, name, content):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_text("weights")
    (tmp_path / name).write_bytes(content.encode("utf-8", "surrogateescape"))
    assert gaps(tmp_path) == [name]
