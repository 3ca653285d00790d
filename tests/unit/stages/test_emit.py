"""The dataset's tars, byte for byte, and the files next to them."""

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
from _emitted import CANDIDATES, IDS, IMAGES, Left, collated, late_values, members, samples, shown, write
from _fakes import plan_of, run
from _inputs import encoded, make_image

from core.errors import DamagedFileError
from pipeline.plan.inputs import shards_of_files
from pipeline.sink import PublishedFiles
from pipeline.stage import SourceStage
from samples.columns import CANDIDATE, column
from samples.shards import read_shards
from stages.emit import Emit, sample_json


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


def test_anchor_and_masks_of_the_region_lie_beside_the_pair(tmp_path):
    path, _ = write(tmp_path, late_values().slice(7))
    names = [m.name.split(".", 1)[1] for m, _ in members(path)]
    assert {"anchor.jpg", "region_mask.png", "soft_mask.png"} <= set(names)
    assert json.loads(members(path)[-1][1])["is_whole_image"] is True


def test_samples_parquet_has_every_light_column_and_no_pixels(tmp_path):
    rows = samples()
    read = pq.read_table(collated(tmp_path, rows) / "samples.parquet")
    assert not any(pa.types.is_binary(f.type) or pa.types.is_list(f.type) for f in read.schema)
    for name in ("sample_id", "caption", "source_dhash", "parent_id"):
        assert read[name].to_pylist() == rows[name].to_pylist()
    assert read["session_id"].to_pylist() == IDS
    assert read["turn"].to_pylist() == [1, 1, 1]
    assert read["dataset_shard"].to_pylist() == ["b.tar"] * 3


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
