"""Measures the models that write, draw and edit: llm, sd, sd-inpaint, ip2p. Images are read by zoo:blip."""

from __future__ import annotations

import json
import random
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from evaluation.editors import EditorChoice
from models import registry
from zoo.batches import HELD_OUT_SEED, held_out
from zoo.evaluation.edits import score_editor, score_images, sources, write_cases
from zoo.evaluation.perception import images_of
from zoo.export import model_id
from zoo.train_llm import MAX_TOKENS, PROMPT
from zoo.world import (
    COLOURS,
    NOUNS,
    SIZE_PX,
    Scene,
    boxes,
    caption,
    facts_of,
    possible_kinds,
    read_facts,
    sample_scene,
    thing_masks,
)
from zoo.world.judge import FIELDS, fault_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt
    from PIL import Image

    from zoo.evaluation.perception import Figures

NUM_CAPTIONS = 500
NUM_PROMPTS = 200
NUM_TWO_THINGS = 60
NUM_EDITS = 500
NUM_STEPS = 25
GUIDANCE = 4.0
MARGIN_PX = 3
EDITING = {"num_steps": 10, "guidance_scale": 1.5, "image_guidance_scale": 1.2, "scheduler": "checkpoint"}
"""Settings of the instruction editor."""
SCHEMA = {
    "type": "object",
    "properties": {field: {"type": "string"} for field in FIELDS},
    "required": list(FIELDS),
    "additionalProperties": False,
}


def measure_llm() -> Figures:
    """Shares of edits that parse, and that are consistent and of the type asked for, freely and under the schema."""
    llm = registry.load("TextGenerator", model_id("llm"))
    scenes = held_out(NUM_CAPTIONS)
    captions = [caption(scene) for scene in scenes]
    prompts = [edit_prompt(scene) for scene in scenes]
    answers = llm.generate(prompts, max_new_tokens=MAX_TOKENS)
    few = llm.generate(prompts[:50], max_new_tokens=MAX_TOKENS, json_schema=SCHEMA)
    kinds = [kind_asked(prompt) for prompt in prompts]
    faults = [fault_of_answer(*row) for row in zip(captions, answers, kinds, strict=True)]
    constrained = [fault_of_answer(*row) for row in zip(captions, few, kinds, strict=False)]
    return {
        "parses": float(np.mean([fault != "json" for fault in faults])),
        "consistent": float(np.mean([fault is None for fault in faults])),
        "consistent_constrained": float(np.mean([fault is None for fault in constrained])),
    }


def edit_prompt(scene: Scene) -> str:
    """A prompt for one of the edits that `scene` can take, the same one each time."""
    kind = random.Random(f"edit {caption(scene)}").choice(possible_kinds(scene))
    return PROMPT.format(caption=caption(scene), kind=kind)


def kind_asked(prompt: str) -> str:
    """The type of edit that a prompt asks for."""
    return prompt.split("Edit type: ")[1].split("\n", maxsplit=1)[0]


def fault_of_answer(source_caption: str, answer: str, kind: str) -> str | None:
    """Why an answer is no edit of the caption of the type asked for, or None when it is one."""
    try:
        edit = json.loads(answer)
    except json.JSONDecodeError:
        return "json"
    if not isinstance(edit, dict):
        return "json"
    return fault_of(source_caption, edit) or (None if edit["edit_type"] == kind else "another type")


def prompted_scenes(count: int, num_things: int) -> list[Scene]:
    """Scenes without a style whose captions are the prompts."""
    rng = random.Random(f"prompts {HELD_OUT_SEED} {num_things}")
    return [sample_scene(rng, num_things=num_things, style=None) for _ in range(count)]


def measure_sd() -> Figures:
    """Shares of drawings in which zoo:blip reads the things and the place of the prompt."""
    sd, blip = registry.load("ImageSynthesizer", model_id("sd")), registry.load("Captioner", model_id("blip"))
    figures = {}
    for name, num_things, count in (("one_thing", 1, NUM_PROMPTS), ("two_things", 2, NUM_TWO_THINGS)):
        scenes = prompted_scenes(count, num_things)
        prompts = [caption(scene) for scene in scenes]
        drawn = sd.generate(prompts, seeds=range(count), num_steps=NUM_STEPS, guidance_scale=GUIDANCE)
        read = [read_facts(text) for text in blip.caption(drawn)]
        figures[name] = float(
            np.mean([one[:2] == facts_of(scene)[:2] for one, scene in zip(read, scenes, strict=True)])
        )
    return figures


def inpainting_tasks(count: int) -> list[tuple[Scene, Scene, npt.NDArray[np.bool_]]]:
    """A scene with one thing, the scene asked for (another noun and colour there), the hole (64, 64)."""
    rng = random.Random(f"inpainting {HELD_OUT_SEED}")
    tasks = []
    for source in prompted_scenes(count, 1):
        old = source.things[0]
        new = replace(
            old,
            noun=rng.choice([noun for noun in NOUNS if noun != old.noun]),
            colour=rng.choice([colour for colour in COLOURS if colour != old.colour]),
        )
        target = replace(source, things=(new,))
        corners = np.concatenate([boxes(thing_masks(scene)) for scene in (source, target)]).astype(int)
        (x0, y0), (x1, y1) = corners[:, :2].min(0) - MARGIN_PX, corners[:, 2:].max(0) + MARGIN_PX
        hole = np.zeros((SIZE_PX, SIZE_PX), dtype=bool)
        hole[max(y0, 0) : y1, max(x0, 0) : x1] = True
        tasks.append((source, target, hole))
    return tasks


def measure_inpaint() -> Figures:
    """Share of filled holes in which zoo:blip reads what was asked for, and share of images unchanged outside."""
    inpaint, blip = (
        registry.load("EditSynthesizer", model_id("sd-inpaint")),
        registry.load("Captioner", model_id("blip")),
    )
    sources, targets, holes = zip(*inpainting_tasks(NUM_PROMPTS), strict=True)
    images = images_of(list(sources))
    drawn = inpaint.inpaint(
        images,
        holes,
        [caption(scene) for scene in targets],
        seeds=range(len(images)),
        num_steps=NUM_STEPS,
        guidance_scale=GUIDANCE,
    )
    read = [read_facts(text) for text in blip.caption(drawn)]
    kept = [_same_outside(a, b, hole) for a, b, hole in zip(images, drawn, holes, strict=True)]
    return {
        "one_thing": float(np.mean([one[:2] == facts_of(scene)[:2] for one, scene in zip(read, targets, strict=True)])),
        "unchanged_outside": float(np.mean(kept)),
    }


def _same_outside(before: Image.Image, after: Image.Image, hole_HW: npt.NDArray[np.bool_]) -> bool:
    return bool((np.array(before)[~hole_HW] == np.array(after)[~hole_HW]).all())


def measure_ip2p(name: str) -> Figures:
    """The world benchmark: share of edits read back, and how much nearer to the truth they are than the source.

    `nearer_than_source` is 1 less the ratio of mean differences from the true result: 0 for a copy, 1 for the truth.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        cases = write_cases(out / "cases", NUM_EDITS)
        copied = score_images(cases, out / "copy", sources(cases), "copy the source")
        edited = score_editor(cases, out / "editor", EditorChoice.of_model(model_id(name), EDITING))
    return {
        "read_back": edited.mean("read_back"),
        "nearer_than_source": 1 - edited.mean("l1") / copied.mean("l1"),
        "ssim_outside": edited.mean("ssim_outside"),
    }


MEASURES: dict[str, Callable[[], Figures]] = {
    "llm": measure_llm,
    "sd": measure_sd,
    "sd-inpaint": measure_inpaint,
    "ip2p-early": partial(measure_ip2p, "ip2p-early"),
    "ip2p": partial(measure_ip2p, "ip2p"),
}
