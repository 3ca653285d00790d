"""Each export is read back by its trainer's own rules: the same pairs, texts, masks, and in the right direction."""

import io
import json

import _trainer_readers as readers
import pyarrow.parquet as pq
import pytest
from _export_datasets import image_bytes, key_of, mixed_dataset, row_members, write_export_dataset
from PIL import Image

from core.settings import checked
from export.formats import FORMATS, find_format
from export.run import export_dataset
from samples.shards import read_shards

ONE_SOURCE = {"imagefolder", "onetrainer", "ultraedit", "ultraedit-jsonl", "bagel", "instruct-pix2pix"}
"""Formats that leave rows with several source images out."""
WITH_MASKS = {"ai-toolkit", "diffusion-pipe", "onetrainer", "ultraedit-jsonl"}
READERS = {
    name: getattr(readers, name.replace("-", "_"))
    for name in FORMATS
    if name not in ("huggingface", "imagefolder", "ultraedit", "bagel")
    and "rejected_image" not in find_format(name).needs  # those are in test_preference_formats.py
}


def exported(folder, to, *, dataset=None, split="train", **settings):
    """An export of the mixed dataset, or of another, into a new folder."""
    dataset = dataset or mixed_dataset(folder / "dataset")
    made = checked(find_format(to), settings, to)
    result = export_dataset(read_shards(dataset), made, folder / "out", split=split, workers=1)
    return folder / "out", result


def colour_of(place, number):
    """The colour of row `number`: sources are red, targets are green."""
    return (number, 0, 0) if place == "source" else (0, number, 0)


def is_near(found, wanted):
    """JPEG changes a colour by a level or two."""
    return all(abs(one - other) <= 2 for one, other in zip(found, wanted, strict=True))


@pytest.mark.parametrize("to", READERS)
def test_trainer_reads_pairs_in_the_right_direction(to, tmp_path):
    out, result = exported(tmp_path, to)
    rows = {row["text"]: row for row in READERS[to](out)}
    numbers = [1, 2, 4, 5, 7, 8] if to in ONE_SOURCE else [1, 2, 3, 4, 5, 7, 8]
    assert sorted(rows) == [f"make it colour {number}" for number in numbers]
    assert result.num_rows == len(numbers)
    for number in numbers:
        row = rows[f"make it colour {number}"]
        assert is_near(readers.pixels(row["target"]), colour_of("target", number))
        source = (0, 7, 0) if number == 8 else colour_of("source", number)
        assert is_near(readers.pixels(row["sources"][0]), source)
        assert row.get("id", key_of(number)) == key_of(number)


@pytest.mark.parametrize("to", sorted(set(READERS) - ONE_SOURCE))
def test_several_sources_keep_their_order(to, tmp_path):
    out, _ = exported(tmp_path, to)
    (row,) = [row for row in READERS[to](out) if row["text"] == "make it colour 3"]
    assert [readers.pixels(one) for one in row["sources"]][1] == (3, 3, 3)
    assert len(row["sources"]) == 2


@pytest.mark.parametrize("to", sorted(WITH_MASKS))
def test_mask_is_white_inside_and_absent_where_the_row_has_none(to, tmp_path):
    dataset = write_export_dataset(tmp_path / "dataset", [{1: half_masked(1), 2: without_mask(2)}])
    out, _ = exported(tmp_path, to, dataset=dataset)
    rows = {row["text"]: row for row in READERS[to](out)}
    with Image.open(rows["make it colour 1"]["mask"]) as mask:
        assert [mask.convert("L").getpixel(place) for place in ((0, 0), (47, 31))] == [255, 0]
    other = rows["make it colour 2"]["mask"]
    if to == "ai-toolkit":  # it would train nothing of an image without a mask beside one with a mask
        with Image.open(other) as mask:
            assert (mask.size, mask.convert("L").getextrema()) == ((48, 32), (255, 255))
    else:
        assert other is None


def half_masked(number):
    """A row whose region is the left half."""
    members = row_members(number)
    mask = Image.new("L", (48, 32), 0)
    mask.paste(255, (0, 0, 24, 32))
    buffer = io.BytesIO()
    mask.save(buffer, "PNG")
    return members | {"region_mask.png": buffer.getvalue()}


def without_mask(number):
    members = row_members(number)
    del members["region_mask.png"]
    return members


def test_mask_column_is_a_setting(tmp_path):
    members = row_members(1) | {"target_mask.png": image_bytes(7, "PNG")}
    dataset = write_export_dataset(tmp_path / "dataset", [{1: members}])
    out, _ = exported(tmp_path, "diffusion-pipe", dataset=dataset, mask="target_mask_png")
    (row,) = readers.diffusion_pipe(out)
    assert row["mask"].read_bytes() == members["target_mask.png"]


@pytest.mark.parametrize("to", ["ai-toolkit", "diffusion-pipe", "onetrainer"])
def test_mask_of_another_size_than_the_target_is_not_used(to, tmp_path):
    members = row_members(1) | {"target.jpg": image_bytes((0, 1, 0), size=(64, 64))}
    out, _ = exported(tmp_path, to, dataset=write_export_dataset(tmp_path / "dataset", [{1: members}]))
    (row,) = READERS[to](out)
    if to == "ai-toolkit":
        with Image.open(row["mask"]) as mask:
            assert (mask.size, mask.getextrema()) == ((64, 64), (255, 255))
    else:
        assert row["mask"] is None
    assert "rows whose mask is not used, as its size is not the target's: 1" in (out / "README.md").read_text()


def test_source_mask_is_taken_where_there_is_no_region(tmp_path):
    members = without_mask(1) | {"source_mask.png": image_bytes(9, "PNG")}
    dataset = write_export_dataset(tmp_path / "dataset", [{1: members}])
    out, _ = exported(tmp_path, "ai-toolkit", dataset=dataset)
    (row,) = readers.ai_toolkit(out)
    assert row["mask"].read_bytes() == members["source_mask.png"]


@pytest.mark.parametrize("to", ["ai-toolkit", "diffusion-pipe"])
def test_without_masks_no_mask_folder_is_named(to, tmp_path):
    out, _ = exported(tmp_path, to, mask="none")
    assert all(row["mask"] is None for row in READERS[to](out))
    assert not (out / "mask").exists()


def test_images_pass_through_byte_for_byte(tmp_path):
    out, _ = exported(tmp_path, "ai-toolkit")
    for row in readers.ai_toolkit(out):
        number = int(row["text"].split()[-1])
        if number in (1, 2, 5, 7):
            assert row["target"].read_bytes() == image_bytes((0, number, 0))
            assert row["sources"][0].read_bytes() == image_bytes((number, 0, 0))


def test_simpletuner_files_of_a_row_have_one_ending(tmp_path):
    out, _ = exported(tmp_path, "simpletuner")
    rows = {row["text"]: row for row in readers.simpletuner(out)}
    assert rows["make it colour 4"]["sources"][0].suffix == ".png"  # its target is a PNG file
    assert rows["make it colour 1"]["sources"][0].read_bytes() == image_bytes((1, 0, 0))
    assert "images encoded anew: 3" in (out / "README.md").read_text()


def test_simpletuner_masks_are_a_conditioning_set(tmp_path):
    out, _ = exported(tmp_path, "simpletuner", mask="first")
    rows = list(readers.simpletuner(out))
    assert {row["mask"].suffix for row in rows} == {row["target"].suffix for row in rows} == {".png"}


def test_firered_has_the_reverse_instruction(tmp_path):
    out, _ = exported(tmp_path, "firered")
    assert next(row["reverse"] for row in readers.firered(out)) == "undo colour 1"


def test_diffsynth_names_sources_as_kontext_wants_them(tmp_path):
    out, _ = exported(tmp_path, "diffsynth", key="kontext_images")
    assert len(list(readers.diffsynth(out, "kontext_images"))) == 7


def test_root_begins_every_path(tmp_path):
    out, _ = exported(tmp_path, "omnigen2", root="/data/pairs/")
    row = json.loads((out / "edit.jsonl").read_text().splitlines()[0])
    assert row["output_image"].startswith("/data/pairs/target/00000/")
    assert 'path: "/data/pairs/edit.jsonl"' in (out / "mix.yml").read_text()


def test_caption_may_be_the_target_caption(tmp_path):
    out, result = exported(tmp_path, "diffsynth", caption="target_caption")
    assert result.num_rows == 8  # the row without instruction has a target caption
    assert next(row["text"] for row in readers.diffsynth(out)) == "a coloured thing 1"


def test_instruct_pix2pix_encodes_png_as_jpeg(tmp_path):
    out, _ = exported(tmp_path, "instruct-pix2pix")
    for row in readers.instruct_pix2pix(out):
        with Image.open(row["target"]) as image:
            assert image.format == "JPEG"
    (folder,) = (out / "00000").glob(f"{key_of(1)}")
    assert json.loads((folder / "prompt.json").read_text()) == {
        "input": "a thing 1", "edit": "make it colour 1", "output": "a coloured thing 1"
    }  # fmt: skip
    assert (folder / "0_1.jpg").read_bytes() == image_bytes((0, 1, 0))


def test_bagel_has_the_turns_of_a_session_in_one_row(tmp_path):
    out, _ = exported(tmp_path, "bagel")
    rows = {row["instruction_list"][0][0]: row for row in readers.bagel(out)}
    assert len(rows) == 5
    session = rows["make it colour 7"]
    assert session["instruction_list"] == [["make it colour 7"], ["make it colour 8"]]
    assert [readers.pixels(one) for one in session["image_list"]] == [
        readers.pixels(image_bytes(colour)) for colour in ((7, 0, 0), (0, 7, 0), (0, 8, 0))
    ]


def test_bagel_does_not_join_turns_whose_images_differ(tmp_path):
    rows = {1: row_members(1, session_id="s"), 2: row_members(2, session_id="s", turn=2)}
    out, _ = exported(tmp_path, "bagel", dataset=write_export_dataset(tmp_path / "dataset", [rows]))
    assert [len(row["image_list"]) for row in readers.bagel(out)] == [2, 2]


def test_ultraedit_has_the_names_of_the_published_tables(tmp_path):
    out, _ = exported(tmp_path, "ultraedit")
    rows = list(readers.tables(out))
    assert list(rows[0]) == [
        "clip_sim_source", "clip_sim_target", "clip_sim_dir", "clip_sim_image", "dinov2_sim", "ssim", "source_caption",
        "target_caption", "source_image", "edited_image", "idx", "edit_prompt", "edit_object", "mask_image",
    ]  # fmt: skip
    assert rows[0]["clip_sim_target"] == pytest.approx(0.25)
    assert rows[0]["source_image"]["bytes"] == image_bytes((1, 0, 0))
    assert [row["mask_image"] is None for row in rows] == [False, False, False, True, False, False]


def loaded(name_or_path, tmp_path, **options):
    """What `datasets` makes of an export, in a cache of its own."""
    import datasets

    return datasets.load_dataset(str(name_or_path), split="train", cache_dir=str(tmp_path / "cache"), **options)


def test_datasets_loads_huggingface_with_images(tmp_path):
    out, _ = exported(tmp_path, "huggingface")
    rows = loaded(out, tmp_path)
    assert rows.column_names[:3] == ["input_image", "edit_prompt", "edited_image"]
    assert is_near(rows[0]["edited_image"].getpixel((0, 0)), (0, 1, 0))
    assert rows[0]["mask"].mode == "L"
    assert [len(row["further_images"]) for row in rows] == [0, 0, 1, 0, 0, 0, 0]
    assert rows[2]["further_images"][0].getpixel((0, 0)) == (3, 3, 3)
    assert rows[0]["target_caption_cos"] == pytest.approx(0.25)
    assert rows[0]["example_ids"] == ["one", "two"]
    assert rows[0]["sample_id"] == key_of(1)
    assert rows[6]["turn"] == 2
    assert rows[4]["mask"] is None  # row 5 has no mask


def test_datasets_loads_the_parquet_files_alone(tmp_path):
    out, _ = exported(tmp_path, "huggingface")
    rows = loaded("parquet", tmp_path, data_files=str(out / "data" / "*.parquet"))
    assert is_near(rows[0]["input_image"].getpixel((0, 0)), (1, 0, 0))


def test_datasets_loads_the_imagefolder(tmp_path):
    out, _ = exported(tmp_path, "imagefolder")
    rows = loaded("imagefolder", tmp_path, data_files={"train": f"{out}/**"})  # as train_instruct_pix2pix.py does
    assert rows.column_names[:3] == ["input_image", "edit_prompt", "edited_image"]
    assert len(rows) == 6
    assert is_near(rows[0]["input_image"].getpixel((0, 0)), (1, 0, 0))
    assert is_near(rows[0]["edited_image"].getpixel((0, 0)), (0, 1, 0))


def test_row_groups_are_bounded(tmp_path):
    rows = {number: row_members(number) for number in range(1, 221)}
    out, _ = exported(tmp_path, "huggingface", dataset=write_export_dataset(tmp_path / "dataset", [rows]))
    read = pq.read_metadata(out / "data" / "00000.parquet")
    assert [read.row_group(place).num_rows for place in range(read.num_row_groups)] == [100, 100, 20]
