"""Small inputs of the stages of the catalogue, made in code: tables, folders, and what gathers rows."""

import hashlib
import io
import json

import numpy as np
import pyarrow as pa
from PIL import Image

from models.hash_lists import HashList
from pipeline.context import Context
from samples.columns import SAMPLE_ID, column
from samples.perceptual_hashes import image_hash
from samples.stored_images import made_image, mask_png
from stages.index import Index
from stages.regions.shapes import filled_boxes

CAPTIONS = ["a red bus on the street", "", "two black dogs in the snow", None, "img_0001.jpg", "the big house"]


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


def listed_images(tmp_path):
    """A list of hashes with the source of the first row of `edited` and the target of its last."""
    batch = edited(tmp_path)
    pngs = [batch["source_images"][0].as_py()[0], batch["target_image"][3].as_py()]
    hashes = [image_hash(made_image(one)) for one in pngs]
    dhash, phash = ([one[place] for one in hashes] for place in (0, 1))
    return HashList(name="listed", num_images=2, dhash_N=np.array(dhash, np.uint64), phash_N=np.array(phash, np.uint64))


def edited_both_ways(tmp_path):
    """Edits with the instructions of both ways, of which one row has none."""
    forward = ["turn the car into a bus", "make the cat black", None, "turn the tree into a bush"]
    back = ["turn the bus into a car", "make the cat blue", "", "turn the bush into a tree"]
    return (
        edited(tmp_path)
        .append_column("instruction", pa.array(forward))
        .append_column("reverse_instruction", pa.array(back))
    )


def edits_to_make(tmp_path):
    """Edits before there is a target: one that is refused, one that changes nothing at times, one without words."""
    return rows(
        source_images=[[png(n)] for n in range(5)],
        instruction=["make it red", "refuse", "do nothing at times", " ", "do nothing"],
    )


def first_edits(tmp_path):
    """Captions before and after a first edit, of which one has no caption and one gives no further edit."""
    return rows(
        source_caption=["a bus near a house", "cats near a house", "a bus", None, "a bus near a tower"],
        target_caption=["a red bus near a house", "dogs near a house", " ", None, "a red thing"],
    )


def sessions_to_make(tmp_path):
    """First edits with the turns to come: two, one that is refused, none, and one that changes the same word again."""
    turns = [
        [turn("make the cat black", "a red bus and a black cat"), turn("add a dog", "a red bus, a black cat, a dog")],
        [turn("refuse", "a red car and a dog")],
        None,
        [turn("make the bus green", "a green bus and a cat")],
    ]
    return rows(
        source_images=[[png(n)] for n in range(4)],
        source_format=["png"] * 4,
        target_image=[png(n + 4) for n in range(4)],
        target_format=["png"] * 4,
        instruction=["make the bus red"] * 4,
        reverse_instruction=["make the bus blue", None, None, "make the bus blue"],
        edit_type=["change_colour"] * 4,
        source_caption=["a blue bus and a cat"] * 4,
        target_caption=["a red bus and a cat"] * 4,
        further_turns=turns,
    )


def turn(instruction, target_caption, **texts):
    """A turn that was written, as `write_turns` leaves it."""
    return {"instruction": instruction, "target_caption": target_caption, "edit_type": "change_colour", **texts}


def edited_regions(tmp_path):
    """Edits of which two share a region and one has none."""
    masks = [mask_png(filled_boxes([box], 72, 80)) for box in ([5, 5, 60, 50], [0, 0, 80, 72])]
    values = pa.array([masks[0], masks[1], None, masks[1]], pa.binary())
    return edited(tmp_path).append_column("region_mask_png", values)


def edited_regions_with_instructions(tmp_path):
    """Edits of which one has no instruction."""
    asked = ["make it a bus", "make the cat black", None, "make the tree a bush, please"]
    return edited_regions(tmp_path).append_column("instruction", pa.array(asked, pa.string()))


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


def without(table, *names):
    return table.select([n for n in table.column_names if n not in names])


def targets(tmp_path):
    return rows(target_id=["b", "a", "b", "c"])


def pairs_by_id(ids):
    """A gatherer of the pairs a, b and c, of which the last has no target."""
    targets = [None if i == "c" else png(ord(i)) for i in ids]
    columns = {"target_image": targets, "target_format": [None if one is None else "png" for one in targets]}
    table = images_by_id(ids)
    for name, values in columns.items():
        table = table.append_column(name, pa.array(values, column(name).type))
    return table


def images_by_id(ids):
    """A gatherer of `source_images`, `source_format` and `source_licence` for the ids a, b, c."""
    images = {"a": png(1), "b": png(2), "c": png(3)}
    return pa.table(
        {
            SAMPLE_ID: pa.array(list(ids), pa.string()),
            "source_images": pa.array([[images[i]] for i in ids], pa.list_(pa.binary())),
            "source_format": pa.array(["png"] * len(ids), pa.string()),
            "source_licence": pa.array(["cc-by-4.0"] * len(ids), pa.string()),
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


def ranked(tmp_path):
    """Candidates of edits: a pair over two shards, one below the bound, one without a score, and one alone."""
    table = rows(
        parent_id=["p", "p", "q", "q", "q", "r", "r", None],
        target_id=list("aabbccdd"),
        target_caption_cos=[0.3, 0.9, 0.5, 0.7, 0.2, 0.6, 0.6, 0.4],
        pair_direction_cos=[0.1, None, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8],
        pair_image_cos=[0.8, 0.9, 0.4, 0.3, 0.9, 0.9, 0.9, 0.9],
    )
    return {"a": table.slice(0, 3), "b": table.slice(3, 3), "c": table.slice(6)}


def paired(tmp_path):
    """Chosen candidates: a pair, one of another source, one without a rejected image, one alone, one twice the same."""
    return rows(
        rejected_id=["same", "other", "empty", None, "twin"],
        source_images=[[png(1)]] * 5,
        target_image=[png(5 + n) for n in range(5)],
    )


def candidates_by_id(ids):
    """A gatherer of the candidates that `paired` names."""
    targets = {"same": png(20), "other": png(21), "empty": None, "twin": png(9)}
    columns = {
        "source_images": [[png(2 if own == "other" else 1)] for own in ids],
        "target_image": [targets[own] for own in ids],
        "target_format": [targets[own] and "png" for own in ids],
    }
    arrays = {name: pa.array(values, column(name).type) for name, values in columns.items()}
    return pa.table({SAMPLE_ID: pa.array(list(ids), pa.string()), **arrays})


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
