"""The formats, one file each: a `Format` under the name that `editloom export --to` takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.classes import find_class

if TYPE_CHECKING:
    from export.format import Format

FORMATS = {
    "huggingface": "export.formats.huggingface:HuggingFace",
    "imagefolder": "export.formats.imagefolder:ImageFolder",
    "ai-toolkit": "export.formats.ai_toolkit:AiToolkit",
    "simpletuner": "export.formats.simpletuner:SimpleTuner",
    "musubi-tuner": "export.formats.musubi_tuner:MusubiTuner",
    "diffusion-pipe": "export.formats.diffusion_pipe:DiffusionPipe",
    "onetrainer": "export.formats.onetrainer:OneTrainer",
    "diffsynth": "export.formats.diffsynth:DiffSynth",
    "omnigen2": "export.formats.omnigen2:OmniGen2",
    "firered": "export.formats.firered:FireRed",
    "ultraedit": "export.formats.ultraedit:UltraEdit",
    "ultraedit-jsonl": "export.formats.ultraedit_jsonl:UltraEditJsonl",
    "bagel": "export.formats.bagel:Bagel",
    "instruct-pix2pix": "export.formats.instruct_pix2pix:InstructPix2Pix",
    "diffusers-dpo": "export.formats.diffusers_dpo:DiffusersDpo",
    "simpletuner-dpo": "export.formats.simpletuner_dpo:SimpleTunerDpo",
    "editreward": "export.formats.editreward:EditReward",
}
"""Name -> class; a new format is a file next to this one and a line here."""


def find_format(name: str) -> type[Format]:
    """The settings class of a format. Raises UsageError with the nearest name for an unknown one."""
    found: type[Format] = find_class(FORMATS, name, "format")
    return found
