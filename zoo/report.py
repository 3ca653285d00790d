"""`python -m zoo.report FILE`: one HTML page that shows what the miniature models do.

World samples, captions read, masks and boxes over images, drawn grids, edits against the truth. The figures at the top
are those of the last `python -m zoo.evaluate`.
"""

from __future__ import annotations

import base64
import io
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2
import numpy as np
from PIL import Image

from evaluation.editors import EditorChoice
from models import registry
from models.placement import Placement
from models.protocols import EditRequest
from zoo.batches import held_out
from zoo.evaluate import BARS, RESULTS
from zoo.evaluation.generation import (
    EDITING,
    GUIDANCE,
    NUM_STEPS,
    edit_prompt,
    fault_of_answer,
    inpainting_tasks,
    kind_asked,
    prompted_scenes,
)
from zoo.evaluation.perception import images_of, wrong_phrases
from zoo.export import folder_of, model_id
from zoo.train_llm import MAX_TOKENS
from zoo.world import KINDS, Scene, boxes, caption, facts_of, panoptic, read_facts, render, thing_masks
from zoo.write_edits import EditOrder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

SHOWN = 12
RED = np.array((255, 40, 60))
PALETTE = np.random.default_rng(3).integers(60, 230, (16, 3))


@dataclass(frozen=True, slots=True)
class Line:
    """A line below an image, red when it is wrong."""

    text: str
    is_wrong: bool = False


@dataclass(frozen=True, slots=True)
class Figure:
    """Images side by side (data: URLs) and the lines below them."""

    images: list[str]
    lines: list[Line]


@dataclass(frozen=True, slots=True)
class Section:
    """One model's part of the page."""

    title: str
    note: str
    figures: list[Figure] = field(default_factory=list)


def gallery() -> str:
    """The page. It names each model that is not there."""
    scenes = held_out(SHOWN)
    parts: list[tuple[tuple[str, ...], Callable[[], Section]]] = [
        ((), lambda: _world(scenes)),
        (("blip",), lambda: _captions(scenes)),
        (("clipseg",), lambda: _phrases(scenes)),
        (("grounding-dino",), lambda: _boxes(scenes)),
        (("sam",), lambda: _box_masks(scenes)),
        (("mask2former",), lambda: _panoptic(scenes)),
        (("sd", "blip"), _drawn),
        (("sd-inpaint",), _filled),
        (("ip2p", "blip"), _edited),
        (("llm",), lambda: _written(scenes)),
    ]
    sections = []
    for names, part in parts:
        absent = [name for name in names if not folder_of(name).is_dir()]
        sections.append(Section(f"zoo:{absent[0]}", "This model is not there.") if absent else part())
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    rows = []
    for name, figures in results.items():
        for key, value in figures.items():
            bar = BARS[name].get(key)
            is_missed = bar is not None and value < bar
            rows.append({"model": f"zoo:{name}", "figure": key, "value": value, "bar": bar, "is_missed": is_missed})
    templates = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
    environment = jinja2.Environment(loader=templates, autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.get_template("gallery.html.j2").render(rows=rows, sections=sections)


def _png(pixels: npt.NDArray[np.uint8] | Image.Image) -> str:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _over(scene: Scene, mask_HW: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """The image, red where the mask is."""
    image = render(scene).astype(float)
    image[mask_HW] = 0.45 * image[mask_HW] + 0.55 * RED
    return image.astype(np.uint8)


def _outlined(scene: Scene, boxes_N4: npt.NDArray[np.float32]) -> Image.Image:
    """The image with box outlines."""
    image = render(scene).copy()
    for x0, y0, x1, y1 in np.clip(np.round(boxes_N4), 0, len(image)).astype(int):
        x1, y1 = max(x1 - 1, x0), max(y1 - 1, y0)  # noqa: PLW2901  # edges are exclusive
        image[[y0, y1], x0 : x1 + 1] = RED
        image[y0 : y1 + 1, [x0, x1]] = RED
    return Image.fromarray(image)


def _world(scenes: Sequence[Scene]) -> Section:
    figures = [Figure([_png(render(scene))], [Line(caption(scene))]) for scene in scenes]
    return Section("The world", "Held-out scenes and their canonical captions.", figures)


def _captions(scenes: Sequence[Scene]) -> Section:
    answers = registry.load("Captioner", model_id("blip")).caption(images_of(list(scenes)))
    figures = [
        Figure([_png(render(scene))], [Line(text, read_facts(text) != facts_of(scene))])
        for scene, text in zip(scenes, answers, strict=True)
    ]
    return Section("Captions by zoo:blip", "Read off the image alone.", figures)


def _phrases(scenes: Sequence[Scene]) -> Section:
    segmenter = registry.load("TextSegmenter", model_id("clipseg"))
    images = images_of(list(scenes))
    right = [scene.things[0].phrase for scene in scenes]
    wrong = [wrong_phrases(scene)[0] for scene in scenes]
    found, nothing = segmenter.segment_phrases(images, right), segmenter.segment_phrases(images, wrong)
    figures = [
        Figure([_png(_over(scene, one >= 0.5)), _png(_over(scene, other >= 0.5))], [Line(f"{a} | {b}")])
        for scene, one, other, a, b in zip(scenes, found, nothing, right, wrong, strict=True)
    ]
    return Section(
        "Masks by zoo:clipseg", "Left a phrase that is there, right one that is not: its mask should be empty.", figures
    )


def _boxes(scenes: Sequence[Scene]) -> Section:
    detector = registry.load("Detector", model_id("grounding-dino"))
    asked = [[*(thing.phrase for thing in scene.things), wrong_phrases(scene)[0]] for scene in scenes]
    found = detector.detect(images_of(list(scenes)), asked, threshold=0.3)
    figures = []
    for scene, one in zip(scenes, found, strict=True):
        there = {thing.phrase for thing in scene.things}
        scored = zip(one.phrases, one.scores_N, strict=True)
        lines = [Line(f"{phrase} {score:.2f}", phrase not in there) for phrase, score in scored]
        figures.append(Figure([_png(_outlined(scene, one.boxes_N4))], lines))
    return Section("Boxes by zoo:grounding-dino", "Asked for the things there are and for one there is not.", figures)


def _box_masks(scenes: Sequence[Scene]) -> Section:
    true = [boxes(thing_masks(scene)) for scene in scenes]
    found = registry.load("BoxSegmenter", model_id("sam")).segment_boxes(images_of(list(scenes)), true)
    figures = [
        Figure([_png(_outlined(scene, box)), _png(_over(scene, one.masks_NHW.any(0)))], [Line(caption(scene))])
        for scene, box, one in zip(scenes, true, found, strict=True)
    ]
    return Section("Masks from boxes by zoo:sam", "Left the true boxes, right the masks.", figures)


def _panoptic(scenes: Sequence[Scene]) -> Section:
    found = registry.load("PanopticSegmenter", model_id("mask2former")).segment_panoptic(images_of(list(scenes)))
    figures = []
    for scene, one in zip(scenes, found, strict=True):
        segments, labels = panoptic(scene)
        coloured = [PALETTE[ids.astype(int) % len(PALETTE)].astype(np.uint8) for ids in (segments, one.segment_HW)]
        lines = [Line(label, label not in labels) for label in one.labels]
        figures.append(Figure([_png(render(scene)), *map(_png, coloured)], lines))
    return Section(
        "Panoptic maps by zoo:mask2former", "Image, true segments, found segments (colours are arbitrary).", figures
    )


def _drawn() -> Section:
    scenes = prompted_scenes(2 * SHOWN, 1) + prompted_scenes(SHOWN, 2)
    prompts = [caption(scene) for scene in scenes]
    drawn = registry.load("ImageSynthesizer", model_id("sd")).generate(
        prompts, seeds=range(len(prompts)), num_steps=NUM_STEPS, guidance_scale=GUIDANCE
    )
    read = registry.load("Captioner", model_id("blip")).caption(drawn)
    figures = [
        Figure([_png(image)], [Line(prompt), Line(f"read: {answer}", read_facts(answer)[:2] != facts_of(scene)[:2])])
        for scene, prompt, image, answer in zip(scenes, prompts, drawn, read, strict=True)
    ]
    return Section("Drawn by zoo:sd", f"{NUM_STEPS} steps, guidance {GUIDANCE}; below what zoo:blip reads.", figures)


def _filled() -> Section:
    sources, targets, holes = zip(*inpainting_tasks(SHOWN), strict=True)
    drawn = registry.load("EditSynthesizer", model_id("sd-inpaint")).inpaint(
        images_of(list(sources)), holes, [caption(scene) for scene in targets],
        seeds=range(SHOWN), num_steps=NUM_STEPS, guidance_scale=GUIDANCE,
    )  # fmt: skip
    figures = [
        Figure([_png(_over(source, hole)), _png(image), _png(render(target))], [Line(caption(target))])
        for source, target, hole, image in zip(sources, targets, holes, drawn, strict=True)
    ]
    return Section("Filled by zoo:sd-inpaint", "Source with the hole in red, what was drawn, the true edit.", figures)


def _edited() -> Section:
    edits = [edit for _, edit in EditOrder(2 * len(KINDS), 0, KINDS).edits()]
    requests = [EditRequest(image=Image.fromarray(render(edit.source)), instruction=edit.instruction) for edit in edits]
    choice = EditorChoice.of_model(model_id("ip2p"), EDITING)
    edited = choice.load(Placement()).edit(requests, seeds=range(len(requests)))
    read = registry.load("Captioner", model_id("blip")).caption(edited)
    figures = [
        Figure(
            [_png(render(edit.source)), _png(image), _png(render(edit.target))],
            [Line(edit.instruction), Line(f"read: {text}", read_facts(text) != facts_of(edit.target))],
        )
        for edit, image, text in zip(edits, edited, read, strict=True)
    ]
    return Section("Edits by zoo:ip2p", "Source, edited image, true result; below what zoo:blip reads.", figures)


def _written(scenes: Sequence[Scene]) -> Section:
    captions = [caption(scene) for scene in scenes]
    prompts = [edit_prompt(scene) for scene in scenes]
    answers = registry.load("TextGenerator", model_id("llm")).generate(prompts, max_new_tokens=MAX_TOKENS)
    figures = [
        Figure([], [Line(text), Line(answer, fault_of_answer(text, answer, kind_asked(prompt)) is not None)])
        for text, answer, prompt in zip(captions, answers, prompts, strict=True)
    ]
    return Section("Edits by zoo:llm", "A caption and the edit written for it, as JSON.", figures)


def main(arguments: list[str]) -> int:
    """Writes the page to the one path given."""
    if len(arguments) != 1:
        print("usage: python -m zoo.report FILE", file=sys.stderr)
        return 2
    path = Path(arguments[0])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(gallery())
    print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
