import sys
from types import ModuleType, SimpleNamespace

import pytest

from models.placement import Placement
from models.text_vllm import VllmText
from models.weights import Weights

WEIGHTS = Weights("vllm:path:/model", "vllm", "/model", None, is_local=True)


class Recorded(SimpleNamespace):
    """Keeps what it was made with."""


class FakeLLM:
    chat_template = "template"

    def __init__(self, **settings):
        self.settings, self.asked = settings, []
        FakeLLM.last = self

    def get_tokenizer(self):
        return SimpleNamespace(chat_template=self.chat_template)

    def chat(self, turns, how, **options):
        self.asked = list(zip(turns, how, strict=True))
        return [SimpleNamespace(outputs=[SimpleNamespace(text=f"re: {turn[-1]['content']}")]) for turn in turns]

    def generate(self, prompts, how, **options):
        self.asked = list(zip(prompts, how, strict=True))
        return [SimpleNamespace(outputs=[SimpleNamespace(text=f"on: {prompt}")]) for prompt in prompts]


@pytest.fixture
def vllm(monkeypatch):
    """vLLM, as far as the wrapper calls it."""
    package, params = ModuleType("vllm"), ModuleType("vllm.sampling_params")
    package.LLM, package.SamplingParams, params.StructuredOutputsParams = FakeLLM, Recorded, Recorded
    monkeypatch.setitem(sys.modules, "vllm", package)
    monkeypatch.setitem(sys.modules, "vllm.sampling_params", params)
    monkeypatch.setattr(FakeLLM, "chat_template", "template")
    return FakeLLM


def test_prompts_become_turns_with_their_own_seeds_and_the_schema(vllm):
    model = VllmText(WEIGHTS, Placement(dtype="bfloat16"), system_prompt="be brief")
    texts = model.generate(["x", "y"], max_new_tokens=7, json_schema={"type": "object"}, temperature=0.5, seeds=[1, 2])
    assert texts == ["re: x", "re: y"]
    assert {key: vllm.last.settings[key] for key in ("model", "dtype", "load_format", "generation_config")} == {
        "model": "/model", "dtype": "bfloat16", "load_format": "safetensors", "generation_config": "vllm",
    }  # fmt: skip
    turns, how = vllm.last.asked[1]
    assert turns == [{"role": "system", "content": "be brief"}, {"role": "user", "content": "y"}]
    assert (how.seed, how.max_tokens, how.temperature) == (2, 7, 0.5)
    assert how.structured_outputs.json == {"type": "object"}


def test_model_without_a_chat_template_goes_on_from_the_prompt(vllm, monkeypatch):
    monkeypatch.setattr(FakeLLM, "chat_template", None)
    model = VllmText(WEIGHTS, Placement())
    assert model.generate(["x"], max_new_tokens=7) == ["on: x"]
    assert (vllm.last.asked[0][1].seed, vllm.last.asked[0][1].structured_outputs) == (None, None)
    assert model.generate([], max_new_tokens=7) == []
