"""The dataset's tars, byte for byte, and the files next to them."""

import dataclasses
import hashlib
import json
import os
import re
import subprocess
import sys
import tarfile
from itertools import pairwise
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from _fakes import plan_of, run, sink_shard
from _inputs import encoded, jpeg, make_image, table

from core.errors import DamagedFileError
from pipeline.context import Context
from pipeline.plan.inputs import shards_of_files
from pipeline.run.rejects import REJECT_SCHEMA
from pipeline.sink import PublishedFiles, RunSummary, SinkPart
from pipeline.stage import SourceStage
from samples.columns import CANDIDATE, column
from samples.members import column_of
from samples.shards import read_shards
from samples.stored_arrays import npy
from stages.emit import Emit, sample_json
from stages.report.contact_sheet import SUFFIX as THUMBNAILS

IMAGES = [jpeg(n) for n in range(3)]
IDS = ["aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb-e1", "cccccccccccccccc"]


def samples(**changes):
    columns = {
        "source_images": [[i] for i in IMAGES],
        "source_format": ["jpg"] * 3,
        "duplicate_cluster_id": [i[:16] for i in IDS],
        "caption": ["a caf\u00e9 \u2028 \0 </script>", None, "a dog"],
        "source_dhash": [2**64 - 1, 0, 7],
        "parent_id": [None, "bbbbbbbbbbbbbbbb", None],
    }
    return table(IDS, **(columns | changes))


def write(tmp_path, *tables, name="shard"):
    path = tmp_path / f"{name}.tar"
    made = list(Emit().open(Context(stage_name="emit"))(sink_shard(path, name), iter(tables)))
    return path, made


def members(path):
    with tarfile.open(path) as tar:
        return [(m, tar.extractfile(m).read()) for m in tar]


def test_a_sample_is_its_image_and_its_json_side_by_side(tmp_path):
    path, made = write(tmp_path, samples())
    found = members(path)
    assert [m.name for m, _ in found] == [f"{i}.{suffix}" for i in IDS for suffix in ("source.jpg", "json")]
    assert [content for _, content in found[::2]] == IMAGES
    assert json.loads(found[1][1]) == {
        "sample_id": IDS[0], "session_id": IDS[0], "turn": 1, "caption": "a caf\u00e9 \u2028 \0 </script>",
        "source_format": "jpg", "duplicate_cluster_id": IDS[0],
    }  # fmt: skip
    assert json.loads(found[3][1])["parent_id"] == "bbbbbbbbbbbbbbbb"
    assert made[0]["dataset_shard"].to_pylist() == ["shard.tar"] * 3


def test_a_header_tells_nothing_of_when_or_who(tmp_path):
    path, _ = write(tmp_path, samples())
    for info, _ in members(path):
        assert (info.mtime, info.uid, info.gid, info.uname, info.gname, info.mode) == (0, 0, 0, "", "", 0o644)
        assert info.isreg()
        assert info.pax_headers == {}


def test_bytes_do_not_depend_on_batches_or_on_when(tmp_path):
    whole, _ = write(tmp_path, samples(), name="whole")
    split, made = write(tmp_path, *(samples().slice(n, 1) for n in range(3)), name="split")
    assert whole.read_bytes() == split.read_bytes()
    assert [t.num_rows for t in made] == [1, 1, 1]


def test_further_source_images_are_numbered(tmp_path):
    path, _ = write(tmp_path, samples(source_images=[IMAGES[:2], IMAGES[1:], IMAGES[:1]], source_format=["png"] * 3))
    names = [m.name.split(".", 1)[1] for m, _ in members(path)]
    assert names == ["source.png", "source1.png", "json", "source.png", "source1.png", "json", "source.png", "json"]


def test_every_member_of_every_sample_is_on_the_card(tmp_path):
    images = [IMAGES[:2], IMAGES, IMAGES[:1]]
    folder = collated(tmp_path, samples(source_images=images, target_image=IMAGES, target_format=["png"] * 3))
    card = (folder / "README.md").read_text("utf-8")
    written = {m.name.split(".", 1)[1] for m, _ in members(tmp_path / "b.tar")}
    assert written == {"source.jpg", "source1.jpg", "source2.jpg", "target.png", "json"}
    listed = re.findall(r"^\| `<sample_id>\.(.+?)` \| \S", card, re.MULTILINE)
    assert listed == ["source.jpg", "source1.jpg", "source2.jpg", "target.png", "json"]
    assert all(column_of(name) for name in written - {"json"})


def test_a_shard_without_rows_is_a_valid_tar(tmp_path):
    path, made = write(tmp_path)
    assert (members(path), made) == ([], [])


def test_json_has_no_number_that_readers_cannot_hold(tmp_path):
    path, _ = write(tmp_path, samples())
    assert all("source_dhash" not in json.loads(content) for _, content in members(path)[1::2])


def test_json_leaves_out_what_has_no_value():
    assert sample_json({"sample_id": "a", "width_px": 3, "caption": None}) == {
        "sample_id": "a", "session_id": "a", "turn": 1, "width_px": 3,
    }  # fmt: skip


LOG = REJECT_SCHEMA.names


class Left:
    """What the steps of shards left, as `collate` gets it. `shards` maps each name to its rows."""

    def __init__(self, tmp_path, shards, report_samples=240, rejects=()):
        self.folder, self.parts, self.read_names, self.opened = tmp_path, {}, [], []
        self.emit, self.ctx = Emit(report_samples=report_samples), Context(stage_name="emit")
        self.rejects = [pa.Table.from_pylist([dict(zip(LOG, r, strict=True)) for r in rejects], schema=REJECT_SCHEMA)]
        for number, (name, rows) in enumerate(shards.items()):
            self.add(name, rows, number, len(shards))

    def add(self, name, rows, number, num_shards):
        """Do the step of one shard in a plan of `num_shards`."""
        shard = sink_shard(self.folder / f"{name}.tar", name, number, num_shards)
        shard = dataclasses.replace(shard, further_file=lambda suffix: self.folder / f"{name}{suffix}")
        tables = [rows.slice(start, 2) for start in range(0, rows.num_rows, 2)]
        made = list(self.emit.open(self.ctx)(shard, iter(tables)))
        if made:
            self.parts[name] = (made, shard.summary)

    def entry(self, name):
        content = (self.folder / f"{name}.tar").read_bytes()
        made, _ = self.parts[name]
        return {
            "rows": sum(t.num_rows for t in made), "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest(),
        }  # fmt: skip

    def summary(self, columns):
        def parts():
            for name, (made, summary) in self.parts.items():
                yield SinkPart(shard=name, file=f"stages/emit/{name}.parquet", summary=summary, tables=iter(made))

        def read(name):
            self.read_names.append(name)
            return (self.folder / name).read_bytes()

        def opened(name):
            self.opened.append(name)
            return (self.folder / name).open("rb")

        stage = {
            "name": "emit", "fingerprint": "0" * 64, "settings": {}, "models": {}, "licences": {}, "roles": {},
            "rows_in": 3, "rows_kept": 3, "rows_out": 3, "rejects": {}, "notes": dict(self.ctx.notes), "seconds": 0.5,
        }  # fmt: skip
        return RunSummary(
            manifest={
                "name": "mine", "summary": "<b>", "license": "mit", "language": "en", "stages": [],
                "stated_licences": {"input": None, "models": {}},
            },
            columns=tuple(n for n in columns if n != "sample_id"),
            shard_files={name: self.entry(name) for name in self.parts},
            further_files={THUMBNAILS: [n for n in self.parts if (self.folder / f"{n}{THUMBNAILS}").exists()]},
            stages=[stage], parts=parts, rejects=lambda: iter(self.rejects), read=read, open=opened,
        )  # fmt: skip

    def collate(self, columns):
        folder = self.folder / "dataset"
        folder.mkdir()
        self.emit.collate(folder, self.summary(columns))
        return folder


def collated(tmp_path, rows, **options):
    return Left(tmp_path, {"b": rows}, **options).collate(rows.column_names)


def shown(folder):
    """The samples on the report's contact sheet."""
    page = (folder / "report.html").read_text("utf-8")
    return json.loads(page.split('<script type="application/json" id="payload">')[1].split("</script>")[0])["samples"]


def test_collate_writes_tables_card_and_report(tmp_path):
    folder = collated(tmp_path, samples(), rejects=[("b", "dedup", "x", "duplicate_near", "kept a", "{}")])
    assert sorted(p.name for p in folder.iterdir()) == [
        "README.md", "licences.json", "rejects.parquet", "report.html", "samples.parquet", "shards.json",
    ]  # fmt: skip
    shards = json.loads((folder / "shards.json").read_text())
    tar = tmp_path / "b.tar"
    assert shards == {
        "dataset": "mine",
        "shards": [
            {"file": "b.tar", "samples": 3, "bytes": tar.stat().st_size,
             "sha256": hashlib.sha256(tar.read_bytes()).hexdigest()},
        ],
    }  # fmt: skip
    assert pq.read_table(folder / "rejects.parquet").to_pylist()[0]["reject_reason"] == "duplicate_near"


def test_list_counts_the_samples_of_each_split(tmp_path):
    folder = collated(tmp_path, samples(split=["train", "out_of_domain", "train"]))
    (listed,) = json.loads((folder / "shards.json").read_text())["shards"]
    assert listed["splits"] == {"out_of_domain": 1, "train": 2}
    assert [shard.splits for shard in read_shards(folder).shards] == [(("out_of_domain", 1), ("train", 2))]


@pytest.mark.parametrize("split", [["train", None, "train"], ["train", "", "train"]])
def test_samples_without_a_split_are_counted_under_no_name(tmp_path, split):
    folder = collated(tmp_path, samples(split=split))
    assert [shard.splits for shard in read_shards(folder).shards] == [(("", 1), ("train", 2))]


def test_splits_are_counted_for_each_shard(tmp_path):
    rows = samples(split=["train", "in_domain", "train"])
    folder = Left(tmp_path, {"a": rows.slice(0, 2), "b": rows.slice(2)}).collate(rows.column_names)
    assert [shard.splits for shard in read_shards(folder).shards] == [(("in_domain", 1), ("train", 1)), (("train", 1),)]


def test_examples_have_members_with_formats_of_their_own(tmp_path):
    png, webp = encoded(make_image(1), "PNG"), encoded(make_image(2), "WEBP")
    rows = samples(
        example_ids=[IDS[1:], [], None],
        example_source_images=[[IMAGES[1], png], [], None], example_source_formats=[["jpg", "png"], [], None],
        example_target_images=[[webp, png], [], None], example_target_formats=[["webp", "png"], [], None],
    )  # fmt: skip
    folder = collated(tmp_path, rows)
    found = {m.name: content for m, content in members(tmp_path / "b.tar")}
    examples = {name.partition(".")[2]: content for name, content in found.items() if "example" in name}
    assert examples == {
        "example_source.jpg": IMAGES[1], "example_source1.png": png, "example_target.webp": webp,
        "example_target1.png": png,
    }  # fmt: skip
    assert json.loads(found[f"{IDS[0]}.json"])["example_source_formats"] == ["jpg", "png"]
    card = (folder / "README.md").read_text("utf-8")
    listed = set(re.findall(r"^\| `<sample_id>\.(.+?)` \| \S", card, re.MULTILINE))
    assert listed > {*examples, "source.jpg", "json"}
    assert "source1.jpg" not in listed


CANDIDATES = [
    {
        **dict.fromkeys(CANDIDATE.field(place).name for place in range(CANDIDATE.num_fields)), "number": number,
        "is_kept": number == 2, "seed": 2**32 - number, "num_steps": 3, "strength": 0.5, "pair_l1": 0.25,
    }
    for number in (1, 2)
]  # fmt: skip
"""Two candidates, of which the second was kept; further scores have no value."""


def late_values(num_rows=8):
    """Rows of which only the last has a second source, a target, masks, latents and optional values."""
    png = encoded(make_image(1), "PNG")
    latent = npy(np.arange(16, dtype=np.float16).reshape(4, 2, 2))
    columns = {
        "source_images": [[jpeg(n)] for n in range(num_rows - 1)] + [[jpeg(7), jpeg(8)]],
        "source_format": ["jpg"] * num_rows,
        "duplicate_cluster_id": [f"{n:016x}" for n in range(num_rows)],
    }
    late = {
        "caption": "a dog", "width_px": 3, "retrieval_cos": 0.5, "neighbour_ids": ["a", "b"],
        "neighbour_cos": [1.0, 0.5], "target_image": png, "target_format": "png", "source_mask_png": png,
        "target_mask_png": png, "source_latent": latent, "target_latent": latent, "region_latent": latent,
        "instruction_emb": npy(np.arange(6).reshape(3, 2)), "instruction_pooled_emb": npy(np.arange(2)),
        "text_model": "zoo:sd", "parent_id": "b" * 16,
        "anchor_id": "b" * 16, "anchor_image": jpeg(9), "anchor_format": "jpg", "region_mask_png": png,
        "soft_mask_png": png, "is_whole_image": True, "object_boxes": [[0.0, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 7.0]],
        "candidates": CANDIDATES, "split": "train", "example_ids": ["a", "b"],
        "example_source_images": [png, png], "example_source_formats": ["png", "png"],
        "example_target_images": [png, png], "example_target_formats": ["png", "png"],
    }  # fmt: skip
    columns |= {name: [None] * (num_rows - 1) + [value] for name, value in late.items()}
    return table([f"{n:016x}" for n in range(num_rows)], **columns)


def test_datasets_reads_what_only_late_samples_have(tmp_path):
    rows = late_values()
    folder = collated(tmp_path, rows)
    (tmp_path / "b.tar").rename(folder / "b.tar")
    code = f"""
import datasets, json
rows = datasets.load_dataset({str(folder)!r}, split="train")
absent = rows[0]["target.png"] or rows[0]["source1.jpg"]
texts = [rows[7]["instruction_emb.npy"], rows[7]["instruction_pooled_emb.npy"]]
print(json.dumps([sorted(rows.features), rows[7]["json"], rows[7]["source_latent.npy"], texts, absent]))
assert rows[7]["source1.jpg"].size == rows[7]["target.png"].size == rows[7]["source_mask.png"].size == (96, 80)
"""
    env = os.environ | {"HF_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    features, record, latent, texts, absent = json.loads(done.stdout.splitlines()[-1])
    files = [
        "anchor.jpg", *(f"example_{role}.png" for role in ("source", "source1", "target", "target1")),
        "instruction_emb.npy", "instruction_pooled_emb.npy", "region_latent.npy", "region_mask.png",
        "soft_mask.png", "source.jpg", "source1.jpg", "source_latent.npy", "source_mask.png", "target.png",
        "target_latent.npy", "target_mask.png",
    ]  # fmt: skip
    assert features == sorted(["__key__", "__url__", "json", *files])
    written = {name: value for name, value in rows.slice(7).to_pylist()[0].items() if name in record}
    assert {name: value for name, value in record.items() if value is not None} == sample_json(written)
    assert (np.array(latent).shape, latent[3][1][1], absent) == ((4, 2, 2), 15.0, None)
    assert texts == [[[0, 1], [2, 3], [4, 5]], [0, 1]]
    assert (record["candidates"], record["is_whole_image"]) == (CANDIDATES, True)
    assert record["object_boxes"] == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_sessions_of_the_input_stay_and_other_rows_are_their_own(tmp_path):
    rows = late_values(3).append_column("session_id", pa.array(["242679", "242679", None]))
    rows = rows.append_column("turn", pa.array([1, 2, None], pa.int32()))
    folder = collated(tmp_path, rows)
    own = rows["sample_id"].to_pylist()[2]
    read = pq.read_table(folder / "samples.parquet")
    assert read["session_id"].to_pylist() == ["242679", "242679", own]
    assert read["turn"].to_pylist() == [1, 2, 1]
    with tarfile.open(tmp_path / "b.tar") as tar:
        texts = [json.loads(tar.extractfile(info).read()) for info in tar if info.name.endswith(".json")]
    assert [(text["session_id"], text["turn"]) for text in texts] == [("242679", 1), ("242679", 2), (own, 1)]


def test_candidates_stay_records_in_the_table(tmp_path):
    read = pq.read_table(collated(tmp_path, late_values()) / "samples.parquet")
    assert read["candidates"].type == pa.list_(CANDIDATE)
    assert read["candidates"].to_pylist() == [None] * 7 + [CANDIDATES]


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


def test_anchor_and_masks_of_the_region_lie_beside_the_pair(tmp_path):
    path, _ = write(tmp_path, late_values().slice(7))
    names = [m.name.split(".", 1)[1] for m, _ in members(path)]
    assert {"anchor.jpg", "region_mask.png", "soft_mask.png"} <= set(names)
    assert json.loads(members(path)[-1][1])["is_whole_image"] is True


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


def test_samples_parquet_has_every_light_column_and_no_pixels(tmp_path):
    rows = samples()
    read = pq.read_table(collated(tmp_path, rows) / "samples.parquet")
    assert not any(pa.types.is_binary(f.type) or pa.types.is_list(f.type) for f in read.schema)
    for name in ("sample_id", "caption", "source_dhash", "parent_id"):
        assert read[name].to_pylist() == rows[name].to_pylist()
    assert read["session_id"].to_pylist() == IDS
    assert read["turn"].to_pylist() == [1, 1, 1]
    assert read["dataset_shard"].to_pylist() == ["b.tar"] * 3


@pytest.mark.parametrize(("asked", "number"), [(0, 0), (2, 2), (240, 3)])
def test_the_report_shows_as_many_samples_as_asked_for(tmp_path, asked, number):
    assert len(shown(collated(tmp_path, samples(), report_samples=asked))) == number


def test_thumbnails_come_from_the_steps_of_shards(tmp_path):
    left = Left(tmp_path, {"a": samples(), "b": samples().slice(1)})
    assert len(shown(left.collate(samples().column_names))) == 5
    assert (left.read_names, left.opened) == (["a.thumbnails", "b.thumbnails"], [])


def test_tables_and_pages_of_several_shards_are_those_of_one(tmp_path):
    rows = late_values().append_column("instruction", pa.array(["a"] * 8))
    folders = []
    for name, starts in (("whole", [0, 8]), ("parts", [0, 3, 3, 7, 8])):
        (tmp_path / name).mkdir()
        shards = {f"s{n}": rows.slice(start, stop - start) for n, (start, stop) in enumerate(pairwise(starts))}
        folders.append(Left(tmp_path / name, shards).collate(rows.column_names))
    tables = [pq.read_table(folder / "samples.parquet").drop_columns(["dataset_shard"]) for folder in folders]
    assert tables[0].equals(tables[1])
    assert shown(folders[0]) == shown(folders[1])
    for page in ("report.html", "README.md"):
        texts = [(folder / page).read_text("utf-8") for folder in folders]
        lines = [[line for line in text.splitlines() if "hard" not in line] for text in texts]
        assert lines[0] == lines[1]


def test_rows_are_returned_as_they_are_published(tmp_path):
    folder = collated(tmp_path, samples())
    _, made = write(tmp_path, samples())
    names = ("parent_id", "session_id", "turn", "dataset_shard")
    returned = made[0].select(["sample_id", *names]).to_pylist()
    published = pq.read_table(folder / "samples.parquet").select(["sample_id", *names]).to_pylist()
    assert [row | {"dataset_shard": "b.tar"} for row in returned] == published


def test_counts_that_are_not_as_written_name_their_file(tmp_path):
    left = Left(tmp_path, {"a": samples()})
    left.parts["a"][1]["counts"] = '{"numbers": 5}'
    with pytest.raises(DamagedFileError, match=r"^stages/emit/a\.parquet is not as it was written \(numbers: "):
        left.collate(samples().column_names)


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


class LateRows(SourceStage):
    """Rows with every kind of column that `emit` takes."""

    version: ClassVar = 1
    writes: ClassVar = tuple(name for name in late_values(1).column_names if name not in ("sample_id", "parent_id"))

    def list_shards(self, inputs):
        return shards_of_files(inputs, (".lines",))

    def open(self, ctx):
        return lambda shard: iter([late_values(2)])


def test_a_build_publishes_columns_of_every_kind(tmp_path):
    plan = plan_of(tmp_path, [LateRows(), Emit()], {"a": ["one"]})
    assert run(plan).ok
    expected = late_values(2)
    read = pq.read_table(tmp_path / "run/dataset/samples.parquet")
    light = [name for name in LateRows.writes if not column(name).bulk]
    assert read.select(light).equals(expected.select(light))
    assert [len(sample["images"]) for sample in shown(tmp_path / "run/dataset")] == [1, 7]
    named = sorted(name.name for name in (tmp_path / "run" / plan.stages[1].folder).iterdir())
    assert [name for name in named if name.startswith("a.")] == ["a.parquet", "a.tar", "a.thumbnails"]


def test_published_tar_of_another_size_is_reported(tmp_path):
    folder = collated(tmp_path, samples())
    sizes = {"shards.json": 1, "b.tar": 7}
    published = PublishedFiles(folder="dataset", sizes=sizes, open=lambda name: (folder / name).open("rb"))
    size = (tmp_path / "b.tar").stat().st_size
    assert list(Emit().check(published, deep=False)) == [f"dataset/b.tar: 7 bytes, shards.json says {size}"]
