"""The folder reader: every kind of captions file, and lines that lie."""

import datetime as dt
import json
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from _builds import build
from _inputs import jpeg, read_rows, reasons

from core.errors import PlanError, ShardFailed
from pipeline.context import Context
from stages.read_image_folder import CAPTIONS_FILES, ReadImageFolder

CAPTIONS = {"a.jpg": "a red bus", "sub/b.jpg": 'a "quoted", dog', "c d.jpg": "na\u00efve caf\u00e9 \u9ed2\u732b"}
MANIFEST = """
name = "folder"
[[stage]]
use = "read_image_folder"
[[stage]]
use = "normalise_image"
"""


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "images"
    (root / "sub").mkdir(parents=True)
    for seed, name in enumerate(CAPTIONS):
        (root / name).write_bytes(jpeg(seed))
    return root


def write_csv(path, delimiter):
    import csv

    with path.open("w", newline="", encoding="utf-8") as handle:
        rows = csv.writer(handle, delimiter=delimiter)
        rows.writerows([("file_name", "text"), *CAPTIONS.items()])


def write_lines(path, *lines):
    path.write_text("".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines), "utf-8")


def entries(*names):
    return [{"file_name": name, "text": f"caption of {name[:20]}"} for name in names]


def listed(folder, *names, **options):
    """Reject reason of each line of a metadata.jsonl that lists these names."""
    write_lines(folder / "metadata.jsonl", *entries(*names))
    rows, _ = read_rows(ReadImageFolder(**options), folder)
    return [row["reject_reason"] for row in rows]


@pytest.mark.parametrize("name", CAPTIONS_FILES)
def test_every_kind_of_captions_file_is_read(folder, name):
    path = folder / name
    if path.suffix in (".csv", ".tsv"):
        write_csv(path, "\t" if path.suffix == ".tsv" else ",")
    elif path.suffix == ".parquet":
        pq.write_table(pa.table({"file_name": list(CAPTIONS), "text": list(CAPTIONS.values())}), path)
    else:
        write_lines(path, *({"file_name": n, "text": c} for n, c in CAPTIONS.items()))
    rows, notes = read_rows(ReadImageFolder(), folder)
    assert {r["source_key"]: r["caption"] for r in rows} == CAPTIONS
    assert all(r["reject_reason"] is None for r in rows)
    assert [r["source_raw"] for r in rows] == [jpeg(seed) for seed in range(3)]
    assert json.loads(rows[1]["source_metadata"]) == {"file_name": "sub/b.jpg", "text": CAPTIONS["sub/b.jpg"]}
    assert read_rows(ReadImageFolder(), path) == (rows, notes)


def test_columns_have_the_names_that_the_settings_say(folder):
    write_lines(folder / "metadata.jsonl", {"image": "a.jpg", "alt": "a bus", "url": "http://x"})
    (row,), _ = read_rows(ReadImageFolder(file_column="image", caption_column="alt"), folder)
    assert (row["caption"], row["source_url"], row["reject_reason"]) == ("a bus", "http://x", None)


@pytest.mark.parametrize(
    "name",
    ["../outside.jpg", "sub/../../outside.jpg", "/etc/passwd", "..\\outside.jpg", "\\outside.jpg", "C:\\x.jpg",
     "..", "a.jpg\0.png", "lone\ud800.jpg", "http://localhost/x.jpg", "link_out.jpg",
     "linked_folder/outside.jpg", "zero.jpg"],
)  # fmt: skip
def test_a_path_that_leads_out_of_the_folder_is_unsafe(folder, name):
    (folder.parent / "outside.jpg").write_bytes(jpeg(9))
    (folder / "link_out.jpg").symlink_to(folder.parent / "outside.jpg")
    (folder / "linked_folder").symlink_to(folder.parent)
    (folder / "zero.jpg").symlink_to("/dev/zero")
    assert listed(folder, name, "a.jpg") == ["unsafe_path", None]


def test_a_link_inside_the_folder_is_followed(folder):
    (folder / "link.jpg").symlink_to("sub/b.jpg")
    assert listed(folder, "link.jpg", "sub/../a.jpg", "./c d.jpg") == [None, None, None]


def test_a_snapshot_of_the_hugging_face_cache_is_read(tmp_path, folder):
    write_lines(folder / "metadata.jsonl", *entries("a.jpg"))
    snapshot = tmp_path / "snapshots" / "rev"
    snapshot.mkdir(parents=True)
    for name in ("a.jpg", "metadata.jsonl"):
        (snapshot / name).symlink_to(folder / name)
    rows, _ = read_rows(ReadImageFolder(), snapshot)
    assert reasons(rows) == {"a.jpg": None}


@pytest.mark.timeout(20)
def test_images_that_cannot_be_read_cost_their_line_only(folder):
    os.mkfifo(folder / "pipe.jpg")
    (folder / "loop.jpg").symlink_to("loop.jpg")
    names = ["missing.jpg", "sub", "pipe.jpg", "loop.jpg", "a.jpg/x.jpg", "x" * 5000 + ".jpg", "a.jpg"]
    assert listed(folder, *names) == [*["unreadable_image"] * 6, None]


def test_empty_and_oversize_images_are_rejects(folder):
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "huge.jpg").write_bytes(bytes(100_000))
    assert listed(folder, "empty.jpg", "huge.jpg", max_image_bytes=99_999) == ["empty_image", "oversize_image"]


def test_lines_that_say_nothing_are_rejects(folder):
    write_lines(
        folder / "metadata.jsonl",
        "{broken\n", "[1]\n", "\n", "[" * 50_000 + "\n", {"text": "no name"}, {"file_name": 3, "text": "x"},
        {"file_name": "a.jpg"}, {"file_name": "a.jpg", "text": " "}, {"file_name": "a.jpg", "text": "\ud800"},
        {"file_name": "a.jpg", "text": ["x"]},
    )  # fmt: skip
    rows, _ = read_rows(ReadImageFolder(), folder)
    assert [r["reject_reason"] for r in rows] == [
        "broken_metadata", "broken_metadata", "broken_metadata", "no_image", "no_image", "missing_caption",
        "empty_caption", "caption_not_utf8", None,
    ]  # fmt: skip


def test_line_separators_of_unicode_in_json_end_no_row_and_become_blanks(folder):
    text = "a dog \u2028 on a \u0085 beach \u000b"
    (folder / "metadata.jsonl").write_text(
        json.dumps({"file_name": "a.jpg", "text": text}, ensure_ascii=False), "utf-8"
    )
    (row,), _ = read_rows(ReadImageFolder(), folder)
    assert row["caption"] == "a dog on a beach"


def test_csv_lines_may_be_ragged_long_and_of_another_encoding(folder):
    data = b"file_name,text\r\na.jpg,one,two,three\r\nsub/b.jpg\r\nc d.jpg,caf\xe9\r\na.jpg," + b"y" * 300_000 + b"\r\n"
    (folder / "metadata.csv").write_bytes(b"\xef\xbb\xbf" + data)
    rows, _ = read_rows(ReadImageFolder(), folder)
    assert [r["reject_reason"] for r in rows] == [None, "missing_caption", "caption_not_utf8", None]
    assert json.loads(rows[0]["source_metadata"])["_more"] == ["two", "three"]


def test_parquet_may_hold_columns_that_json_cannot(folder):
    odd = {
        "file_name": ["a.jpg"], "text": ["a bus"], "score": [float("nan")], "when": [dt.datetime(2020, 1, 2)],  # noqa: DTZ001
        "image": [{"bytes": b"\xff\xd8", "path": "a.jpg"}],
    }  # fmt: skip
    pq.write_table(pa.table(odd), folder / "metadata.parquet")
    (row,), _ = read_rows(ReadImageFolder(), folder)
    assert json.loads(row["source_metadata"]) == {
        "file_name": "a.jpg", "text": "a bus", "score": None, "when": "2020-01-02 00:00:00",
        "image": {"bytes": None, "path": "a.jpg"},
    }  # fmt: skip


def test_the_same_image_listed_twice_is_one_row_and_one_duplicate(folder, tmp_path):
    write_lines(folder / "metadata.jsonl", *entries("a.jpg", "sub/b.jpg"), {"file_name": "a.jpg", "text": "again"})
    manifest = tmp_path / "folder.toml"
    manifest.write_text(MANIFEST)
    code, summary, errors = build(tmp_path / "out", "--executor", "inprocess", shards=folder, manifest=manifest)
    assert (code, errors) == (0, "")
    assert summary["stages"][0]["rejects"] == {"duplicate_image": 1}
    assert [s["rows_out"] for s in summary["stages"]] == [2, 2]


def test_sharding_does_not_change_sample_ids(folder):
    write_lines(folder / "metadata.jsonl", *entries(*CAPTIONS, "a.jpg", "sub/b.jpg"))
    by_size = {}
    for size in (1, 2, 5, 1000):
        stage = ReadImageFolder(rows_per_shard=size)
        assert len(stage.list_shards([str(folder)])) == -(-5 // size)
        rows, _ = read_rows(stage, folder)
        by_size[size] = [(r["sample_id"], r["source_key"], r["caption"]) for r in rows]
    assert by_size[1] == by_size[2] == by_size[5] == by_size[1000]


def test_shards_are_named_by_folder_and_cover_every_line_once(folder):
    write_lines(folder / "metadata.jsonl", *entries(*CAPTIONS))
    shards = ReadImageFolder(rows_per_shard=2).list_shards([str(folder)])
    assert [(s.name, s.part) for s in shards] == [("images-00000", (0, 2)), ("images-00001", (2, 3))]


def test_two_captions_files_of_one_folder_are_both_read(folder):
    write_lines(folder / "train.jsonl", *entries("a.jpg"))
    write_lines(folder / "test.jsonl", *entries("sub/b.jpg"))
    shards = ReadImageFolder().list_shards([str(folder / "train.jsonl"), str(folder / "test.jsonl")])
    assert [s.name for s in shards] == ["test-00000", "train-00000"]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("none.md", b"", "has no captions file; looked for metadata.jsonl, metadata.csv"),
        ("metadata.jsonl", b"\n", "has no rows"),
        ("metadata.csv", b"", "has no rows"),
        ("metadata.parquet", b"no parquet", "not a Parquet file"),
    ],
)
def test_a_folder_without_usable_captions_is_refused(folder, name, data, message):
    (folder / name).write_bytes(data)
    with pytest.raises(PlanError) as refused:
        ReadImageFolder().list_shards([str(folder)])
    assert message in str(refused.value)


def test_a_captions_file_of_unknown_kind_is_refused(folder):
    (folder / "captions.xml").write_bytes(b"<x/>")
    with pytest.raises(PlanError, match=r"of unknown kind '\.xml'; csv, tsv, jsonl, json and parquet are read"):
        ReadImageFolder().list_shards([str(folder / "captions.xml")])


def test_a_captions_file_that_broke_after_the_plan_fails_its_shard(folder):
    pq.write_table(pa.table({"file_name": ["a.jpg"], "text": ["x"]}), folder / "metadata.parquet")
    stage = ReadImageFolder()
    (shard,) = stage.list_shards([str(folder)])
    (folder / "metadata.parquet").write_bytes(b"broken")
    with pytest.raises(ShardFailed, match="not a Parquet file"):
        list(stage.open(Context(stage_name="test"))(shard))
