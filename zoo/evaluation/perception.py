"""Measures the models that look: clip, blip, clipseg, grounding-dino, sam, mask2former, dino."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from models import registry
from models.encoders.convert_clip import convert
from zoo.batches import HELD_OUT_SEED, held_out
from zoo.evaluation.metrics import average_precision, class_ious, iou, nearest_labels
from zoo.export import folder_of, model_id
from zoo.world import (
    COLOURS,
    NOUNS,
    STUFF,
    Scene,
    boxes,
    caption,
    facts_of,
    panoptic,
    read_facts,
    render,
    sample_scene,
    thing_masks,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from models.protocols import (
        ImageTextEncoder,
    )

NUM_SCENES = 500
EMPTY_PX = 8  # a mask of fewer pixels is empty
NEIGHBOURS = 10
NUM_KNOWN = 3000

Figures = dict[str, float]


def images_of(scenes: list[Scene]) -> list[Image.Image]:
    """The scenes as a stage would hand them to a model."""
    return [Image.fromarray(render(scene)) for scene in scenes]


def one_thing_scenes(count: int, seed: str) -> list[Scene]:
    """Scenes with a single thing, chosen by `seed`."""
    return [sample_scene(random.Random(f"{seed}/{index}"), num_things=1) for index in range(count)]


def measure_clip() -> Figures:
    """Retrieval among distinct captions, zero-shot nouns and colours, and the same weights through open_clip.

    Zero-shot as the CLIP paper reads classes off prompts; these prompts were among the texts of the training.
    """
    clip = registry.load("ImageTextEncoder", model_id("clip"))
    figures = _encoder_figures(clip)
    with tempfile.TemporaryDirectory() as folder:
        convert(folder_of("clip"), Path(folder) / "clip")
        other = registry.load("ImageTextEncoder", f"path:{folder}/clip")
        images = images_of(held_out(64))
        figures["open_clip_difference"] = float(np.abs(clip.encode_images(images) - other.encode_images(images)).max())
        texts = [caption(scene) for scene in held_out(64)]
        text_difference = float(np.abs(clip.encode_texts(texts) - other.encode_texts(texts)).max())
        figures["open_clip_difference"] = max(figures["open_clip_difference"], text_difference)
    return figures


def _encoder_figures(clip: ImageTextEncoder) -> Figures:
    distinct: dict[str, Scene] = {}
    for scene in held_out(2 * NUM_SCENES):
        distinct.setdefault(caption(scene), scene)
    texts, scenes = list(distinct)[:NUM_SCENES], list(distinct.values())[:NUM_SCENES]
    cosines_BB = clip.encode_images(images_of(scenes)) @ clip.encode_texts(texts).T
    single = one_thing_scenes(NUM_SCENES, f"zero-shot {HELD_OUT_SEED}")
    seen_BD = clip.encode_images(images_of(single))
    nouns = (seen_BD @ clip.encode_texts([f"a photo of a {noun}" for noun in NOUNS]).T).argmax(1)
    colours = (seen_BD @ clip.encode_texts([f"something {colour}" for colour in COLOURS]).T).argmax(1)
    return {
        "recall_at_1": float((cosines_BB.argmax(1) == np.arange(len(texts))).mean()),
        "noun_zero_shot": _share(
            NOUNS[guess] == scene.things[0].noun for guess, scene in zip(nouns, single, strict=True)
        ),
        "colour_zero_shot": _share(
            tuple(COLOURS)[guess] == scene.things[0].colour for guess, scene in zip(colours, single, strict=True)
        ),
    }


def measure_blip() -> Figures:
    """Shares of captions with every noun, colour and the place right, and of those with the style right as well."""
    scenes = held_out(NUM_SCENES)
    answers = [read_facts(text) for text in registry.load("Captioner", model_id("blip")).caption(images_of(scenes))]
    true = [facts_of(scene) for scene in scenes]
    return {
        "right": _share(one[:2] == other[:2] for one, other in zip(answers, true, strict=True)),
        "right_with_style": _share(one == other for one, other in zip(answers, true, strict=True)),
    }


def measure_clipseg() -> Figures:
    """Mean IoU of "red car" phrases, and the share of wrong phrases (not in the image) with an empty mask.

    Half the scenes hold one thing, and there the thing is found without reading the phrase: a segmenter that masks all
    that an image shows reaches a mean IoU of 0.74, but 0.44 among several things, and no empty mask.
    """
    clipseg = registry.load("TextSegmenter", model_id("clipseg"))
    rng = random.Random("clipseg")
    scenes = held_out(NUM_SCENES)
    chosen = [rng.randrange(len(scene.things)) for scene in scenes]
    images = images_of(scenes)
    phrases = [scene.things[index].phrase for scene, index in zip(scenes, chosen, strict=True)]
    found = clipseg.segment_phrases(images, phrases)
    masks = [thing_masks(scene)[index] for scene, index in zip(scenes, chosen, strict=True)]
    ious = [iou(one >= 0.5, mask) for one, mask in zip(found, masks, strict=True)]
    crowded = [value for value, scene in zip(ious, scenes, strict=True) if len(scene.things) > 1]
    figures = {"iou": float(np.mean(ious)), "iou_among_several": float(np.mean(crowded))}
    wrong = [wrong_phrases(scene) for scene in scenes]
    for which, name in enumerate(("wrong_noun_empty", "wrong_colour_empty")):
        maps = clipseg.segment_phrases(images, [both[which] for both in wrong])
        figures[name] = _share((one >= 0.5).sum() < EMPTY_PX for one in maps)
    return figures


def wrong_phrases(scene: Scene) -> tuple[str, str]:
    """Two phrases that name nothing in `scene`: its first thing with another noun, and in another colour."""
    rng = random.Random(caption(scene))
    thing = scene.things[0]
    noun = rng.choice([noun for noun in NOUNS if noun not in {one.noun for one in scene.things}])
    colour = rng.choice([colour for colour in COLOURS if colour != thing.colour])
    return f"{thing.colour} {noun}", f"{colour} {thing.noun}"


def measure_grounding_dino() -> Figures:
    """Average precision at IoU 0.5. Every image is asked for its things and for two that are not there.

    One of the two is a noun that is not there, the other a thing of the scene in another colour.
    """
    detector = registry.load("Detector", model_id("grounding-dino"))
    rng = random.Random("grounding-dino")
    scenes = held_out(NUM_SCENES)
    asked, truths = [], []
    for scene in scenes:
        phrases = [thing.phrase for thing in scene.things] + list(wrong_phrases(scene))
        asked.append(rng.sample(phrases, len(phrases)))
        truths.append(list(zip((t.phrase for t in scene.things), boxes(thing_masks(scene)), strict=True)))
    found = detector.detect(images_of(scenes), asked, threshold=0.05)
    return {"ap50": average_precision(found, truths)}


def measure_sam() -> Figures:
    """Mean IoU of the mask from each thing's true box."""
    scenes = held_out(NUM_SCENES)
    masks = [thing_masks(scene) for scene in scenes]
    found = registry.load("BoxSegmenter", model_id("sam")).segment_boxes(
        images_of(scenes), [boxes(mask) for mask in masks]
    )
    ious = [iou(a, b) for one, mask in zip(found, masks, strict=True) for a, b in zip(one.masks_NHW, mask, strict=True)]
    return {"iou": float(np.mean(ious))}


def measure_mask2former() -> Figures:
    """Mean IoU over all classes, and over the nouns alone, of the panoptic map read as a semantic one."""
    classes = {label: index for index, label in enumerate((*NOUNS, *STUFF))}
    scenes = held_out(NUM_SCENES)
    found = registry.load("PanopticSegmenter", model_id("mask2former")).segment_panoptic(images_of(scenes))
    read = [np.array([classes[label] for label in one.labels] + [-1])[one.segment_HW] for one in found]
    true = [np.array([classes[label] for label in labels])[segments] for segments, labels in map(panoptic, scenes)]
    ious = class_ious(read, true, len(classes))
    return {"mean_iou": float(np.nanmean(ious)), "mean_iou_things": float(np.nanmean(ious[: len(NOUNS)]))}


def measure_dino() -> Figures:
    """Share of single things whose noun is that of most of the ten nearest among 3,000 known scenes."""
    dino = registry.load("ImageEncoder", model_id("dino"))
    known, asked = one_thing_scenes(NUM_KNOWN, "known"), one_thing_scenes(NUM_SCENES, f"asked {HELD_OUT_SEED}")
    labels = [scene.things[0].noun for scene in known]
    answers = nearest_labels(
        dino.encode_images(images_of(asked)), dino.encode_images(images_of(known)), labels, NEIGHBOURS
    )
    return {"knn_noun": _share(one == scene.things[0].noun for one, scene in zip(answers, asked, strict=True))}


def _share(values: object) -> float:
    return float(np.mean(list(values)))  # type: ignore[call-overload]  # an iterable of booleans


MEASURES: dict[str, Callable[[], Figures]] = {
    "clip": measure_clip,
    "blip": measure_blip,
    "clipseg": measure_clipseg,
    "grounding-dino": measure_grounding_dino,
    "sam": measure_sam,
    "mask2former": measure_mask2former,
    "dino": measure_dino,
}
