"""Small models for the stages of the catalogue, which answer by simple rules."""

import json
import re

import numpy as np
from _left_share import LeftShare
from _plain_pairs import ColourEncoder
from _seeded_editor import SeededEditor

from models.protocols import BoxMasks, Detections, JudgeReply, Segments
from pipeline.plan.plugins import load_model
from stages.regions.shapes import filled_boxes


class WordVectors:
    """A dimension for each of some words."""

    dim = 5

    def encode_texts(self, texts):
        vectors = np.array(
            [[word in text.split() for word in ("snow", "add", "night", "paint", "now")] for text in texts]
        )
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


class LaconicCaptioner:
    """Says nothing of every image but those whose first pixel is dark."""

    def caption(self, images):
        return ["a  dark picture" if image.getpixel((0, 0))[0] < 100 else " " for image in images]


class CountsLetters:
    """Judges by the length of the instruction, and says "no" to a polite one."""

    prompt_sha256 = "ab" * 32

    def judge(self, requests, *, seeds):
        return [JudgeReply(self.reply(request), "text", 7, 3) for request in requests]

    def reply(self, request):
        scores = {"instruction": len(request.instruction) % 11, "preservation": 4, "quality": 9}
        if "please" in request.instruction:
            return "no"
        return json.dumps({k: v for n, s in scores.items() for k, v in ((f"{n}_reason", "so"), (f"{n}_score", s))})


class CuriousWriter:
    """Answers by its prompt and seed: edits of the things of `CAPTIONS`, and further captions; some of them faulty."""

    def generate(self, prompts, *, seeds, **_):
        return [
            self.further(prompt.rpartition("Request: ")[2], seed)
            if "Request: " in prompt
            else self.answer(prompt.rpartition("Caption: ")[2], seed)
            for prompt, seed in zip(prompts, seeds, strict=True)
        ]

    def further(self, asked, seed):
        found = re.match(r"replace the (\w+) with (\w+)", asked)
        old, new = found.groups() if found else ("sky", "roof")
        answer = {
            "caption": f"the {old} near gate {seed % 5}",
            "object": old,
            "target_caption": f"the {new} near gate {seed % 5}",
            "reverse_instruction": f"replace the {new} with {old}",
        }
        return json.dumps(answer)

    def answer(self, asked, seed):
        caption, _, kind = asked.partition("\nEdit type: ")
        thing = next((one for one in ("bus", "dogs", "house") if one in caption), "sky")
        new = ["train", "cats", "tower", "nothing"][seed % 4]
        answer = {
            "edit_type": kind.partition("\n")[0],
            "instruction": f"replace the {thing} with {new}",
            "object": thing,
            "target_caption": caption.replace(thing, new),
            "reverse_instruction": f"replace the {new} with {thing}",
        }
        return json.dumps(answer)


class NumbersOfWords:
    """Conditions on how many words and letters a text has."""

    def encode_prompts(self, texts):
        return [(np.full((3, 2), len(text), np.float32), np.float32([len(text.split())])) for text in texts]


def write_edits_models(protocol, model_id, **_):
    if protocol == "TextGenerator":
        return CuriousWriter()
    return load_model(protocol, model_id)


def session_models(protocol, model_id, **_):
    return ColourEncoder() if protocol == "ImageEncoder" else SeededEditor()


class NamesByPrompt:
    """Names the first word of the caption after its article; not for "cat", which it answers with no JSON."""

    def generate(self, prompts, *, max_new_tokens, json_schema, temperature, seeds):
        words = [prompt.partition("Caption before the edit: ")[2].split()[:2][-1] for prompt in prompts]
        return ["no JSON" if word == "cat" else json.dumps({"objects": [word]}) for word in words]


class BoxesByLength:
    """Finds a box for each phrase but "nothing", wider for a longer one, surer for a shorter one."""

    def detect(self, images, phrases, *, threshold):
        found = [sorted((one for one in asked if one != "nothing"), key=len) for asked in phrases]
        return [
            Detections(
                np.array([[0, 0, 5 * len(one), 50] for one in named], np.float32).reshape(-1, 4),
                np.array([1 - 0.01 * len(one) for one in named], np.float32),
                tuple(named),
            )
            for named in found
        ]


class WholeBoxes:
    """Every pixel of a box belongs to its thing."""

    def segment_boxes(self, images, boxes_BN4):
        return [
            BoxMasks(
                np.stack([filled_boxes([box], image.height, image.width) for box in boxes_N4]),
                np.ones(len(boxes_N4), np.float32),
            )
            for image, boxes_N4 in zip(images, boxes_BN4, strict=True)
        ]


class HalvesByColour:
    """A cat on the left half of a dark image, a car on that of any other one, and sky beside it."""

    def segment_panoptic(self, images):
        found = []
        for image in images:
            segment_HW = np.zeros((image.height, image.width), np.int32)
            segment_HW[:, image.width // 2 :] = 1
            thing = "cat" if image.getpixel((0, 0))[0] < 200 else "car"
            found.append(Segments(segment_HW, (thing, "sky-other-merged"), (0.9, 0.8)))
        return found


class LooksAtCats:
    """Says yes of a cat and nothing of any other thing."""

    def generate(self, prompts, **_):
        return [" yes" if prompt.endswith("Thing: cat\nAnswer:") else " it depends" for prompt in prompts]


def left_by_words():
    """Finds an instruction in so many tenths of the width, from the left, as it has words."""
    return LeftShare(lambda text: len(text.split()) / 10)


FAKES = {
    "Detector": BoxesByLength, "BoxSegmenter": WholeBoxes, "TextGenerator": NamesByPrompt,
    "PanopticSegmenter": HalvesByColour, "InstructionSegmenter": left_by_words,
}  # fmt: skip


class ForgetfulWriter:
    """Undoes the winter, and nothing else."""

    def generate(self, prompts, **_):
        return [json.dumps({"reverse_instruction": "remove the winter"}) for _ in prompts]


class RemovesDogs:
    """Writes the same instruction for every request."""

    def generate(self, prompts, **_):
        return [" remove the dog\n\nRequest: zoom in"] * len(prompts)
