"""For each stage of the catalogue: settings, another value for every setting, and a small input made in code.

`tests/contract/test_stages.py` runs over this table. A new stage adds an entry to `CASES`; that is all.
"""

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from _plain_pairs import Loader
from _web import Answer, Web
from PIL import Image

from models.protocols import BoxMasks, Detections, Segments
from pipeline.context import Context
from pipeline.plan.plugins import load_model
from pipeline.store.folder_store import FolderStore
from pipeline.store.storage import Storage
from samples.columns import SAMPLE_ID, column
from samples.stored_images import mask_png
from stages.candidates.stage import WaveSpeed
from stages.download.settings import DownloadSpeed
from stages.index import Index
from stages.regions.shapes import filled_boxes

CAPTIONS = ["a red bus on the street", "", "two black dogs in the snow", None, "img_0001.jpg", "the big house"]


@dataclass(frozen=True)
class Case:
    """`make_input(tmp_path)` gives a table (map, expand), tables by shard (whole, sink) or inputs (source)."""

    make_input: Callable[[Any], Any]
    other: dict[str, Any]
    """Another valid value for every setting."""
    settings: dict[str, Any] = field(default_factory=dict)
    context: Callable[[Any], dict[str, Any]] = lambda tmp_path: {}
    """Called with tmp_path: what the stage finds in its `Context` (store, gatherer, artifacts …)."""


def png(number, size=(80, 72)):
    image = Image.new("RGB", size, (40 * number % 256, 90, 200))
    image.paste((255, 255, 0), (number * 5, 10, number * 5 + 20, 50))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def rows(**columns):
    """A table of the named columns under ids of the kind that sources make."""
    count = len(next(iter(columns.values())))
    ids = [hashlib.sha256(str(n).encode()).hexdigest()[:16] for n in range(count)]
    arrays = {name: pa.array(values, column(name).type) for name, values in columns.items()}
    return pa.table({SAMPLE_ID: pa.array(ids, pa.string()), **arrays})


def captions(tmp_path):
    return rows(caption=CAPTIONS)


def captions_of_two_shards(tmp_path):
    table = rows(caption=CAPTIONS)
    return {"a": table.slice(0, 4), "b": table.slice(4)}


def images(tmp_path):
    return rows(source_raw=[png(1), b"no image", png(2), png(3)[:-40], png(4, (8, 8)), png(5)])


def hashed_images(tmp_path):
    table = rows(
        source_sha256=[hashlib.sha256(str(n % 4).encode()).hexdigest() for n in range(6)],
        source_dhash=[2**40 * (n % 4) * 0x1111 for n in range(6)],
        original_width_px=[100 + n for n in range(6)],
        original_height_px=[100] * 6,
        caption_num_words=[3] * 6,
    )
    return {"a": table.slice(0, 3), "b": table.slice(3)}


def normalised(tmp_path):
    table = rows(
        source_images=[[png(n)] for n in range(4)],
        source_format=["png"] * 4,
        duplicate_cluster_id=["x"] * 4,
        caption=["one", None, "drei ü", "four"],
        source_dhash=[2**63 + 1] * 4,
    )
    return {"a": table.slice(0, 3), "b": table.slice(3)}


def emitted(tmp_path):
    """Pairs with all that the sink may hold, and one sample without a mask."""
    tables = normalised(tmp_path)
    columns = {
        "target_image": lambda n: png(n + 9), "target_format": lambda n: "png",
        "source_mask_png": lambda n: png(n) if n else None, "target_mask_png": png, "source_latent": lambda n: b"npy",
        "target_latent": lambda n: b"npy", "anchor_image": png, "anchor_format": lambda n: "png",
        "region_mask_png": png, "soft_mask_png": png, "is_whole_image": lambda n: n == 1,
        **{f"example_{side}_images": lambda n: [png(n)] * n for side in ("source", "target")},
        **{f"example_{side}_formats": lambda n: ["png"] * n for side in ("source", "target")},
        "candidates": lambda n: None if n else [{"number": 1, "is_kept": True, "seed": 7}],
    }  # fmt: skip
    for shard, table in tables.items():
        for name, value in columns.items():
            values = pa.array([value(n) for n in range(table.num_rows)], column(name).type)
            tables[shard] = tables[shard].append_column(name, values)
    return tables


def webdataset(tmp_path):
    path = tmp_path / "shard.tar"
    with tarfile.open(path, "w") as tar:
        for number, caption in enumerate(CAPTIONS):
            members = [("png", png(number)), ("json", b'{"url": "https://example.org/1"}')]
            members += [] if caption is None else [("txt", caption.encode())]
            for suffix, content in members:
                info = tarfile.TarInfo(f"{number:04d}.{suffix}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return [str(path)]


def image_folder(tmp_path):
    lines = []
    for number, caption in enumerate(CAPTIONS):
        (tmp_path / f"{number}.png").write_bytes(png(number))
        lines.append(json.dumps({"file_name": f"{number}.png", "text": caption}))
    (tmp_path / "metadata.jsonl").write_text("\n".join(lines))
    return [str(tmp_path)]


def edited(tmp_path):
    """Rows as they are after an edit: captions and phrases next to the source image."""
    return rows(
        source_images=[[png(n)] for n in range(4)],
        source_caption=["a red car", "a blue cat", "", "a tree"],
        target_caption=["a red bus", "a black cat", "a dog", "a bush"],
        source_phrase=["car", "blue cat", "", "tree"],
        target_phrase=["bus", "black cat", "dog", "bush"],
        target_image=[png(n + 4) for n in range(4)],
    )


def edited_regions(tmp_path):
    """Edits of which two share a region and one has none."""
    masks = [mask_png(filled_boxes([box], 72, 80)) for box in ([5, 5, 60, 50], [0, 0, 80, 72])]
    values = pa.array([masks[0], masks[1], None, masks[1]], pa.binary())
    return edited(tmp_path).append_column("region_mask_png", values)


def instructed(tmp_path):
    """Edits of which two have the same instruction and one has none."""
    return rows(instruction=["make it snow", "add a dog", "make it snow", None, ""])


def orders(tmp_path):
    """Edits of photographs, as they are before pairs are drawn over them."""
    return rows(
        source_images=[[png(n)] for n in range(5)],
        source_format=["png"] * 5,
        source_caption=["a red car", "a blue cat", "", "a tree", None],
        target_caption=["a red bus", "a black cat", "a dog", "a bush", "a cat"],
    )


def region_orders(tmp_path):
    """Edits of photographs with a region: with a soft ring, without one, and of the whole image."""
    regions = [filled_boxes([box], 72, 80) for box in ([5, 5, 60, 50], [5, 5, 60, 50], [0, 0, 80, 72])] * 2
    cores = [filled_boxes([box], 72, 80) for box in ([9, 9, 50, 40], [5, 5, 60, 50], [0, 0, 80, 72])] * 2
    table = orders(tmp_path)
    for name, masks in (("region_mask_png", regions), ("core_mask_png", cores)):
        table = table.append_column(name, pa.array([mask_png(one) for one in masks[:5]], pa.binary()))
    return table


def pairs_to_group(tmp_path):
    """Pairs of five instructions, two of them in near words, of which some are of one photograph, and one without."""
    texts = ["make it snow", "let it snow now", "add a dog", "make it night", "paint it"]
    table = rows(
        unified_instruction=[*(texts[n % 5] for n in range(32)), None],
        source_dhash=[n // 2 if n > 28 else 100 + n for n in range(33)],
    )
    return {"a": table.slice(0, 20), "b": table.slice(20)}


class WordVectors:
    """A dimension for each of some words."""

    dim = 5

    def encode_texts(self, texts):
        vectors = np.array(
            [[word in text.split() for word in ("snow", "add", "night", "paint", "now")] for text in texts]
        )
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def without(table, *names):
    return table.select([n for n in table.column_names if n not in names])


def targets(tmp_path):
    return rows(target_id=["b", "a", "b", "c"])


class LaconicCaptioner:
    """Says nothing of every image but those whose first pixel is dark."""

    def caption(self, images):
        return ["a  dark picture" if image.getpixel((0, 0))[0] < 100 else " " for image in images]


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


def pairs_by_id(ids):
    """A gatherer of the pairs a, b and c, of which the last has no target."""
    targets = [None if i == "c" else png(ord(i)) for i in ids]
    columns = {"target_image": targets, "target_format": [None if one is None else "png" for one in targets]}
    table = images_by_id(ids)
    for name, values in columns.items():
        table = table.append_column(name, pa.array(values, column(name).type))
    return table


def images_by_id(ids):
    """A gatherer of `source_images` and `source_format` for the ids a, b, c."""
    images = {"a": png(1), "b": png(2), "c": png(3)}
    return pa.table(
        {
            SAMPLE_ID: pa.array(list(ids), pa.string()),
            "source_images": pa.array([[images[i]] for i in ids], pa.list_(pa.binary())),
            "source_format": pa.array(["png"] * len(ids), pa.string()),
        }
    )


def named_objects(tmp_path):
    """Images with the things that an edit of each changes. No box is found for `nothing`."""
    return rows(
        source_images=[[png(n % 2)] for n in range(5)],
        edit_objects=[["a bus", "dog"], [], ["nothing"], ["dog"], None],
    )


def boxed_objects(tmp_path):
    return rows(
        source_images=[[png(n % 2)] for n in range(4)],
        object_boxes=[[[1.0, 2.0, 30.0, 40.0], [10.0, 0.0, 80.0, 72.0]], [], [[5.0, 5.0, 9.5, 9.0]], None],
    )


def masked_objects(tmp_path):
    """Boxes 20 px wide and high, and a mask of each: a disc, one of two discs, a speck, nearly the whole image."""
    height_px, width_px = 60, 64
    row_HW, column_HW = np.mgrid[:height_px, :width_px]

    def disc(radius_px, x=20):
        return mask_png((row_HW - 30) ** 2 + (column_HW - x) ** 2 <= radius_px**2)

    return rows(
        edit_objects=[["a bus"], [], ["dog", "cat"], ["fly"], ["sky"]],
        object_boxes=[
            [[10, 20, 30, 40]],
            [],
            [[10, 20, 30, 40], [40, 20, 60, 40]],
            [[19, 29, 21, 31]],
            [[0, 0, 64, 60]],
        ],
        object_masks_png=[[disc(9)], [], [disc(9), disc(9, 50)], [disc(0)], [disc(90)]],
        width_px=[width_px] * 5,
        height_px=[height_px] * 5,
    )


def tagged(tmp_path):
    """Edits with captions, and the things that were found on their images."""
    return rows(
        instruction=["make the bus red", "add a dog", "replace the cat with a dog", "make it snow"],
        source_caption=["a blue bus", "a meadow", "a cat", None],
        target_caption=["a red bus", "a meadow with a dog", "a dog", "snow"],
        object_tags=[["bus", "road"], [], ["cat"], None],
        source_phrase=["blue bus", "", "cat", "place"],
        edit_type=["change_colour", "add", None, "transform_global"],
    )


def word_counts(tmp_path):
    """The counts of `count_words` for CAPTIONS."""
    counts = {"bus": 5, "street": 5, "dogs": 5, "snow": 5, "house": 5, "red": 9}
    path = tmp_path / "vocabulary.json"
    path.write_text(json.dumps({"captions": 6, "words": counts}))
    return {"artifacts": {"vocabulary": path}}


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


FAKES = {
    "Detector": BoxesByLength, "BoxSegmenter": WholeBoxes, "TextGenerator": NamesByPrompt,
    "PanopticSegmenter": HalvesByColour,
}  # fmt: skip


def scored(tmp_path):
    table = rows(
        source_mask_frac=[0.1, 0.001, 0.95, 0.3, 0.2, 0.2],
        target_mask_frac=[0.1, 0.2, 0.2, 0.2, 0.2, 0.2],
        source_caption_cos=[0.3] * 6,
        target_caption_cos=[0.3, 0.3, 0.3, 0.1, 0.3, 0.25],
        target_margin_cos=[0.1] * 6,
        pair_image_cos=[0.8] * 6,
        pair_direction_cos=[0.3] * 6,
        retrieval_cos=[0.5] * 6,
        target_id=["a", "a", "a", "b", "b", "b"],
        edit_type=["change_colour"] * 6,
    )
    return {"a": table.slice(0, 4), "b": table.slice(4)}


def embedded(tmp_path, number=6):
    """Rows with vectors of the size of zoo:clip's. The last is opposite to all others."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((number, 128)) + 12 * np.eye(128)[0]
    vectors[-1] *= -1
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return rows(
        image_embedding=list(vectors.astype(np.float16)),
        source_sha256=[hashlib.sha256(str(n).encode()).hexdigest() for n in range(number)],
        target_caption=[f"a {colour} bus" for colour in ("red", "blue", "red", "green", "black", "white")[:number]],
    )


def embedded_in_two_shards(tmp_path):
    table = embedded(tmp_path).select([SAMPLE_ID, "image_embedding"])
    return {"a": table.slice(0, 4), "b": table.slice(4)}


def indexed(tmp_path):
    """The index of `embedded`."""
    tables = list(embedded_in_two_shards(tmp_path).items())
    list(Index().open(Context(stage_name="index", artifact_dir=tmp_path))(lambda: tables))
    return {"artifacts": {"index": tmp_path / "index"}}


def laion(tmp_path):
    """A table of URLs on a web that stays as long as the tests do."""
    web = Web({f"/{n}.png": Answer(png(n), headers={"Content-Type": "image/png"}) for n in (0, 2, 4)})
    found = [{"URL": web.url(f"/{n}.png"), "TEXT": caption} for n, caption in enumerate(CAPTIONS)]
    pq.write_table(pa.Table.from_pylist(found), tmp_path / "part.parquet")
    return [str(tmp_path)]


SYNTHESIS = {
    "model": "zoo:sd", "encoder": "zoo:clip", "preset": None, "keep": 2, "max_candidates": 3,
    "bounds": {"pair_l1": {"min": 0.2, "max": 0.3}},
}  # fmt: skip
OTHER_SYNTHESIS = {
    "model": "zoo:other", "encoder": "zoo:other", "image_encoder": "zoo:dino", "size_px": 32, "shares_noise": False,
    "max_self_tokens": 16, "attention_edit": "replace", "target_weight": 2.0, "local_blend": True, "blend_grid": 2,
    "as_released": True, "num_steps": (2,), "strength": 0.9, "guidance_scale": (1.0, 2.0),
    "attention_frac": (0.5, 0.5), "keep": 1, "max_candidates": 9, "preset": "instruct-pix2pix", "bounds": {},
    "keep_anchor": False, "format": "jpg", "quality": 50, "speed": WaveSpeed(pairs_per_wave=1),
}  # fmt: skip


TRIPLES = [
    {"input": "a cat", "edit": "add a hat", "output": "a cat in a hat"},
    {"input": "a red car", "edit": "make it blue", "output": "a blue car", "inverse_edit": "make it red"},
    {"input": "a dog", "output": "two dogs"},
    {"edit": "add a dog", "output": "a dog"},
]


def edit_table(tmp_path):
    """HQ-Edit's layout, with texts that lack, an image that is empty and one that is not there."""
    images = [[{"bytes": png(4 * n + side), "path": None} for n in range(len(TRIPLES))] for side in (0, 1)]
    lacking = [{**TRIPLES[0], "input_image": {"bytes": b"", "path": None}, "output_image": images[1][0]},
               {**TRIPLES[0], "input_image": None, "output_image": images[1][0]}]  # fmt: skip
    found = [{**row, "input_image": a, "output_image": b} for row, a, b in zip(TRIPLES, *images, strict=True)]
    names = ("input_image", "input", "edit", "inverse_edit", "output", "output_image")
    columns = {name: [row.get(name) for row in found + lacking] for name in names}
    pq.write_table(pa.table(columns), tmp_path / "part.parquet")
    return [str(tmp_path)]


def edit_texts(tmp_path):
    (tmp_path / "human.jsonl").write_text("\n".join([*map(json.dumps, TRIPLES), "no JSON", ""]))
    return [str(tmp_path / "human.jsonl")]


def raw_targets(tmp_path):
    sides = {"width_px": 32, "height_px": 24, "original_width_px": 80, "original_height_px": 60}
    targets = [png(1, (80, 60)), png(2, (160, 120)), b"no image", None, png(3, (60, 80)), png(4, (80, 60))]
    masks = [None, png(1, (80, 60)), None, None, None, png(5, (81, 60))]
    texts = {name: [value] * len(targets) for name, value in sides.items()}
    return rows(target_raw=targets, mask_raw=masks, source_format=["png"] * len(targets), **texts)


def forward_edits(tmp_path):
    return rows(
        source_caption=["a red car", "a cat", "", "a house", "a car"],
        target_caption=["a blue car", "a cat with a hat", "a dog", "a house in winter", "a green car"],
        instruction=["make the car blue", "add a hat", "add a dog", "make it winter", "make the car green"],
        reverse_instruction=[None, "take the hat off", None, None, "make the car white"],
    )


class ForgetfulWriter:
    """Undoes the winter, and nothing else."""

    def generate(self, prompts, **_):
        return [json.dumps({"reverse_instruction": "remove the winter"}) for _ in prompts]


class RemovesDogs:
    """Writes the same instruction for every request."""

    def generate(self, prompts, **_):
        return [" remove the dog\n\nRequest: zoom in"] * len(prompts)


CASES = {
    "attach_examples": Case(
        lambda tmp_path: rows(example_ids=[["b", "a"], [], ["c"], None]), {},
        context=lambda tmp_path: {"gatherer": pairs_by_id},
    ),
    "attach_target": Case(targets, {}, context=lambda tmp_path: {"gatherer": images_by_id}),
    "caption": Case(
        lambda tmp_path: without(edited(tmp_path), "target_image"),
        {"model": "zoo:other", "prompt": "a picture of", "max_new_tokens": 5},
        settings={"model": "zoo:blip"},
        context=lambda tmp_path: {"loader": lambda *_, **__: LaconicCaptioner()},
    ),
    "embed": Case(edited, {"model": "zoo:other"}, settings={"model": "zoo:clip"}),
    "encode_latents": Case(
        edited_regions, {"model": "zoo:other", "size_px": 32, "with_region": False},
        settings={"model": "zoo:sd", "size_px": 64, "with_region": True},
    ),
    "encode_texts": Case(
        instructed, {"model": "zoo:other"}, settings={"model": "zoo:sd"},
        context=lambda tmp_path: {"loader": lambda *_, **__: NumbersOfWords()},
    ),
    "index": Case(
        embedded_in_two_shards,
        {
            "pools": {"first": "a*"}, "memory_budget_bytes": 1 << 30, "flat_below": 10, "num_probes": 4, "rerank": 5,
            "seed": 1,
        },
    ),
    "mask_phrase": Case(edited, {"model": "zoo:other", "threshold": 0.5}, settings={"model": "zoo:clipseg"}),
    "mask_selective_area": Case(
        edited,
        {"model": "zoo:other", "labels": ("car",), "language_model": None, "min_score": 0.9, "min_frac": 0.2},
        settings={"model": "zoo:mask2former", "language_model": "zoo:llm"},
        context=lambda tmp_path: {"loader": lambda p, *_: {**FAKES, "TextGenerator": LooksAtCats}[p]()},
    ),
    "mask_object": Case(
        edited,
        {"detector": "zoo:other", "segmenter": "zoo:other", "threshold": 0.5, "max_iou": 0.5, "max_boxes": 1},
        settings={"detector": "zoo:grounding-dino", "segmenter": "zoo:sam"},
        context=lambda tmp_path: {"loader": lambda protocol, *_: FAKES[protocol]()},
    ),
    "tag_objects": Case(
        lambda tmp_path: edited(tmp_path).append_column("caption", pa.array(["a car", None, "a dog", "a tree"])),
        {
            "model": "zoo:other", "vocabulary": "captions", "words": ("cat", "dog"), "min_corpus_count": 1,
            "lexicon": "wordnet:3.1", "caption_column": "source_caption", "threshold": 0.1, "max_tags": 2,
        },
        settings={"model": "zoo:clip", "threshold": 0.0},
        context=word_counts,
    ),
    "choose_object": Case(
        tagged,
        {
            "model": None, "max_objects": 1, "whole_image_types": ("add",), "max_retries": 1,
            "retry_temperature": 0.5, "max_new_tokens": 32,
        },
        settings={"model": "zoo:llm"},
        context=lambda tmp_path: {"loader": lambda protocol, *_: FAKES[protocol]()},
    ),
    "ground_object": Case(
        named_objects,
        {"model": "zoo:other", "threshold": 0.5, "max_iou": 0.5, "max_boxes": 1},
        settings={"model": "zoo:grounding-dino"},
        context=lambda tmp_path: {"loader": lambda protocol, *_: FAKES[protocol]()},
    ),
    "segment_box": Case(
        boxed_objects,
        {"model": "zoo:other"},
        settings={"model": "zoo:sam"},
        context=lambda tmp_path: {"loader": lambda protocol, *_: FAKES[protocol]()},
    ),
    "build_region": Case(
        masked_objects,
        {
            "region": "box", "core": "hull", "many_contours": 2, "margin_frac": 0.1, "min_speck_frac": 0.1,
            "min_contours": 2, "max_contours": 400, "min_frac": 0.2, "max_frac": 0.5,
        },
    ),
    "retrieve": Case(
        embedded,
        {
            "model": "zoo:other", "text_weight": 0.7, "num_neighbours": 2, "max_image_cos": 0.9,
            "min_retrieval_cos": 0.1, "pools": ("all",),
        },
        settings={"model": "zoo:clip", "text_weight": 0.1, "num_neighbours": 3, "min_retrieval_cos": 0.2},
        context=indexed,
    ),
    "score_edit": Case(
        edited, {"encoder": "zoo:other", "image_encoder": None},
        settings={"encoder": "zoo:clip", "image_encoder": "zoo:dino"},
    ),
    "synthesise_pair": Case(
        orders, {**OTHER_SYNTHESIS, "anchor": "none"}, settings={**SYNTHESIS, "strength": 1.0},
        context=lambda tmp_path: {"loader": Loader()},
    ),
    "synthesise_region": Case(
        region_orders,
        {
            **OTHER_SYNTHESIS, "source": "photograph", "ring_values": (0.2,), "ring_share": 0.1, "blend_steps": "even",
            "blends_last": False, "keeps_outside": False,
        },
        settings=SYNTHESIS, context=lambda tmp_path: {"loader": Loader()},
    ),
    "score_pair": Case(edited, {"model": "zoo:other"}, settings={"model": "zoo:clip"}),
    "select": Case(
        scored,
        {
            "preset": "instruct-pix2pix",
            "bounds": {"source_mask_frac": {"min": 0.02, "max": 0.9}},
            "bounds_by_edit_type": {"replace_noun": {"target_caption_cos": {"min": 0.2}}},
            "best": [{"per": "target_id", "keep": 2, "by": "target_caption_cos"}],
        },
        settings={
            "bounds": {"source_mask_frac": {"min": 0.01, "max": 0.9}, "target_caption_cos": {"min": 0.05}},
            "bounds_by_edit_type": {"change_colour": {"target_caption_cos": {"min": 0.2}}},
            "best": [{"per": "target_id", "keep": 1, "by": "target_caption_cos"}],
        },
    ),
    "count_words": Case(captions_of_two_shards, {"caption_column": "generated_caption"}),
    "dedup": Case(hashed_images, {"max_distance": 0}),
    "edit_caption_wordnet": Case(
        captions,
        {
            "lexicon": "wordnet:3.1", "caption_column": "generated_caption",
            "edits_per_caption": 2, "cohyponym_depth": 1, "scope": "any",
            "vocabulary": "corpus", "min_zipf": 1.0, "min_corpus_count": 1, "candidates_per_word": 1,
        },
        settings={"edits_per_caption": 3},
    ),
    "emit": Case(emitted, {"report_samples": 3}),
    "group_by_instruction": Case(
        pairs_to_group,
        {
            "text_column": "instruction", "encoder": "zoo:other", "near_cos": 0.5, "out_of_domain_frac": 0.4,
            "in_domain_frac": 0.0, "max_examples": 1,
        },
        settings={"encoder": "zoo:clip", "near_cos": 0.6, "out_of_domain_frac": 0.2, "in_domain_frac": 0.2},
        context=lambda tmp_path: {"loader": lambda *_, **__: WordVectors()},
    ),
    "filter_caption": Case(
        captions, {"min_words": 1, "max_words": 9, "min_letters_frac": 0.1, "max_repeated_frac": 0.1}
    ),
    "normalise_image": Case(
        images,
        {
            "shorter_side_px": 48, "fit": "pad", "upscale": False, "min_side_px": 1, "max_aspect_ratio": 9.0,
            "max_pixels": 10_000, "animated": "first", "format": "png", "quality": 50,
        },
        settings={"shorter_side_px": 32},
    ),
    "grow_examples": Case(
        captions_of_two_shards,
        {
            "model": "zoo:other", "caption_column": "generated_caption", "shares": {"replace": 2.0},
            "examples": "path:other.jsonl", "num_instructions": 1, "num_examples": 1, "repeats_caption": True,
            "temperature": 0.1, "max_new_tokens": 99, "max_retries": 0, "max_repairs": 1, "min_instruction_words": 3,
            "max_instruction_words": 40, "min_caption_words": 1, "max_caption_words": 50, "target_size": 9,
            "max_rounds": 3, "captions_per_round": 2, "encoder": "zoo:other", "max_cos": 0.5,
        },
        settings={"model": "zoo:llm", "shares": {"replace": 1.0}, "max_rounds": 2, "captions_per_round": 3},
        context=lambda tmp_path: {"loader": write_edits_models},
    ),
    "normalise_target": Case(
        raw_targets,
        {
            "fit": "pad", "max_shape_difference": 0.1, "max_pixels": 10_000, "mask_region": "transparent",
            "quality": 50,
        },
    ),
    "read_edit_texts": Case(edit_texts, {"columns": {"instruction": "request"}, "rows_per_shard": 2}),
    "read_edit_triples": Case(
        edit_table,
        {
            "layout": "pair_folders", "columns": {"instruction": "request"}, "rows_per_shard": 2,
            "require_captions": False, "require_target": False, "max_image_bytes": 9,
        },
    ),
    "read_image_folder": Case(
        image_folder,
        {
            "file_column": "image", "caption_column": "caption", "rows_per_shard": 2, "require_caption": False,
            "max_image_bytes": 9,
        },
    ),
    "read_laion": Case(
        laion,
        {
            "url_column": "url", "caption_column": "alt", "rows_per_shard": 2, "require_caption": False,
            "similarity_column": "clip", "punsafe_column": "unsafe", "pwatermark_column": "mark",
            "width_column": "width", "height_column": "height", "min_similarity": 0.3, "max_punsafe": 0.5,
            "max_pwatermark": 0.5, "min_width_px": 9, "min_height_px": 9, "max_aspect_ratio": 3.0,
            "respect_opt_out": False, "opt_out_directives": ("noai",), "user_agent": "somebody", "allowed_hosts": (),
            "content_types": ("image/png",), "max_redirects": 1, "max_image_bytes": 9, "max_pixels": 9,
            "stored_side_px": 64, "speed": DownloadSpeed(attempts=2, timeout_s=1.0),
        },
        settings={"allowed_hosts": ("127.0.0.1",), "speed": DownloadSpeed(attempts=1)},
        context=lambda tmp_path: {"store": FolderStore(Storage(str(tmp_path / "run")), "store")},
    ),
    "write_reverse": Case(
        forward_edits,
        {
            "model": "zoo:other", "keep_existing": "never", "use_rules": False, "examples": "path:other.jsonl",
            "num_examples": 1, "temperature": 0.1, "max_new_tokens": 9, "max_retries": 0, "max_words": 9,
        },
        settings={"model": "zoo:llm"},
        context=lambda tmp_path: {"loader": lambda *_, **__: ForgetfulWriter()},
    ),
    "write_edits": Case(
        captions,
        {
            "model": "zoo:other", "caption_column": "generated_caption", "edits_per_caption": 1,
            "shares": {"replace": 2.0}, "examples": "path:other.jsonl", "grown_examples": True, "num_instructions": 1,
            "num_examples": 1, "repeats_caption": True, "temperature": 0.1, "max_new_tokens": 99, "max_retries": 0,
            "max_repairs": 1, "min_instruction_words": 3, "max_instruction_words": 40, "min_caption_words": 1,
            "max_caption_words": 50, "wordnet_frac": 0.5, "lexicon": "wordnet:3.1", "captions_per_instruction": 5,
            "further_captions": "wordnet", "vocabulary": "captions", "min_corpus_count": 1,
        },
        settings={
            "model": "zoo:llm", "shares": {"replace": 1.0}, "wordnet_frac": 0.3, "lexicon": "wordnet:3.0",
            "captions_per_instruction": 3,
        },
        context=lambda tmp_path: {"loader": write_edits_models},
    ),
    "unify_instruction": Case(
        lambda tmp_path: rows(instruction=["The dog has to go", "turn it RED", "paint it red!", None, "?", "zoom in"]),
        {"model": "zoo:other", "max_new_tokens": 9},
        context=lambda tmp_path: {"loader": lambda *_, **__: RemovesDogs()},
    ),
    "read_webdataset": Case(webdataset, {"require_caption": False, "max_image_bytes": 9}),
}  # fmt: skip
