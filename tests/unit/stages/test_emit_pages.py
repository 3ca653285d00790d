"""The data card and the report of a dataset."""

import json
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from _emitted import IMAGES, Left, collated, late_values, members, samples, shown, write

from pipeline.run.rejects import REJECT_SCHEMA
from samples.columns import column
from samples.members import column_of


def test_every_member_of_every_sample_is_on_the_card(tmp_path):
    images = [IMAGES[:2], IMAGES, IMAGES[:1]]
    folder = collated(tmp_path, samples(source_images=images, target_image=IMAGES, target_format=["png"] * 3))
    card = (folder / "README.md").read_text("utf-8")
    written = {m.name.split(".", 1)[1] for m, _ in members(tmp_path / "b.tar")}
    assert written == {"source.jpg", "source1.jpg", "source2.jpg", "target.png", "json"}
    listed = re.findall(r"^\| `<sample_id>\.(.+?)` \| \S", card, re.MULTILINE)
    assert listed == ["source.jpg", "source1.jpg", "source2.jpg", "target.png", "json"]
    assert all(column_of(name) for name in written - {"json"})


def test_the_report_shows_the_anchor_and_both_masks_of_the_region(tmp_path):
    *_, last = shown(collated(tmp_path, late_values()))
    assert [role for role, _ in last["images"]] == [
        "anchor", "source", "target", "source_mask", "target_mask", "region_mask", "soft_mask",
    ]  # fmt: skip
    assert last["fields"]["candidates"] == "2, of which the following passed: 2"
    assert last["fields"]["is_whole_image"] == "true"


def test_the_card_names_anchor_and_masks_of_the_region(tmp_path):
    card = (collated(tmp_path, late_values()) / "README.md").read_text("utf-8")
    for name, meaning in (
        ("anchor.jpg", "the image `anchor_id` that the pair was drawn over"),
        ("region_mask.png", "all white where `is_whole_image`"),
        ("soft_mask.png", "how much of each place was made anew"),
    ):
        (line,) = [line for line in card.splitlines() if line.startswith(f"| `<sample_id>.{name}` |")]
        assert meaning.replace("_", "\\_").replace("`", "\\`") in line


def test_an_anchor_that_is_not_stored_is_on_no_page_and_in_no_tar(tmp_path):
    rows = late_values()
    for name in ("anchor_image", "anchor_format"):
        place = rows.schema.get_field_index(name)
        rows = rows.set_column(place, rows.schema.field(place), pa.nulls(rows.num_rows, rows.schema.field(place).type))
    folder = collated(tmp_path, rows)
    assert "<sample_id>.anchor" not in (folder / "README.md").read_text("utf-8")
    *_, last = shown(folder)
    assert "anchor" not in dict(last["images"])
    assert last["fields"]["anchor_id"] == "b" * 16
    path, _ = write(tmp_path, rows.slice(7))
    assert not any("anchor" in member.name for member, _ in members(path))


def pages(folder):
    return [(folder / name).read_text("utf-8") for name in ("README.md", "report.html")]


@pytest.mark.parametrize("target", ["no column", "no value"])
def test_pages_of_edits_without_target_images_say_so(tmp_path, target):
    rows = samples(
        instruction=["a", "b", "c"], target_caption=["d", "e", "f"], reverse_writer=["rule", "rule", "model"]
    )
    if target == "no value":
        for name in ("target_image", "target_format"):
            rows = rows.append_column(name, pa.nulls(3, column(name).type))
    card, report = pages(collated(tmp_path, rows))
    assert "There is no target image." in card
    assert "target.png" not in card
    assert "There is no target image:" in report
    assert "reverse_writer: most frequent values" in report


def test_pages_of_pairs_do_not_say_that_there_is_no_target(tmp_path):
    for page in pages(collated(tmp_path, late_values().append_column("instruction", pa.array(["a"] * 8)))):
        assert "no target image" not in page


@pytest.mark.parametrize(("asked", "number"), [(0, 0), (2, 2), (240, 3)])
def test_the_report_shows_as_many_samples_as_asked_for(tmp_path, asked, number):
    assert len(shown(collated(tmp_path, samples(), report_samples=asked))) == number


def test_thumbnails_come_from_the_steps_of_shards(tmp_path):
    left = Left(tmp_path, {"a": samples(), "b": samples().slice(1)})
    assert len(shown(left.collate(samples().column_names))) == 5
    assert (left.read_names, left.opened) == (["a.thumbnails", "b.thumbnails"], [])


def test_values_of_categories_are_text_in_the_report(tmp_path):
    hostile = "</script><script>alert(1)</script>"
    page = (collated(tmp_path, samples(edit_type=[hostile, "add", None])) / "report.html").read_text("utf-8")
    assert hostile not in page
    assert page.count("&lt;/script&gt;&lt;script&gt;alert(1)") >= 1


def test_a_dataset_without_samples_has_all_its_pages(tmp_path):
    folder = collated(tmp_path, samples().slice(0, 0))
    assert pq.read_table(folder / "samples.parquet").num_rows == 0
    assert pq.read_table(folder / "rejects.parquet").schema == REJECT_SCHEMA
    assert json.loads((folder / "shards.json").read_text())["shards"] == []
    assert (folder / "report.html").stat().st_size > 1000
