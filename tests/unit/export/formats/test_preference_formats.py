"""Exports of preference pairs, read back as their trainers read them."""

import hashlib
import io
import json
from collections import Counter

import numpy as np
import pytest
from _datasets import write_list, write_tar
from _preference_readers import diffusers_dpo, editreward, simpletuner_dpo, table_of
from PIL import Image

from core.settings import checked
from export.formats import find_format
from export.run import export_dataset
from samples.shards import read_shards

FORMATS = ("diffusers-dpo", "simpletuner-dpo", "editreward")
READERS = {"diffusers-dpo": diffusers_dpo, "editreward": editreward}
PUBLISHED = {
    "key": "string", "unique_key": "string", "pair_index": "int32", "instruction": "string", "source_img": "Image",
    "left_output_image": "Image", "right_output_image": "Image", "left_model": "string", "right_model": "string",
    "left_overall_score": "float32", "left_instruction_following_score": "float32",
    "left_quality_aesthetic_score": "float32", "right_overall_score": "float32",
    "right_instruction_following_score": "float32", "right_quality_aesthetic_score": "float32", "vote_type": "string",
    "metadata_index": "int32", "left_img_rel": "string", "right_img_rel": "string",
}  # fmt: skip
"""Columns of TIGER-Lab/EditReward-Data at 32910be, as its card declares them."""
NUM_PAIRS = 60


def image(colour, kind="PNG", size=(24, 16)):
    buffer = io.BytesIO()
    Image.new("RGB" if isinstance(colour, tuple) else "L", size, colour).save(buffer, kind)
    return buffer.getvalue()


def key_of(number):
    return f"{hashlib.sha256(str(number).encode()).hexdigest()[:16]}-e1-c{number % 4 + 1}"


def members(number, **others):
    """A pair: source red, the better edit green, the rejected one blue, all by the number."""
    light = {
        "sample_id": key_of(number), "instruction": f"paint it {number}", "target_caption": f"a thing {number}",
        "rejected_id": f"{key_of(number)[:-1]}0", "preference_score": 0.75, "rejected_score": 0.25,
        "preference_margin": 0.5,
    }  # fmt: skip
    images = {
        "source.png": image((number, 0, 0)), "target.png": image((0, number, 0)), "rejected.png": image((0, 0, number)),
        "region_mask.png": image(255 if number % 2 else 0),
    }  # fmt: skip
    found = images | others
    return {**{name: value for name, value in found.items() if value}, "json": json.dumps(light).encode()}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Pairs in two shards; also one without a rejected edit, one of two sizes, one with two sources, one mixed."""
    folder = tmp_path_factory.mktemp("dataset")
    odd = {
        101: members(101, **{"rejected.png": None}),
        102: members(102, **{"rejected.png": image((0, 0, 9), size=(8, 8))}),
        103: members(103, **{"source1.png": image((9, 9, 9))}),
        104: members(104, **{"rejected.png": None, "rejected.jpg": image((0, 0, 104), "JPEG")}),
    }  # fmt: skip
    shards = [
        {n: members(n) for n in range(NUM_PAIRS // 2)},
        {n: members(n) for n in range(NUM_PAIRS // 2, NUM_PAIRS)} | odd,
    ]
    for number, rows in enumerate(shards):
        write_tar(folder / f"{number:05d}.tar", {key_of(n): one for n, one in rows.items()})
    return write_list(folder, {f"{number:05d}.tar": len(rows) for number, rows in enumerate(shards)})


def exported(dataset, out, name, workers=1, **settings):
    made = checked(find_format(name), settings, name)
    return export_dataset(read_shards(dataset), made, out, split="train", workers=workers, overwrite=False)


def first(picture):
    return picture.getpixel((0, 0))


def rows_of(name, out, tmp_path):
    found = simpletuner_dpo(out) if name == "simpletuner-dpo" else READERS[name](out, tmp_path / "cache")
    return list(found)


@pytest.mark.parametrize("name", FORMATS)
def test_trainer_sees_the_better_edit_as_chosen(name, dataset, tmp_path):
    exported(dataset, tmp_path / "out", name)
    rows = rows_of(name, tmp_path / "out", tmp_path)
    assert len(rows) >= NUM_PAIRS + 1
    for row in rows:
        number = int(row["text"].split()[-1])
        assert row["text"] == (f"paint it {number}" if name == "editreward" else f"a thing {number}")
        if number < 100:
            assert (first(row["chosen"]), first(row["rejected"])) == ((0, number, 0), (0, 0, number))
    assert len({row["text"] for row in rows}) == len(rows)


@pytest.mark.parametrize(("name", "reasons"), [
    ("diffusers-dpo", {"lacks_column": 1}), ("simpletuner-dpo", {"lacks_column": 1, "sizes_differ": 1}),
    ("editreward", {"lacks_column": 1, "several_sources": 1}),
])  # fmt: skip
def test_rows_that_the_trainer_cannot_take_are_listed_with_a_reason(name, reasons, dataset, tmp_path):
    result = exported(dataset, tmp_path, name)
    assert result.left_out == reasons
    assert result.num_rows == NUM_PAIRS + 4 - sum(reasons.values())
    listed = [json.loads(line) for line in (tmp_path / "left_out.jsonl").read_text().splitlines()]
    assert Counter(one["reason"] for one in listed) == reasons
    details = {
        "lacks_column": "it has no rejected_image", "several_sources": "2 source images; the table has one",
        "sizes_differ": "the two edits have 24 x 16 and 8 x 8 pixels; the trainer wants one size",
    }  # fmt: skip
    assert {one["detail"] for one in listed} == {details[reason] for reason in reasons}


def test_labels_and_sides_are_balanced_and_depend_on_the_id_alone(dataset, tmp_path):
    exported(dataset, tmp_path / "dpo", "diffusers-dpo")
    exported(dataset, tmp_path / "reward", "editreward", workers=2)
    labels = {row["text"].split()[-1]: row["label_0"] for row in diffusers_dpo(tmp_path / "dpo", tmp_path / "cache")}
    sides = {row["text"].split()[-1]: row["side"] for row in editreward(tmp_path / "reward", tmp_path / "cache")}
    assert set(labels.values()) == {0.0, 1.0}
    assert 0.3 < np.mean(list(labels.values())) < 0.7
    assert {number: side == "left" for number, side in sides.items()} == {
        number: bool(labels[number]) for number in sides
    }


def test_images_of_diffusers_are_plain_bytes_and_the_label_is_a_number(dataset, tmp_path):
    exported(dataset, tmp_path / "out", "diffusers-dpo")
    table = table_of(tmp_path / "out", tmp_path / "cache")
    assert {name: table.features[name].dtype for name in ("jpg_0", "jpg_1", "label_0", "caption")} == {
        "jpg_0": "binary", "jpg_1": "binary", "label_0": "float64", "caption": "string",
    }  # fmt: skip
    assert isinstance(table[0]["jpg_0"], bytes)
    assert all(row["label_0"] + row["label_1"] == 1 for row in table)


def test_columns_of_editreward_are_the_published_ones(dataset, tmp_path):
    exported(dataset, tmp_path / "out", "editreward")
    features = table_of(tmp_path / "out", tmp_path / "cache").features
    assert {name: getattr(one, "dtype", "") for name, one in features.items() if PUBLISHED[name] != "Image"} == {
        name: dtype for name, dtype in PUBLISHED.items() if dtype != "Image"
    }
    assert list(features) == list(PUBLISHED)
    assert all(type(features[name]).__name__ == "Image" for name, kind in PUBLISHED.items() if kind == "Image")


def test_scores_of_editreward_stay_with_their_side(dataset, tmp_path):
    exported(dataset, tmp_path / "out", "editreward")
    rows = list(editreward(tmp_path / "out", tmp_path / "cache"))
    assert {row["scores"] for row in rows} == {(0.75, 0.25)}
    assert all(first(row["source"]) == (int(row["text"].split()[-1]), 0, 0) for row in rows)


def one_pair(folder, number=1, light=(), **others):
    """A dataset of one pair. `light` overrides columns, `others` members."""
    found = members(number, **others)
    found["json"] = json.dumps(json.loads(found["json"]) | dict(light)).encode()
    write_tar(folder / "00000.tar", {key_of(number): found})
    return write_list(folder, {"00000.tar": 1})


def test_scores_of_which_a_lower_one_is_better_are_left_out(tmp_path):
    (tmp_path / "in").mkdir()
    pair = one_pair(tmp_path / "in", light={"preference_score": 0.25, "rejected_score": 0.75})
    exported(pair, tmp_path / "out", "editreward")
    (row,) = editreward(tmp_path / "out", tmp_path / "cache")
    assert first(row["chosen"]) == (0, 1, 0)
    assert row["scores"] == (None, None)
    assert "as a lower one is better in the dataset: 1\n" in (tmp_path / "out" / "README.md").read_text()


def test_mask_of_another_size_than_the_edits_is_not_used_for_the_loss(tmp_path):
    (tmp_path / "in").mkdir()
    pair = one_pair(tmp_path / "in", 2, **{"region_mask.png": image(0, size=(8, 8))})
    exported(pair, tmp_path / "out", "simpletuner-dpo", mask="first")
    (row,) = simpletuner_dpo(tmp_path / "out")
    assert row["mask"].size == row["chosen"].size
    assert first(row["mask"]) == 255


@pytest.mark.parametrize("mask", [None, "first"])
def test_masks_of_simpletuner_have_the_name_and_ending_of_their_row(mask, dataset, tmp_path):
    exported(dataset, tmp_path, "simpletuner-dpo", mask=mask, resolution=512)
    rows = list(simpletuner_dpo(tmp_path))
    for row in rows:
        number = int(row["text"].split()[-1])
        assert row["mask"] is None if mask is None else first(row["mask"]) == (255 if number % 2 else 0)
    assert {one["resolution"] for one in json.loads((tmp_path / "multidatabackend.json").read_text())[:2]} == {512}


@pytest.mark.parametrize("name", FORMATS)
def test_card_says_what_is_better_and_what_has_no_place(name, dataset, tmp_path):
    exported(dataset, tmp_path, name)
    card = (tmp_path / "README.md").read_text()
    assert "is the control" not in card
    assert "better" in card
    assert "| rejected edit of the same image | `" in card
    assert "| reverse instruction | not carried: no place for it |" in card


def test_other_formats_say_that_rejected_edits_have_no_place(dataset, tmp_path):
    exported(dataset, tmp_path, "omnigen2")
    card = (tmp_path / "README.md").read_text()
    assert "| rejected edit of the same image | not carried: no place for it |" in card
    assert "The target image carries the text (`instruction`), the source image is the control." in card


@pytest.mark.parametrize("name", FORMATS)
def test_files_do_not_depend_on_the_number_of_workers(name, dataset, tmp_path):
    found = []
    for workers in (1, 2):
        out = tmp_path / str(workers)
        exported(dataset, out, name, workers=workers, **({"root": "/data"} if name == "simpletuner-dpo" else {}))
        files = sorted(path for path in out.rglob("*") if path.is_file() and ".export" not in path.parts)
        found.append({path.relative_to(out): path.read_bytes() for path in files})
    assert found[0] == found[1]
