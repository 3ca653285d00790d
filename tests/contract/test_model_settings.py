"""Rules for settings of stages that name a model."""

import ast
import sys
from pathlib import Path

import pytest
from _stage_chains import planned, stage_of

from core.errors import PlanError
from pipeline.plan.plugins import stage_class, stage_names
from pipeline.stage import Serves

NAMES = stage_names()
SERVED = {
    "BoxSegmenter": "zoo:clip",
    "Captioner": "zoo:clip",
    "Detector": "zoo:clip",
    "EditExamples": "zoo:clip",
    "EditJudge": "zoo:clip",
    "Editor": "zoo:clip",
    "HashList": "zoo:clip",
    "ImageClassifier": "zoo:blip",
    "ImageRater": "zoo:blip",
    "ImageEncoder": "zoo:blip",
    "ImageTextEncoder": "zoo:blip",
    "InstructionSegmenter": "zoo:clip",
    "LatentEncoder": "zoo:clip",
    "PairSynthesizer": "zoo:clip",
    "PanopticSegmenter": "zoo:clip",
    "Tagger": "zoo:blip",
    "TextConditioner": "zoo:clip",
    "TextGenerator": "zoo:clip",
    "TextSegmenter": "zoo:clip",
    "WordNet": "zoo:clip",
}
"""Protocol -> a model on this machine that cannot serve it."""
ONLY_SCORES = {"HashList", "ImageClassifier", "ImageEncoder", "ImageRater", "ImageTextEncoder"}
COUNTED = {"count_faces", "measure_text"}
"""Stages that keep of a detector's boxes only how many there are, or their area."""
MODEL_FIELDS = [
    (name, field, protocol) for name in NAMES for field, protocol in stage_class(name).model_settings().items()
]


def loads_of(name):
    """(setting, protocol) of each `ctx.load(Protocol, self.setting, …)` in a stage's file, also `for one in` those."""
    tree = ast.parse(Path(sys.modules[stage_class(name).__module__].__file__).read_text())
    nodes = list(ast.walk(tree))
    calls = [node for node in nodes if isinstance(node, ast.Call) and ast.unparse(node.func) == "ctx.load"]
    loops = {ast.unparse(n.target): ast.unparse(n.iter) for n in nodes if isinstance(n, ast.comprehension)}
    ids = [ast.unparse(call.args[1]) for call in calls]
    return {
        (loops.get(one, one).removeprefix("self."), ast.unparse(call.args[0]))
        for one, call in zip(ids, calls, strict=True)
    }


@pytest.mark.parametrize("name", NAMES)
def test_every_model_that_a_stage_loads_is_a_typed_setting(name):
    assert loads_of(name) == set(stage_class(name).model_settings().items())


def test_some_stages_have_model_settings():
    assert {protocol for _, _, protocol in MODEL_FIELDS} == set(SERVED)


@pytest.mark.parametrize("name", NAMES)
def test_setting_with_the_name_of_a_model_is_typed(name):
    cls = stage_class(name)
    like = {field for field in cls.model_fields if field.endswith(("model", "lexicon")) or field.startswith("model_")}
    assert like <= set(cls.model_settings())


@pytest.mark.parametrize(("name", "field", "protocol"), MODEL_FIELDS)
def test_plan_refuses_a_model_that_cannot_serve_the_stage(name, field, protocol):
    wrong = SERVED[protocol]
    is_one = isinstance(getattr(stage_of(name), field), str | None)
    with pytest.raises(PlanError) as caught:
        planned(name, stage_of(name, **{field: wrong if is_one else (wrong,)}))
    message = str(caught.value)
    kind = wrong.removeprefix("zoo:")
    assert message.startswith(f"stage {name}: {field} = {wrong!r} is of kind {kind!r}, which cannot serve {protocol} ")
    assert message.endswith("); name another model")
    assert "(served by: " in message


@pytest.mark.parametrize(("name", "field", "protocol"), MODEL_FIELDS)
def test_models_whose_output_is_in_no_dataset_only_score(name, field, protocol):
    """Vectors of encoders are in no dataset, nor are boxes that were only counted.

    The role decides whether a model's licence counts in the verdict.
    """
    (mark,) = [one for one in stage_class(name).model_fields[field].metadata if isinstance(one, Serves)]
    assert mark.only_scores == (protocol in ONLY_SCORES or name in COUNTED)
