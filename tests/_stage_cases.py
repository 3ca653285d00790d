"""For each stage of the catalogue: settings, another value for every setting, and a small input made in code.

`tests/contract/test_stages.py` runs over this table. A new stage adds an entry to `CASES`; that is all.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from _web import Answer, Web
from PIL import Image

from pipeline.context import Context
from pipeline.plan.plugins import load_model
from pipeline.store.folder_store import FolderStore
from pipeline.store.storage import Storage
from samples.columns import SAMPLE_ID, column
from stages.download.settings import DownloadSpeed
from stages.index import Index

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
        "target_latent": lambda n: b"npy",
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


def without(table, *names):
    return table.select([n for n in table.column_names if n not in names])


def targets(tmp_path):
    return rows(target_id=["b", "a", "b", "c"])


class LaconicCaptioner:
    """Says nothing of every image but those whose first pixel is dark."""

    def caption(self, images):
        return ["a  dark picture" if image.getpixel((0, 0))[0] < 100 else " " for image in images]


class CuriousWriter:
    """Answers by its prompt and seed: edits of the things of `CAPTIONS`, some of them faulty."""

    def generate(self, prompts, *, seeds, **_):
        return [
            self.answer(prompt.rpartition("Caption: ")[2], seed) for prompt, seed in zip(prompts, seeds, strict=True)
        ]

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


def write_edits_models(protocol, model_id, **_):
    if protocol == "TextGenerator":
        return CuriousWriter()
    return load_model(protocol, model_id)


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


CASES = {
    "attach_target": Case(targets, {}, context=lambda tmp_path: {"gatherer": images_by_id}),
    "caption": Case(
        lambda tmp_path: without(edited(tmp_path), "target_image"),
        {"model": "zoo:other", "prompt": "a picture of", "max_new_tokens": 5},
        settings={"model": "zoo:blip"},
        context=lambda tmp_path: {"loader": lambda *_, **__: LaconicCaptioner()},
    ),
    "embed": Case(edited, {"model": "zoo:other"}, settings={"model": "zoo:clip"}),
    "encode_latents": Case(
        edited, {"model": "zoo:other", "size_px": 32}, settings={"model": "zoo:sd", "size_px": 64}
    ),
    "index": Case(
        embedded_in_two_shards,
        {
            "pools": {"first": "a*"}, "memory_budget_bytes": 1 << 30, "flat_below": 10, "num_probes": 4, "rerank": 5,
            "seed": 1,
        },
    ),
    "mask_phrase": Case(edited, {"model": "zoo:other", "threshold": 0.5}, settings={"model": "zoo:clipseg"}),
    "retrieve": Case(
        embedded,
        {
            "model": "zoo:other", "text_weight": 0.7, "num_neighbours": 2, "max_image_cos": 0.9,
            "min_retrieval_cos": 0.1, "pools": ("all",),
        },
        settings={"model": "zoo:clip", "text_weight": 0.1, "num_neighbours": 3, "min_retrieval_cos": 0.2},
        context=indexed,
    ),
    "score_pair": Case(edited, {"model": "zoo:other"}, settings={"model": "zoo:clip"}),
    "select": Case(
        scored,
        {
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
        raw_targets, {"fit": "pad", "max_shape_difference": 0.1, "max_pixels": 10_000, "quality": 50}
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
            "max_caption_words": 50, "wordnet_frac": 0.5, "lexicon": "wordnet:3.1",
        },
        settings={"model": "zoo:llm", "shares": {"replace": 1.0}, "wordnet_frac": 0.3, "lexicon": "wordnet:3.0"},
        context=lambda tmp_path: {"loader": write_edits_models},
    ),
    "read_webdataset": Case(webdataset, {"require_caption": False, "max_image_bytes": 9}),
}  # fmt: skip
