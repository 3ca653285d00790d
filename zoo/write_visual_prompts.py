"""`python -m zoo.write_visual_prompts FOLDER --seed S`: exact edits that share instructions, each with examples.

Writes a dataset as `emit` writes it after `attach_examples`, made without any model: pairs of images, the images of
other pairs that follow the same instruction, the instruction in one of several wordings and in canonical words, and the
mask of the thing as selective area. `--cases FOLDER` writes held-out edits with their true results, which `editloom
evaluate pairs` reads: in-domain, out-of-domain, and single edits in five wordings. Same arguments, same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from models.language.unification.unifier import Unifier
from samples.members import JSON, member
from samples.stored_images import mask_png
from zoo.dataset_shards import write_shards
from zoo.visual_prompts import WORDINGS, edit_of, edits_of, split_requests
from zoo.world import NOUNS, SIZE_PX, edit_mask, render, thing_masks
from zoo.write_world import MIN_SIZE_PX, png_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from zoo.visual_prompts import Request
    from zoo.world import Edit

NAME = "world-visual-prompts"
SAMPLES_PER_SHARD = 250
ID_HEX_DIGITS = 16
MAX_EXAMPLES = 4
TASKS = ("in-domain", "out-of-domain", "paraphrases")
"""Benchmarks that are written: requests of the dataset followed by new scenes, requests that are held out, and requests
of the dataset in all their wordings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptOrder:
    """The data of one seed. `pairs_per_request` pairs follow each request, every one with the others as examples."""

    seed: int
    num_requests: int
    pairs_per_request: int = 3
    held_out_frac: float = 0.1
    size_px: int = SIZE_PX
    nouns: tuple[str, ...] = NOUNS
    """The things of the scenes."""

    def requests(self) -> tuple[list[Request], list[Request]]:
        """(requests of the dataset, drawn by the seed; requests that are held out, the same for every seed).

        Raises ValueError where there are not as many.
        """
        kept, held_out = split_requests(0, self.held_out_frac, self.nouns)
        if self.num_requests > len(kept):
            raise ValueError(f"num_requests is {self.num_requests}; there are {len(kept)} that are not held out")
        random.Random(f"requests {self.seed}").shuffle(kept)
        return sorted(kept[: self.num_requests]), held_out

    def edits(self) -> Iterator[tuple[Request, list[Edit]]]:
        """The pairs of each request."""
        for request in self.requests()[0]:
            rng = random.Random(f"prompts {self.seed} {request}")
            yield request, list(edits_of(request, rng, self.pairs_per_request, self.nouns))


def samples_of(order: PromptOrder) -> Iterator[tuple[str, dict[str, bytes]]]:
    """(key, members by suffix) of each pair, in an order drawn by the seed."""
    found = [sample for request, edits in order.edits() for sample in _of_request(request, edits, order.size_px)]
    random.Random(f"order {order.seed}").shuffle(found)
    yield from found


def _of_request(request: Request, edits: list[Edit], size_px: int) -> Iterator[tuple[str, dict[str, bytes]]]:
    images = [(png_of(edit.source, size_px), png_of(edit.target, size_px)) for edit in edits]
    roles = [member(name) for name in ("example_source_images", "example_target_images")]
    group = hashlib.sha256(request.worded(0).encode()).hexdigest()[:ID_HEX_DIGITS]
    for number, edit in enumerate(edits):
        source, target = images[number]
        key = f"{hashlib.sha256(source).hexdigest()[:ID_HEX_DIGITS]}-e{number}-{group[:4]}"
        members = {member("source_images").suffix("png"): source, member("target_image").suffix("png"): target}
        others = (images[number + 1 :] + images[:number])[:MAX_EXAMPLES]
        members |= {
            role.suffix("png", place): pair[side]
            for place, pair in enumerate(others) for side, role in enumerate(roles)
        }  # fmt: skip
        members[member("selective_mask_png").suffix()] = mask_png(thing_masks(edit.target, size_px)[0])
        yield key, members | {JSON: json.dumps(_known(key, group, edit), sort_keys=True).encode()}


def _known(key: str, group: str, edit: Edit) -> dict[str, Any]:
    (unified,) = Unifier(None).unify([edit.instruction])
    return {
        "sample_id": key, "session_id": key, "turn": 1, "source_caption": edit.source_caption,
        "target_caption": edit.target_caption, "instruction": edit.instruction, "unified_instruction": unified.text,
        "instruction_unifier": unified.writer, "reverse_instruction": edit.reverse_instruction,
        "source_phrase": edit.source_phrase, "target_phrase": edit.target_phrase, "edit_type": edit.kind,
        "edit_writer": "rule", "instruction_group": group, "split": "train",
    }  # fmt: skip


def write_cases(folder: Path, task: str, count: int, order: PromptOrder) -> None:
    """`count` held-out edits of a task: images first, `cases.jsonl` last. Each has one example.

    No image of a case is one of the dataset. The wordings of one edit share their noise.
    """
    (folder / "images").mkdir(parents=True, exist_ok=True)
    known, held_out = order.requests()
    pool = held_out if task == "out-of-domain" else known
    trained = {picture for _, edits in order.edits() for edit in edits for picture in _pictures(edit, order.size_px)}
    rows: list[dict[str, Any]] = []
    for number in range(count):
        rng = random.Random(f"cases {task} {order.seed} {number}")
        request = rng.choice(pool)
        example, edit = _new_edits(request, rng, order, trained)
        wordings = range(len(WORDINGS[request.kind])) if task == "paraphrases" else [None]
        files = _write_images(folder, f"{number:04d}", edit, example, order.size_px)
        for wording in wordings:
            key = f"{number:04d}" if wording is None else f"{number:04d}-w{wording}"
            text = edit.instruction if wording is None else request.worded(wording)
            rows.append({
                "key": key, "noise": f"{number:04d}", **files, "instruction": text,
                "source_caption": edit.source_caption, "target_caption": edit.target_caption,
                "source_phrase": edit.source_phrase, "edit_type": edit.kind,
            })  # fmt: skip
    temporary = folder / "cases.jsonl.tmp"
    temporary.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    temporary.replace(folder / "cases.jsonl")


def _new_edits(request: Request, rng: random.Random, order: PromptOrder, trained: set[bytes]) -> tuple[Edit, Edit]:
    """(example, edit) of the request, in any wording, none of whose images is another's or one of `trained`."""
    while True:
        example = edit_of(request, rng, nouns=order.nouns)
        edit = edit_of(request, rng, rng.randrange(len(WORDINGS[request.kind])), order.nouns)
        pictures = [*_pictures(example, order.size_px), *_pictures(edit, order.size_px)]
        if len(set(pictures)) == len(pictures) and not trained & set(pictures):
            return example, edit


def _pictures(edit: Edit, size_px: int) -> tuple[bytes, bytes]:
    return render(edit.source, size_px).tobytes(), render(edit.target, size_px).tobytes()


def _write_images(folder: Path, key: str, edit: Edit, example: Edit, size_px: int) -> dict[str, Any]:
    """Write the images of a case. Return the fields of its line that name them."""
    pixels = {
        "source": render(edit.source, size_px), "target": render(edit.target, size_px),
        "mask": edit_mask(edit, size_px).astype(np.uint8) * 255,
        "selective": thing_masks(edit.target, size_px)[0].astype(np.uint8) * 255,
        "before": render(example.source, size_px), "after": render(example.target, size_px),
    }  # fmt: skip
    files = {name: f"images/{key}.{name}.png" for name in pixels}
    for name, values in pixels.items():
        Image.fromarray(values).save(folder / files[name], "PNG")
    named = {name: files[name] for name in ("source", "target", "mask")}
    return {**named, "selective": files["selective"], "examples": [[files["before"], files["after"]]]}


def main(argv: Sequence[str] | None = None) -> int:
    """Write what the command line orders. Return 0."""
    parser = argparse.ArgumentParser(
        prog="python -m zoo.write_visual_prompts", description=str(__doc__).split(":", 1)[0]
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--requests", type=int, default=200, help="instructions (%(default)s)")
    parser.add_argument("--pairs", type=int, default=3, help="pairs that follow each of them (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="which requests and scenes (%(default)s)")
    parser.add_argument("--size-px", type=int, default=SIZE_PX, help="side of the images (%(default)s)")
    parser.add_argument("--cases", type=Path, help="folder for benchmarks of held-out edits, one below it each")
    parser.add_argument("--num-cases", type=int, default=60, help="edits in each of them (%(default)s)")
    given = parser.parse_args(argv)
    if min(given.requests, given.num_cases) < 1 or given.pairs < 2 or given.seed < 0 or given.size_px < MIN_SIZE_PX:
        parser.error(f"needs a request, two pairs of each, a case, a seed of 0 or more and {MIN_SIZE_PX} px")
    order = PromptOrder(
        seed=given.seed, num_requests=given.requests, pairs_per_request=given.pairs, size_px=given.size_px
    )
    if given.requests > (most := len(split_requests(0, order.held_out_frac)[0])):
        parser.error(f"there are {most} instructions that are not held out")
    print(f"{write_shards(given.folder, NAME, samples_of(order), SAMPLES_PER_SHARD)} pairs in {given.folder}")
    if given.cases:
        for task in TASKS:
            write_cases(given.cases / task, task, given.num_cases, order)
            print(f"{given.num_cases} edits in {given.cases / task}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
