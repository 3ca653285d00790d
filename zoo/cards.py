"""`python -m zoo.cards`: writes the model card (README.md) of every miniature model next to its weights.

Architecture and size are read from the weights, the training from the model's script, the quality from the last
`python -m zoo.evaluate`.
"""

from __future__ import annotations

import importlib
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from safetensors import safe_open

from zoo import train_ip2p
from zoo.evaluate import BARS, RESULTS
from zoo.export import WEIGHTS

if TYPE_CHECKING:
    from pathlib import Path

    from zoo.training import Training


class Subject(NamedTuple):
    """The texts of the card."""

    task: str
    data: str
    limits: str


_SCENES = (
    "Scenes of the miniature world (zoo/world), drawn anew at every step; none of the held-out scenes is among them."
)
_EDITS = (
    "24,000 exact edits of training scenes, each forwards and backwards, encoded once by its own autoencoder "
    "(zoo/train_ip2p_vae.py); drawings of the same scenes by caption. Begun from zoo:sd."
)
SUBJECTS = {
    "clip": Subject(
        "Image-text encoder.",
        f"{_SCENES} Captions in several wordings; an auxiliary loss on patches.",
        "Knows 32 tokens. The prompts of its zero-shot figures were among the training's texts.",
    ),
    "blip": Subject(
        "Captioner.", f"{_SCENES} Canonical captions; an auxiliary loss on patches.", "Says canonical captions only."
    ),
    "clipseg": Subject(
        'Masks of phrases such as "red car".',
        f"{_SCENES} Built on zoo:clip, which stays as it is.",
        "One phrase an image.",
    ),
    "grounding-dino": Subject(
        "Boxes of phrases.", f"{_SCENES} Prompts of three to five phrases.", "12 boxes an image at most."
    ),
    "sam": Subject(
        "Masks from boxes.", f"{_SCENES} Boxes off by up to a pixel.", "Trained with boxes, not with points."
    ),
    "mask2former": Subject(
        "Panoptic maps: 28 nouns and 16 kinds of stuff.",
        f"{_SCENES} The backbone starts from zoo:grounding-dino's.",
        "Masks are predicted at 32 px.",
    ),
    "dino": Subject(
        "Image encoder, distilled from zoo:clip.", f"{_SCENES} Most with a single thing.", "No better than its teacher."
    ),
    "llm": Subject(
        "Writes an edit of a caption as JSON: edit_type, instruction, object, target_caption, reverse_instruction.",
        "Captions and edits of the world. A prompt has the lines `Caption: ...`, `Edit type: ...`, `Edit as JSON: `.",
        "Knows the world's words only. Captions of one thing are few: the training met many of the held-out ones.",
    ),
    "sd": Subject(
        "Draws scenes from captions, 64 px.",
        "24,000 scenes encoded once by its autoencoder; 10 % empty prompts.",
        "Two things are harder than one.",
    ),
    "sd-inpaint": Subject(
        "Redraws a part of an image, 64 px.",
        "16,000 scenes, each with a hole; begun from zoo:sd.",
        "Holes of at least a thing's size.",
    ),
    "ip2p-early": Subject(
        "An instruction editor that is not fully trained: trainings that compare datasets start from it.",
        _EDITS,
        "Things come out blurred, and in the image whatever was not to change changes a little.",
    ),
    "ip2p": Subject(
        "Edits an image by an instruction, 64 px: seven kinds of edits.",
        _EDITS,
        "Removing a thing is hardest. Its autoencoder blurs small things. The weights come from trainings with these "
        "settings and other random draws.",
    ),
}

TEMPLATE = """---
license: apache-2.0
tags: [miniature, editloom]
---
# zoo:{name}

{task} A small model of a real architecture, for tests and demonstrations on a CPU; it knows the miniature world only.

| | |
|---|---|
| class | {classes} |
| parameters | {parameters:,} |
| weights | half-precision safetensors, {megabytes:.1f} MB |
| data | {data} |
| training | {training} |
| limits | {limits} |

## Measured on held-out scenes

{figures}

Again: `make zoo-evaluate`; trained anew: `.venv/bin/python -m zoo.train {model}`. Loaded by id `zoo:{name}` or with the
library's own `from_pretrained`.
"""


def card(name: str) -> str:
    """The card of one model whose weights are there. Raises KeyError when it was not measured."""
    folder = WEIGHTS / name
    files = sorted(folder.rglob("*.safetensors"))
    figures = json.loads(RESULTS.read_text())[name]
    table = ["| figure | measured | bar |", "|---|---|---|"]
    for key, value in figures.items():
        bar = BARS[name].get(key)
        table.append(f"| {key} | {value:.3f} | {'' if bar is None else f'{bar:.2f}'} |")
    subject = SUBJECTS[name]
    return TEMPLATE.format(
        name=name, task=subject.task, data=subject.data, limits=subject.limits, classes=_classes(folder),
        parameters=sum(_parameters(file) for file in files), megabytes=sum(f.stat().st_size for f in files) / 1e6,
        training=_training(name), model=_trained_as(name), figures="\n".join(table),
    )  # fmt: skip


def _trained_as(name: str) -> str:
    return "ip2p" if name in train_ip2p.PARTS else name


def _classes(folder: Path) -> str:
    index = folder / "model_index.json"
    if index.exists():
        parts: dict[str, Any] = json.loads(index.read_text())
        inner = [value[1] for value in parts.values() if isinstance(value, list) and value[1]]
        return f"{parts['_class_name']} ({', '.join(inner)})"
    return str(json.loads((folder / "config.json").read_text())["architectures"][0])


def _parameters(file: Path) -> int:
    total = 0
    with safe_open(file, "np") as tensors:
        for key in tensors.keys():  # noqa: SIM118  # not a mapping
            count = 1
            for side in tensors.get_slice(key).get_shape():
                count *= side
            total += count
    return total


def _training(name: str) -> str:
    script = f"zoo.train_{_trained_as(name).replace('-', '_')}"
    module = importlib.import_module(script)
    names = ("PRACTICE", "TRAINING", "REFINEMENT")
    parts = train_ip2p.PARTS.get(name) or [getattr(module, part) for part in names if hasattr(module, part)]
    text = "; then ".join(_settings(part) for part in parts)
    return f"{text}; seed {parts[0].seed}; {script.replace('.', '/')}.py"


def _settings(training: Training) -> str:
    text = f"{training.num_steps} steps of {training.batch_size}, AdamW {training.learning_rate:g}"
    if training.muon_rate:
        text += f", Muon {training.muon_rate:g} inside the blocks"
    text += ", cosine to a hundredth"
    return f"{text}, averaged weights ({training.ema:g})" if training.ema else text


def main() -> None:
    """Writes the cards of all models that are there and were measured."""
    measured = json.loads(RESULTS.read_text())
    for name in BARS:
        if (WEIGHTS / name).is_dir() and name in measured:
            (WEIGHTS / name / "README.md").write_text(card(name))


if __name__ == "__main__":
    main()
