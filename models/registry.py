"""From a model id to the loaded model: its wrapper, its revision, and the parts that are missing.

A wrapper is chosen by the protocol that a stage asks for and by the kind of model that lies behind the id: the
`model_type` of a config.json, or a name that replaces it. Importing this module is light, and so is every function but
`load`: a wrapper's libraries are imported when a model is loaded. Only `missing` of an `open_clip:` id imports that.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.classes import class_at
from core.errors import ModelError
from core.missing import Missing, missing_package
from models import hash_lists, model_ids
from models.aesthetics import head_file as aesthetic_head_file
from models.aesthetics.head_file import AESTHETIC_HEAD
from models.diffusion.editor_kinds import (
    CLASS_OF,
    PIX2PIX,
    PIX2PIX_XL,
    REGION_PIX2PIX,
    REGION_PIX2PIX_XL,
    VISUAL_PROMPT,
)
from models.hash_lists import IMAGE_HASHES
from models.model_ids import SCHEMES, fetch, find
from models.placement import Placement
from models.regions import head_file
from models.regions.head_file import REGION_HEAD
from models.task_kinds import CAUSAL, CHAT, IMAGE_CLASSES, task_kinds

if TYPE_CHECKING:
    from core.settings import Settings
    from models.schemes.weights import Weights

_SD, _SDXL = "StableDiffusionPipeline", "StableDiffusionXLPipeline"
_SD_INPAINT, _SDXL_INPAINT = "StableDiffusionInpaintPipeline", "StableDiffusionXLInpaintPipeline"
_LATENT_KINDS = (_SD, _SD_INPAINT, _SDXL, _SDXL_INPAINT, *CLASS_OF)
"""Pipelines with the autoencoder and the text encoders of SD 1.x, 2.x or SDXL."""
_CLIP, _DINO = "models.encoders.clip:Clip", "models.encoders.image:DinoEncoder"
_ZERO_SHOT = "models.encoders.tagger:ZeroShotTagger"
_ZERO_SHOT_CLASSES = "models.classifiers.zero_shot:ZeroShotClassifier"
_CLASSES = "models.classifiers.image_classifier:TrainedClassifier"
_LABEL_VALUES = "models.aesthetics.label_values:LabelValues"
_LABEL_BOXES = "models.segmenters.label_detector:LabelDetector"
_ENCODERS = ("clip", "siglip", "open_clip")
_CLASSIFIER = "{} classifier"
"""Kind of a classifier that was made of an encoder of images and texts, and has lost its texts."""
_PAIRS = "models.diffusion.prompt_to_prompt.synthesizer:PromptToPrompt"

EXAMPLES = SCHEMES["examples"].KIND

WRAPPERS: dict[str, dict[str, str]] = {
    "Captioner": {
        "blip": "models.captioners.blip:Blip",
        "blip-2": "models.captioners.blip2:Blip2",
        "openai": "models.captioners.openai_captioner:OpenaiCaptioner",
        CHAT: "models.captioners.chat:ChatCaptioner",
    },
    "TextGenerator": {
        "gguf": "models.language.transformers_text:TransformersText",
        "openai": "models.language.openai_text:OpenaiText",
        "vllm": "models.language.vllm_text:VllmText",
        CAUSAL: "models.language.transformers_text:TransformersText",
    },
    "ImageTextEncoder": {"clip": _CLIP, "siglip": _CLIP, "open_clip": "models.encoders.open_clip_encoder:OpenClip"},
    "ImageEncoder": {"dinov2": _DINO, "dinov2_with_registers": _DINO, "vit": _DINO},
    "LatentEncoder": dict.fromkeys(_LATENT_KINDS, "models.diffusion.latents:VaeEncoder"),
    "TextConditioner": dict.fromkeys(_LATENT_KINDS, "models.diffusion.text_conditioner:ClipTextConditioner"),
    "TextSegmenter": {"clipseg": "models.segmenters.phrase:ClipSeg"},
    "InstructionSegmenter": {REGION_HEAD: "models.regions.segmenter:RegionSegmenter"},
    "Detector": {
        "grounding-dino": "models.segmenters.grounding_dino:GroundingDino",
        **dict.fromkeys(("detr", "conditional_detr", "deformable_detr", "rt_detr", "rt_detr_v2"), _LABEL_BOXES),
        **dict.fromkeys(("d_fine", "yolos"), _LABEL_BOXES),
    },
    "BoxSegmenter": {"sam": "models.segmenters.box:Sam"},
    "PanopticSegmenter": {"mask2former": "models.segmenters.panoptic:Mask2Former"},
    "Tagger": dict.fromkeys(_ENCODERS, _ZERO_SHOT),
    "ImageClassifier": {
        **dict.fromkeys(_ENCODERS, _ZERO_SHOT_CLASSES),
        **dict.fromkeys(map(_CLASSIFIER.format, _ENCODERS[:2]), _CLASSES),
        IMAGE_CLASSES: _CLASSES,
    },
    "ImageRater": {
        AESTHETIC_HEAD: "models.aesthetics.head:AestheticHead",
        **dict.fromkeys(_ENCODERS, _LABEL_VALUES),
        **dict.fromkeys(map(_CLASSIFIER.format, _ENCODERS[:2]), _LABEL_VALUES),
        IMAGE_CLASSES: _LABEL_VALUES,
    },
    "ImageSynthesizer": dict.fromkeys((_SD, _SDXL), "models.diffusion.text_to_image:StableDiffusion"),
    "EditSynthesizer": {
        **dict.fromkeys((_SD_INPAINT, _SDXL_INPAINT, _SD, _SDXL), "models.diffusion.inpaint:StableDiffusionInpaint"),
        "openai": "models.diffusion.openai_images:OpenaiImages",
    },
    "PairSynthesizer": dict.fromkeys((_SD, _SDXL, _SD_INPAINT, _SDXL_INPAINT), _PAIRS),
    "Editor": {
        _SD: "models.diffusion.sdedit:SdEdit",
        **dict.fromkeys((PIX2PIX, PIX2PIX_XL), "models.diffusion.instruct_pix2pix:InstructPix2Pix"),
        **dict.fromkeys((REGION_PIX2PIX, REGION_PIX2PIX_XL), "models.diffusion.instruct_pix2pix:RegionInstructPix2Pix"),
        VISUAL_PROMPT: "models.diffusion.visual_prompt.editor:VisualPromptEditor",
        REGION_HEAD: "models.regions.editor:RegionEditor",
        "openai": "models.diffusion.openai_editor:OpenaiEditor",
    },
    "DifferentiableImageText": {"clip": "models.encoders.features:ClipDistance"},
    "ImageTextTokens": {
        "clip": "models.encoders.clip_tokens:ClipTokens",
        "open_clip": "models.encoders.clip_tokens:OpenClipTokens",
    },
    "PerceptualFeatures": {
        "timm": "models.encoders.features:TimmFeatures",
        "dinov2": "models.encoders.features:DinoFeatures",
    },
    "WordNet": {"wordnet": "models.language.wordnet:load_wordnet"},
    "EditExamples": {EXAMPLES: "models.language.example_sets:load_examples"},
    "EditJudge": {"openai": "models.judges.openai_judge:OpenaiJudge", CHAT: "models.judges.chat_judge:ChatJudge"},
    "HashList": {IMAGE_HASHES: "models.hash_lists:load_hash_list"},
}
"""Protocol -> kind of model -> wrapper, which is made by `Class(weights, placement, **settings)`."""

WITHIN = {REGION_HEAD: head_file.models_within, AESTHETIC_HEAD: aesthetic_head_file.models_within}
"""Kind of model -> from its folder and a protocol to (protocol, id) of each further model that it loads to serve it."""

OVER = {
    _ZERO_SHOT: "ImageTextEncoder",
    _ZERO_SHOT_CLASSES: "ImageTextEncoder",
    _LABEL_VALUES: "ImageClassifier",
}
"""Wrapper -> the protocol whose model, of the same id, it is made over: `Class(model, **settings)`."""

_TASKS = (CHAT, CAUSAL, IMAGE_CLASSES)
"""Tasks of transformers, any model of which a row of the table may serve."""
CLASS_NAME = "_class_name"
"""Field in which diffusers names the class, of a pipeline in model_index.json, of a single model in config.json."""

FOLDER_PACKAGES = dict.fromkeys(("models.diffusion", "models.diffusion.prompt_to_prompt"), ("diffusers",))
"""Folder of wrappers -> packages that they import, besides those of the scheme."""
DISTRIBUTIONS = {"open_clip": "open_clip_torch", "vllm": "'.[vllm]'"}
"""Arguments for pip, where they are not the package's own name."""


def load(protocol: str, model_id: str, placement: Placement | None = None, **settings: Any) -> Any:
    """The model behind `model_id`, ready to use, with the methods of `protocol` (a name from `models.protocols`).

    `settings` go to the wrapper: a prompt, a number of beams; to an Editor, `settings=` an instance of its settings.
    Raises ModelError for an unknown id, absent weights, a model that cannot serve the protocol, and a package that is
    not installed; TypeError for settings it does not have.
    """
    try:
        weights = fetch(find(model_id))
        target = _served_by(protocol, weights)
        if target in OVER:
            return class_at(target)(load(OVER[target], model_id, placement), **settings)
        return class_at(target)(weights, placement or Placement(), **settings)
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        raise ModelError(f"model {model_id!r}: {_package(package).message}") from error


def editor_class(model_id: str) -> Any:
    """The Editor class that serves `model_id`, with `Settings`, `needs` and `uses`. Raises ModelError."""
    return class_at(_served_by("Editor", fetch(find(model_id))))


def editor_class_if_here(model_id: str) -> Any | None:
    """The same, or None for a model that is not on this machine, that no Editor serves, or that is the user's own code.

    It fetches nothing and runs nothing of the user's: a plan calls it.
    """
    try:
        weights = find(model_id)
        if weights.wrapper or (not weights.is_local and not SCHEMES[weights.scheme].KIND):
            return None
        return class_at(_served_by("Editor", weights))
    except (ModelError, ModuleNotFoundError):  # the plan reports what is missing
        return None


def editor_settings(model_id: str) -> type[Settings]:
    """The settings of the editor that serves `model_id`, to be made and given to `load`. Raises ModelError."""
    kind: type[Settings] = editor_class(model_id).Settings
    return kind


def revision(model_id: str) -> str:
    """The identity of the weights or data behind `model_id`. It enters the fingerprint of stages. Raises ModelError."""
    return model_ids.pin(find(model_id))


def licence(model_id: str, protocol: str = "") -> str | None:
    """The licence that came with the model and those of the models that it loads to serve `protocol`, with commas.

    None when none of them states one. A model that states none among others is `not stated`, which names no licence.
    """
    found: list[str | None] = []
    with contextlib.suppress(ModelError):  # `missing` reports it
        weights = find(model_id)
        found.append(weights.licence())
        found += [licence(inner, served) for served, inner in _within(weights, protocol)]
    return ", ".join(dict.fromkeys(text or "not stated" for text in found)) if any(found) else None


def missing(model_id: str, protocol: str = "") -> list[Missing]:
    """All that `model_id` needs, to serve `protocol`, and this machine lacks, or empty when it can be loaded."""
    try:
        weights = find(model_id)
        within = _within(weights, protocol)
    except ModelError as error:
        return [Missing(what=str(error))]
    lacks = [_package(name) for name in _packages(weights, protocol) if importlib.util.find_spec(name) is None]
    for inner_protocol, inner in within:
        clause = cannot_serve(inner_protocol, inner)
        lacks += [Missing(what=f"model {inner!r} {clause}")] if clause else missing(inner, inner_protocol)
    try:
        absent = model_ids.missing(weights)
    except ModuleNotFoundError:  # one of the packages; it knows where the weights are
        absent = None
    except ModelError as error:
        absent = Missing(what=str(error))
    return [*lacks, absent] if absent else lacks


def _within(weights: Weights, protocol: str) -> tuple[tuple[str, str], ...]:
    """(protocol, model id) of each further model that is loaded to serve `protocol`. Raises ModelError."""
    kind = kind_of(weights) if weights.is_local else ""
    return WITHIN[kind](Path(weights.location), protocol) if kind in WITHIN else ()


def cannot_serve(protocol: str, model_id: str) -> str | None:
    """One clause on why the model cannot serve, or None when it can or is not on this machine."""
    try:
        weights = find(model_id)
        if not weights.is_local and not SCHEMES[weights.scheme].KIND:
            return None
        kind = kind_of(weights)
    except ModelError:  # `missing` reports it
        return None
    if not weights.wrapper and not task_kinds() and set(_TASKS) & _served(protocol).keys():
        return None
    return _refusal(protocol, weights, kind)


def kind_of(weights: Weights) -> str:
    """The kind of model: `model_type` of its config.json, a class of diffusers, timm, gguf, or a scheme's.

    Raises ModelError.
    """
    if kind := SCHEMES[weights.scheme].KIND:
        return kind
    root = Path(weights.location)
    if root.is_file() or not (root / "config.json").is_file():
        if (root / "model_index.json").is_file():
            return _named(weights, root / "model_index.json", CLASS_NAME)
        if (root / "open_clip_config.json").is_file():
            return "open_clip"
        if root.suffix == ".jsonl":
            return EXAMPLES
        if hash_lists.is_hash_list(root):
            return IMAGE_HASHES
        if root.suffix == ".gguf" or any(root.glob("*.gguf")):
            return "gguf"
        raise ModelError(f"model {weights.model_id!r}: {root} has no config.json or model_index.json to say what it is")
    return _named(weights, root / "config.json", "model_type", CLASS_NAME)


def _named(weights: Weights, path: Path, *fields: str) -> str:
    """The kind that the first of the fields names that a JSON file has."""
    try:
        config = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ModelError(
            f"model {weights.model_id!r}: {path} is no JSON ({error}); fetch or save the model again"
        ) from error
    found = [str(config[field]) for field in fields if field in config] if isinstance(config, dict) else []
    if found:
        classes = config.get("architectures")
        is_classifier = isinstance(classes, list) and str(*classes[:1]).endswith("ForImageClassification")
        return _CLASSIFIER.format(found[0]) if is_classifier and found[0] in _ENCODERS else found[0]
    if isinstance(config, dict) and "architecture" in config:
        return "timm"
    raise ModelError(f"model {weights.model_id!r}: {path} names no {fields[0]}")


def _served_by(protocol: str, weights: Weights) -> str:
    """Module and class of the wrapper. Raises ModelError where the model cannot serve the protocol."""
    kind = kind_of(weights)
    if refusal := _refusal(protocol, weights, kind):
        raise ModelError(f"model {weights.model_id!r} {refusal}; name another model")
    return weights.wrapper or _target(protocol, kind)


def _refusal(protocol: str, weights: Weights, kind: str) -> str | None:
    served = _served(protocol)
    if weights.wrapper:
        states = f"states serves = ({', '.join(weights.serves)}), which does not name {protocol}"
        return None if protocol in weights.serves else states
    if _target(protocol, kind):
        return None
    return f"is of kind {kind!r}, which cannot serve {protocol} (served by: {', '.join(served)})"


def _target(protocol: str, kind: str) -> str:
    """The wrapper in the table: that of the kind, else of a task that has this model, or empty."""
    served = _served(protocol)
    if kind in served:
        return served[kind]
    return next((served[task] for task in _TASKS if task in served and kind in task_kinds().get(task, ())), "")


def _served(protocol: str) -> dict[str, str]:
    """The row of the table. Raises ModelError for a protocol that is not in it."""
    if protocol not in WRAPPERS:
        raise ModelError(f"no protocol is called {protocol!r} (known: {', '.join(WRAPPERS)})")
    return WRAPPERS[protocol]


def _packages(weights: Weights, protocol: str) -> list[str]:
    folders = {target.partition(":")[0].rpartition(".")[0] for target in WRAPPERS.get(protocol, {}).values()}
    names = [*SCHEMES[weights.scheme].PACKAGES, *(("accelerate", "gguf") if weights.location.endswith(".gguf") else ())]
    names += [package for folder in sorted(folders) for package in FOLDER_PACKAGES.get(folder, ())]
    return list(dict.fromkeys(names))


def _package(name: str) -> Missing:
    return missing_package(name, DISTRIBUTIONS.get(name, name))
