"""From a model id in a manifest to the loaded model: which wrapper serves it, what pins it, and what is missing.

A wrapper is chosen by the protocol that a stage asks for and by the kind of model that lies behind the id: the
`model_type` of a config.json, or what stands in for it. Importing this module is light, and so is every function but
`load`: a wrapper's libraries are imported when a model is loaded. Only `missing` of an `open_clip:` id imports that.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import ModelError
from models.language import wordnet
from models.placement import Placement
from models.schemes.weights import fetch, find, not_here
from models.schemes.weights import licence as licence_of
from models.schemes.weights import pin as pin_of

if TYPE_CHECKING:
    from core.settings import Settings
    from models.schemes.weights import Weights

CHAT, CAUSAL = "any image-text-to-text model", "any causal language model"
"""Kinds that stand for all models that transformers lists under a task, where no kind of the table fits better."""

_SD, _SDXL = "StableDiffusionPipeline", "StableDiffusionXLPipeline"
_SD_INPAINT, _SDXL_INPAINT = "StableDiffusionInpaintPipeline", "StableDiffusionXLInpaintPipeline"
_PIX2PIX = "StableDiffusionInstructPix2PixPipeline"
_CLIP, _DINO = "models.encoders.clip:Clip", "models.encoders.image:DinoEncoder"

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
    "LatentEncoder": dict.fromkeys(
        (_SD, _SD_INPAINT, _PIX2PIX, _SDXL, _SDXL_INPAINT), "models.diffusion.latents:VaeEncoder"
    ),
    "TextSegmenter": {"clipseg": "models.segmenters.phrase:ClipSeg"},
    "Detector": {"grounding-dino": "models.segmenters.grounding_dino:GroundingDino"},
    "BoxSegmenter": {"sam": "models.segmenters.box:Sam"},
    "PanopticSegmenter": {"mask2former": "models.segmenters.panoptic:Mask2Former"},
    "Tagger": dict.fromkeys(("clip", "siglip", "open_clip"), "models.encoders.tagger:ZeroShotTagger"),
    "ImageSynthesizer": dict.fromkeys((_SD, _SDXL), "models.diffusion.text_to_image:StableDiffusion"),
    "EditSynthesizer": dict.fromkeys((_SD_INPAINT, _SDXL_INPAINT), "models.diffusion.inpaint:StableDiffusionInpaint"),
    "Editor": {_SD: "models.diffusion.sdedit:SdEdit"},
    "DifferentiableImageText": {"clip": "models.encoders.features:ClipDistance"},
    "PerceptualFeatures": {
        "timm": "models.encoders.features:TimmFeatures",
        "dinov2": "models.encoders.features:DinoFeatures",
    },
    "WordNet": {"wordnet": "models.language.wordnet:WordNet"},
}
"""Protocol -> kind of model -> wrapper; all but the lexicon and the tagger are made by `Class(weights, placement)`."""

PACKAGES = {"open_clip": ("open_clip",), "openai": ("httpx2",), "vllm": ("vllm",), "wordnet": ()}
"""Scheme -> packages that its wrappers import; torch and transformers for all others."""
DISTRIBUTIONS = {"open_clip": "open_clip_torch", "vllm": "'.[vllm]'"}
"""What to ask pip for, where that is not the package's own name."""


def load(protocol: str, model_id: str, placement: Placement | None = None, **settings: Any) -> Any:
    """The model behind `model_id`, ready to use, with the methods of `protocol` (a name from `models.protocols`).

    `settings` go to the wrapper: a prompt, a number of beams; to an Editor, `settings=` an instance of its settings.
    Raises ModelError for an unknown id, absent weights, a model that cannot serve the protocol, and a package that is
    not installed; TypeError for settings it does not have.
    """
    try:
        weights = fetch(find(model_id))
        wrapper = _wrapper(protocol, weights)
        if protocol == "WordNet":
            return wrapper(Path(weights.location))
        if protocol == "Tagger":
            return wrapper(load("ImageTextEncoder", model_id, placement), **settings)
        return wrapper(weights, placement or Placement(), **settings)
    except ModuleNotFoundError as error:
        raise ModelError(_install_line(model_id, str(error.name).partition(".")[0])) from error


def editor_class(model_id: str) -> Any:
    """The Editor class that serves `model_id`, with `Settings`, `needs` and `uses`. Raises ModelError."""
    return _wrapper("Editor", fetch(find(model_id)))


def editor_settings(model_id: str) -> type[Settings]:
    """The settings of the editor that serves `model_id`, to be made and given to `load`. Raises ModelError."""
    kind: type[Settings] = editor_class(model_id).Settings
    return kind


def revision(model_id: str) -> str:
    """What identifies the weights or data behind `model_id`; enters the fingerprint of stages. Raises ModelError."""
    return pin_of(find(model_id))


def licence(model_id: str) -> str | None:
    """The licence that came with the model; None when it says none or is not on this machine."""
    try:
        return licence_of(find(model_id))
    except ModelError:
        return None


def missing(model_id: str) -> str | None:
    """One line saying why `model_id` cannot be loaded and what to do; None when it can."""
    try:
        weights = find(model_id)
    except ModelError as error:
        return str(error)
    lines = [_install_line(model_id, package) for package in _not_installed(weights)]
    if not lines or weights.scheme != "open_clip":  # which alone knows its tags
        lines += [message] if (message := not_here(weights)) else []
    return "; ".join(lines) or None


def installs(model_id: str) -> tuple[str, ...]:
    """Arguments for `pip install` that bring the packages which `model_id` needs and that are not installed."""
    try:
        return tuple(DISTRIBUTIONS.get(package, package) for package in _not_installed(find(model_id)))
    except ModelError:
        return ()


def can_fetch(model_id: str) -> bool:
    """True for an id that `python -m models.fetch` can download; False where the id has to be corrected first."""
    if model_id == wordnet.MODEL_ID:
        return True
    try:
        weights = find(model_id)
    except ModelError:
        return False
    return weights.scheme in ("hf", "vllm", "open_clip") and not weights.is_local


def kind_of(weights: Weights) -> str:
    """The kind of model: `model_type` of its config.json, a pipeline class of diffusers, timm, gguf, or a scheme.

    Raises ModelError.
    """
    if weights.scheme in ("openai", "vllm", "open_clip", "wordnet"):
        return weights.scheme
    root = Path(weights.location)
    if root.is_file() or not (root / "config.json").is_file():
        if (root / "model_index.json").is_file():
            return _named(weights, root / "model_index.json", "_class_name")
        if (root / "open_clip_config.json").is_file():
            return "open_clip"
        if root.suffix == ".gguf" or any(root.glob("*.gguf")):
            return "gguf"
        raise ModelError(f"model {weights.model_id!r}: {root} has no config.json or model_index.json to say what it is")
    return _named(weights, root / "config.json", "model_type")


def _named(weights: Weights, path: Path, field: str) -> str:
    """The kind that a field of a JSON file names."""
    try:
        config = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ModelError(
            f"model {weights.model_id!r}: {path} is no JSON ({error}); fetch or save the model again"
        ) from error
    if isinstance(config, dict) and "architecture" in config and field not in config:
        return "timm"
    if not isinstance(config, dict) or field not in config:
        raise ModelError(f"model {weights.model_id!r}: {path} names no {field}")
    return str(config[field])


def _wrapper(protocol: str, weights: Weights) -> Any:
    if protocol not in WRAPPERS:
        raise ModelError(f"no protocol is called {protocol!r} (known: {', '.join(WRAPPERS)})")
    kind, served = kind_of(weights), WRAPPERS[protocol]
    target = served.get(kind) or served.get(_task_of(kind, served))
    if target is None:
        raise ModelError(
            f"model {weights.model_id!r} is of kind {kind!r}, which cannot serve {protocol} "
            f"(served by: {', '.join(served)}); name another model"
        )
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


def _task_of(kind: str, served: dict[str, str]) -> str:
    """The task whose models `kind` is one of, when the protocol is served by a task's models; else nothing."""
    if not {CHAT, CAUSAL} & served.keys():
        return ""
    from transformers.models.auto import modeling_auto as known

    if CHAT in served and kind in known.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
        return CHAT
    return CAUSAL if CAUSAL in served and kind in known.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES else ""


def _packages(weights: Weights) -> tuple[str, ...]:
    gguf = ("accelerate", "gguf") if weights.location.endswith(".gguf") else ()
    return PACKAGES.get(weights.scheme, ("torch", "transformers", *gguf))


def _not_installed(weights: Weights) -> list[str]:
    return [package for package in _packages(weights) if importlib.util.find_spec(package) is None]


def _install_line(model_id: str, package: str) -> str:
    distribution = DISTRIBUTIONS.get(package, package)
    return f"model {model_id!r} needs the package {package}: pip install {distribution}"
