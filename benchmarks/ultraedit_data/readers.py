"""Two readers that name the facts of an image, and how often they are right on scenes whose truth is known.

`caption` is zoo:blip's sentence. `segments` is zoo:mask2former's map, each thing's colour by its pixels; it reads no
style. Neither has a part in the filter of a build, which scores with zoo:clip and zoo:dino.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from models import registry
from zoo.batches import HELD_OUT_SEED, to_pixels
from zoo.export import folder_of, model_id
from zoo.world import COLOURS, NOUNS, Facts, Scene, facts_of, read_facts, render, scene_of
from zoo.world.vocabulary import PLACES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from models.protocols import Segments

MIN_THING_PX = 20
_PALETTE = np.array(list(COLOURS.values()))


def by_caption(images: Sequence[Image.Image]) -> list[Facts]:
    """Read the captions that zoo:blip writes."""
    return [read_facts(text) for text in registry.load("Captioner", model_id("blip")).caption(images)]


def by_segments(images: Sequence[Image.Image]) -> list[Facts]:
    """Read the segments that zoo:mask2former finds."""
    found = registry.load("PanopticSegmenter", model_id("mask2former")).segment_panoptic(images)
    return [_facts(np.asarray(image), segments) for image, segments in zip(images, found, strict=True)]


def _facts(pixels_HWC: np.ndarray, segments: Segments) -> Facts:
    things, stuff_px = [], dict.fromkeys(PLACES, 0)
    for number, label in enumerate(segments.labels):
        mask_HW = segments.segment_HW == number
        if label in NOUNS:
            if mask_HW.sum() >= MIN_THING_PX:
                things.append((_colour(pixels_HWC[mask_HW]), label))
            continue
        for name, place in PLACES.items():
            stuff_px[name] += int(mask_HW.sum()) if label in (place.backdrop, place.ground) else 0
    return Facts(tuple(sorted(things)), max(stuff_px, key=lambda name: stuff_px[name]), None)


def things_of(images: Sequence[Image.Image]) -> list[np.ndarray]:
    """Where zoo:mask2former sees things of any kind: (H, W) for each image."""
    found = registry.load("PanopticSegmenter", model_id("mask2former")).segment_panoptic(images)
    return [np.isin(one.segment_HW, [n for n, label in enumerate(one.labels) if label in NOUNS]) for one in found]


def _colour(pixels_NC: np.ndarray) -> str:
    """The colour of the palette that is nearest to most of the pixels."""
    distance = np.square(pixels_NC[:, None].astype(int) - _PALETTE).sum(-1)
    return list(COLOURS)[int(np.bincount(distance.argmin(1), minlength=len(COLOURS)).argmax())]


READERS: dict[str, Callable[[Sequence[Image.Image]], list[Facts]]] = {"caption": by_caption, "segments": by_segments}


def held_out_scenes(count: int, max_things: int) -> list[Scene]:
    """Plain scenes with so many things at most, of the world that no training draws from."""
    found: list[Scene] = []
    index = 0
    while len(found) < count:
        scene = scene_of(HELD_OUT_SEED, index)
        index += 1
        if scene.style is None and len(scene.things) <= max_things:
            found.append(scene)
    return found


def through_autoencoder(images: Sequence[Image.Image]) -> list[Image.Image]:
    """The images encoded and decoded by zoo:sd's autoencoder: the best that any pair of it can look like."""
    import torch
    from diffusers import AutoencoderKL

    vae: Any = AutoencoderKL.from_pretrained(folder_of("sd"), subfolder="vae", use_safetensors=True).float()
    pixels_BCHW = to_pixels(np.stack([np.asarray(image) for image in images]))
    with torch.inference_mode():
        drawn = torch.cat([vae.decode(vae.encode(part).latent_dist.mode()).sample for part in pixels_BCHW.split(64)])
    bytes_BHWC = drawn.clamp(-1, 1).add(1).mul(127.5).round().byte().permute(0, 2, 3, 1).numpy()
    return [Image.fromarray(one) for one in bytes_BHWC]


def reliability(scenes: Sequence[Scene]) -> dict[str, dict[str, float]]:
    """Reader -> share of scenes of which it names every thing, colour and place, as drawn and after the autoencoder."""
    drawn = [Image.fromarray(render(scene)) for scene in scenes]
    again = through_autoencoder(drawn)
    found: dict[str, dict[str, float]] = {}
    for name, read in READERS.items():
        found[name] = {}
        for kind, images in (("true scenes", drawn), ("after zoo:sd's autoencoder", again)):
            right = [facts[:2] == facts_of(scene)[:2] for facts, scene in zip(read(images), scenes, strict=True)]
            found[name][kind] = round(float(np.mean(right)), 4)
    return found
