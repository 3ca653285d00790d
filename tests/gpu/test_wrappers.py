"""Wrappers on the GPU in half precision against float32 on the CPU, over the miniature models.

Tolerances are those of three digits: bfloat16 has eight bits. A threshold or an arg max may fall on the other side for
a few rows, so captions and masks agree for most of them and not to the letter.
"""

import random

import numpy as np
import pytest
from PIL import Image

from models.placement import Placement
from models.registry import load
from zoo.world import NOUNS, caption, render, sample_edit, scene_of

SIZE_PX = 64
SCENES = [scene_of(9, index) for index in range(16)]
IMAGES = [Image.fromarray(render(scene, SIZE_PX)) for scene in SCENES]
PHRASES = [f"{scene.things[0].colour} {scene.things[0].noun}" for scene in SCENES]


def on_both(protocol, model_id, dtype, **settings):
    """(float32 on the CPU, `dtype` on the GPU)."""
    cpu = Placement(device="cpu", dtype="float32", batch_size=8)
    gpu = Placement(device="cuda", dtype=dtype, batch_size=8)
    return load(protocol, model_id, cpu, **settings), load(protocol, model_id, gpu, **settings)


def iou(one, other):
    union = (one | other).sum()
    return 1.0 if union == 0 else (one & other).sum() / union


def levels_apart(one, other):
    """The mean difference of two images, 0 to 255."""
    return np.abs(np.asarray(one, float) - np.asarray(other, float)).mean()


def test_captions_agree(half):
    cpu, gpu = on_both("Captioner", "zoo:blip", half)
    same = [one == other for one, other in zip(cpu.caption(IMAGES), gpu.caption(IMAGES), strict=True)]
    assert np.mean(same) >= 0.85


def test_embeddings_agree(half):
    cpu, gpu = on_both("ImageTextEncoder", "zoo:clip", half)
    texts = [caption(scene) for scene in SCENES]
    assert (cpu.encode_images(IMAGES) * gpu.encode_images(IMAGES)).sum(1).min() > 0.999
    assert (cpu.encode_texts(texts) * gpu.encode_texts(texts)).sum(1).min() > 0.999


def test_features_of_images_agree(half):
    cpu, gpu = on_both("ImageEncoder", "zoo:dino", half)
    assert (cpu.encode_images(IMAGES) * gpu.encode_images(IMAGES)).sum(1).min() > 0.999


def test_masks_of_phrases_agree(half):
    cpu, gpu = on_both("TextSegmenter", "zoo:clipseg", half)
    both = zip(cpu.segment_phrases(IMAGES, PHRASES), gpu.segment_phrases(IMAGES, PHRASES), strict=True)
    assert np.mean([iou(one > 0.5, other > 0.5) for one, other in both]) > 0.95


def test_boxes_agree(half):
    cpu, gpu = on_both("Detector", "zoo:grounding-dino", half)
    asked = [[thing.noun for thing in scene.things] for scene in SCENES]
    both = list(zip(*(one.detect(IMAGES, asked, threshold=0.3) for one in (cpu, gpu)), strict=True))
    assert np.mean([len(one.boxes_N4) == len(other.boxes_N4) for one, other in both]) >= 0.85
    apart = [
        np.abs(one.boxes_N4[0] - other.boxes_N4[0]).max()
        for one, other in both if len(one.boxes_N4) and len(other.boxes_N4)
    ]  # fmt: skip
    assert np.median(apart) < 2  # px


def test_masks_of_boxes_agree(half):
    cpu, gpu = on_both("BoxSegmenter", "zoo:sam", half)
    boxes = [np.array([[8, 8, 40, 40], [16, 16, 60, 60]], np.float32)] * len(IMAGES)
    both = zip(cpu.segment_boxes(IMAGES, boxes), gpu.segment_boxes(IMAGES, boxes), strict=True)
    found = [iou(a, b) for one, other in both for a, b in zip(one.masks_NHW, other.masks_NHW, strict=True)]
    assert np.median(found) > 0.95


def test_panoptic_maps_agree(half):
    cpu, gpu = on_both("PanopticSegmenter", "zoo:mask2former", half)
    both = zip(cpu.segment_panoptic(IMAGES), gpu.segment_panoptic(IMAGES), strict=True)
    assert np.mean([set(one.labels) == set(other.labels) for one, other in both]) >= 0.75


def test_latents_agree(half):
    cpu, gpu = on_both("LatentEncoder", "zoo:sd", half)
    one, other = (np.stack(encoder.encode_latents(IMAGES)) for encoder in (cpu, gpu))
    assert np.abs(one - other).mean() < 0.02 * np.abs(one).mean() + 0.01


def test_drawn_pairs_agree_in_float32():
    """To the pixel, almost: the noise is drawn on the CPU."""
    (one, other) = (pairs_of(synthesiser) for synthesiser in on_both("PairSynthesizer", "zoo:sd", "float32"))
    assert max(levels_apart(a, b) for a, b in zip(one, other, strict=True)) < 2


def test_drawn_pairs_agree_in_half_precision(half):
    (one, other) = (pairs_of(synthesiser) for synthesiser in on_both("PairSynthesizer", "zoo:sd", half))
    assert np.mean([levels_apart(a, b) for a, b in zip(one, other, strict=True)]) < 15


def pairs_of(synthesiser):
    from models.protocols import PairCandidate, PairRequest

    edits = [sample_edit(scene, random.Random(index)) for index, scene in enumerate(SCENES[:4])]
    requests = [PairRequest(source_caption=one.source_caption, target_caption=one.target_caption) for one in edits]
    candidates = [PairCandidate(seed=index, num_steps=8) for index in range(len(requests))]
    drawn = synthesiser.synthesise(synthesiser.prepare(requests), candidates)
    return [image for pair in drawn for image in pair]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_inpainting_keeps_what_is_outside(dtype):
    _, gpu = on_both("EditSynthesizer", "zoo:sd-inpaint", dtype)
    mask_HW = np.zeros((SIZE_PX, SIZE_PX), bool)
    mask_HW[16:48, 16:48] = True
    prompts = [f"a {noun}" for noun in list(NOUNS)[:4]]
    found = gpu.inpaint(IMAGES[:4], [mask_HW] * 4, prompts, seeds=range(4), num_steps=4, guidance_scale=2.0)
    for before, after in zip(IMAGES[:4], found, strict=True):
        assert np.array_equal(np.asarray(before)[~mask_HW], np.asarray(after)[~mask_HW])
