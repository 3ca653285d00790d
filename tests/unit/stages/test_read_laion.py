"""From a table of URLs to rows: filters, statuses, what is kept, what is tried again."""

import hashlib
import io
import json
import tarfile
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset
from _inputs import encoded, jpeg, make_image, reasons
from _laion import Table, laion_stage, rows_of
from _web import Answer, FolderStore, Web

from core.errors import ContractError, PlanError, ShardFailed
from pipeline.context import Context
from stages.download.status import SCHEMA
from stages.download.store import BLOCK, RECORD
from stages.inputs.parquet_rows import TableReader
from stages.read_laion import ReadLaion


@pytest.fixture
def web():
    served = Web({f"/{n}.jpg": Answer(jpeg(n)) for n in range(12)})
    yield served
    served.close()


def test_a_row_of_the_table_becomes_a_row_with_image_caption_and_metadata(tmp_path, web):
    (row,), notes = Table(tmp_path, rows_of(web, 1, similarity=[0.31], NSFW=["UNLIKELY"])).read()
    sha = hashlib.sha256(jpeg(0)).hexdigest()
    metadata = json.loads(row.pop("source_metadata"))
    assert row == {
        "sample_id": sha[:16], "source_raw": jpeg(0), "source_sha256": sha, "source_key": "000000000",
        "source_size_bytes": len(jpeg(0)), "source_url": web.url("/0.jpg"), "caption": "caption 0",
        "source_licence": None, "reject_reason": None, "reject_detail": None,
    }  # fmt: skip
    assert metadata == {
        "similarity": 0.31, "NSFW": "UNLIKELY", "url": web.url("/0.jpg"), "caption": "caption 0", "key": "000000000",
        "status": "success", "error_message": None, "width": 96, "height": 80, "original_width": 96,
        "original_height": 80, "sha256": sha,
    }  # fmt: skip
    assert notes == {"URLs that took more than one attempt": 0, "images shrunk on arrival": 0}


def test_every_row_comes_out_in_order_with_a_reason_where_it_failed(tmp_path, web):
    web.answers["/3.jpg"] = Answer(b"", 404)
    web.answers["/5.jpg"] = Answer(jpeg(5), pause_s=0.3)
    rows = rows_of(web, 8)
    rows[1]["URL"], rows[2]["URL"], rows[6]["TEXT"], rows[7]["TEXT"] = "nonsense", None, " ", None
    table = Table(tmp_path, rows)
    found, _ = table.read()
    assert [(r["source_key"], r["reject_reason"]) for r in found] == [
        ("000000000", None), ("000000001", "not_an_url"), ("000000002", "not_an_url"), ("000000003", "http_error"),
        ("000000004", None), ("000000005", None), ("000000006", "empty_caption"), ("000000007", "missing_caption"),
    ]  # fmt: skip
    assert (found[3]["reject_detail"], found[3]["source_url"], found[3]["caption"]) == (
        "HTTP 404", web.url("/3.jpg"), "caption 3",
    )  # fmt: skip
    assert len({r["sample_id"] for r in found}) == 8
    assert web.asked == {"/0.jpg": 1, "/3.jpg": 1, "/4.jpg": 1, "/5.jpg": 1}


def test_a_shard_is_downloaded_once_and_read_as_often_as_wanted(tmp_path, web):
    table = Table(tmp_path, rows_of(web, 6), rows_per_shard=4)
    first, _ = table.read()
    asked = dict(web.asked)
    web.answers.clear()
    assert table.read()[0] == first
    assert web.asked == asked
    assert list(table.store.scratch().iterdir()) == []
    assert sorted(p.name for p in table.store.folder.iterdir() if p.is_file()) == [
        "part-00000.status.parquet", "part-00000.tar", "part-00001.status.parquet", "part-00001.tar",
    ]  # fmt: skip


@pytest.mark.parametrize("left", ["part-00000.tar", "part-00000.status.parquet"])
def test_half_of_a_shard_is_downloaded_anew(tmp_path, web, left):
    table = Table(tmp_path, rows_of(web, 3))
    first, _ = table.read()
    for path in table.store.folder.glob("part*"):
        if path.name != left:
            path.unlink()
    assert table.read()[0] == first
    assert set(web.asked.values()) == {2}


def test_a_status_table_tells_of_every_url(tmp_path, web):
    web.answers |= {"/a": Answer(b"", 302, {"Location": "/0.jpg"}), "/b": Answer(b"", 503)}
    rows = [{"URL": web.url(path), "TEXT": "x"} for path in ("/a", "/b")]
    table = Table(tmp_path, rows, attempts=2)
    table.read()
    found = pq.read_table(table.store.folder / "part-00000.status.parquet")
    assert found.schema == SCHEMA
    wanted = ("key", "url", "status", "http_status", "error", "attempts", "bytes", "final_url")
    assert [tuple(r[name] for name in wanted) for r in found.to_pylist()] == [
        ("000000000", web.url("/a"), "success", 200, "", 1, len(jpeg(0)), web.url("/0.jpg")),
        ("000000001", web.url("/b"), "server_busy", 503, "HTTP 503", 2, None, None),
    ]
    assert all(0 < seconds < 5 for seconds in found["seconds"].to_pylist())


def test_the_tar_has_the_layout_of_img2dataset_and_repeatable_bytes(tmp_path, web):
    web.answers["/0.jpg"] = [Answer(jpeg(0), pause_s=0.2), Answer(jpeg(0))]
    web.answers["/1.jpg"] = Answer(encoded(make_image(1), "PNG"))
    table = Table(tmp_path, rows_of(web, 3))
    table.read()
    first = table.tar().read_bytes()
    for path in table.store.folder.glob("part*"):
        path.unlink()
    table.read()
    assert table.tar().read_bytes() == first
    assert len(first) % RECORD == 0
    with tarfile.open(table.tar()) as tar:
        members = tar.getmembers()
        assert [m.name for m in members[:6]] == [
            f"00000000{n}.{s}" for n, i in ((0, "jpg"), (1, "png")) for s in (i, "txt", "json")
        ]
        assert {(m.mtime, m.uid, m.gid, m.mode, m.offset % BLOCK) for m in members} == {(0, 0, 0, 0o644, 0)}
    samples = list(webdataset.WebDataset(str(table.tar()), shardshuffle=False, empty_check=False))
    assert [s["__key__"] for s in samples] == ["000000000", "000000001", "000000002"]
    assert samples[2]["jpg"] == jpeg(2)
    assert samples[2]["txt"] == b"caption 2"
    assert json.loads(samples[2]["json"])["original_width"] == 96


def test_a_shard_of_more_bytes_than_memory_should_hold_gives_the_same_tar(tmp_path, web, monkeypatch):
    table = Table(tmp_path, rows_of(web, 9))
    first, _ = table.read()
    whole = table.tar().read_bytes()
    for path in table.store.folder.glob("part*"):
        path.unlink()
    monkeypatch.setattr("stages.download.store.SPOOL_BYTES", 2 * len(jpeg(0)))
    assert table.read()[0] == first
    assert table.tar().read_bytes() == whole
    assert list(table.store.scratch().iterdir()) == []


def test_images_are_shrunk_on_arrival_where_that_is_asked_for(tmp_path, web):
    (row, _), notes = Table(tmp_path, rows_of(web, 2), stored_side_px=40).read()
    metadata = json.loads(row["source_metadata"])
    assert (metadata["width"], metadata["height"], metadata["original_width"]) == (48, 40, 96)
    assert metadata["sha256"] == hashlib.sha256(jpeg(0)).hexdigest() != row["source_sha256"]
    assert row["source_sha256"] == hashlib.sha256(row["source_raw"]).hexdigest()
    assert notes["images shrunk on arrival"] == 2


def test_rows_that_a_filter_refuses_are_rejects_and_are_not_asked_for(tmp_path, web):
    table = Table(
        tmp_path,
        rows_of(
            web, 10,
            similarity=[0.4, 0.29, None, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, float("nan")],
            punsafe=[0.1, 0.1, 0.1, 0.6, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1],
            pwatermark=[0.1, 0.1, 0.1, 0.1, 0.9, 0.1, 0.1, 0.1, 0.1, 0.1],
            WIDTH=[300, 300, 300, 300, 300, 199, 300, 700, 300, 300],
            HEIGHT=[300, 300, 300, 300, 300, 300, 99, 200, 0, 300],
        ),
        min_similarity=0.3, max_punsafe=0.5, max_pwatermark=0.8, min_width_px=200, min_height_px=100,
        max_aspect_ratio=3.0,
    )  # fmt: skip
    found, _ = table.read()
    assert [r["reject_reason"] for r in found] == [
        None, "filtered_similarity", "filtered_similarity", "filtered_punsafe", "filtered_pwatermark", "filtered_size",
        "filtered_size", "filtered_aspect_ratio", "filtered_size", "filtered_similarity",
    ]  # fmt: skip
    assert [r["reject_detail"] for r in found[1:4]] == [
        "similarity 0.29, less than 0.3", "no number in column 'similarity'", "punsafe 0.6, more than 0.5",
    ]  # fmt: skip
    assert found[7]["reject_detail"] == "700 x 200 px, more than 3 to 1"
    assert web.asked == {"/0.jpg": 1}


def test_a_size_of_nothing_has_no_shape(tmp_path, web):
    found, _ = Table(tmp_path, rows_of(web, 2, WIDTH=[0, None], HEIGHT=[5, 5]), max_aspect_ratio=3.0).read()
    assert [(r["reject_reason"], r["reject_detail"]) for r in found] == [("filtered_aspect_ratio", "no size")] * 2


def test_columns_of_other_names_are_named_by_settings(tmp_path, web):
    rows = [{"link": web.url("/0.jpg"), "alt": "x", "clip": Decimal("0.5")}]
    options = {"url_column": "link", "caption_column": "alt", "similarity_column": "clip", "min_similarity": 0.4}
    (row,), _ = Table(tmp_path, rows, **options).read()
    assert (row["reject_reason"], row["caption"]) == (None, "x")


def test_captions_may_be_missing_where_none_is_required(tmp_path, web):
    rows = [{"URL": web.url("/0.jpg"), "n": 1}]
    (row,), _ = Table(tmp_path, rows, require_caption=False).read()
    assert (row["reject_reason"], row["caption"]) == (None, None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url_column": "url"}, "no column for url_column = 'url'; it has URL, TEXT"),
        ({"caption_column": "text"}, "no column for caption_column = 'text'"),
        ({"min_similarity": 0.3}, "no column for similarity_column = 'similarity'"),
        (
            {"max_punsafe": 0.5, "max_pwatermark": 0.5},
            "no column for punsafe_column = 'punsafe', pwatermark_column = 'pwatermark'",
        ),
        ({"max_aspect_ratio": 2.0}, "no column for width_column = 'WIDTH', height_column = 'HEIGHT'"),
        ({"min_height_px": 2}, "no column for height_column = 'HEIGHT'"),
    ],
)
def test_a_column_that_a_table_lacks_is_named_before_any_work(tmp_path, web, options, message):
    with pytest.raises(PlanError) as refused:
        Table(tmp_path, rows_of(web, 1), **options)
    assert str(refused.value).startswith(f"{tmp_path}/part.parquet: {message}")


def test_a_column_that_went_missing_since_fails_the_shard(tmp_path, web):
    table = Table(tmp_path, rows_of(web, 1, similarity=[1.0]), min_similarity=0.3)
    pq.write_table(pa.Table.from_pylist(rows_of(web, 1)), table.path)
    with pytest.raises(ShardFailed, match="no column for similarity_column"):
        table.read()


def test_rows_that_went_missing_since_fail_the_shard(tmp_path, web):
    table = Table(tmp_path, rows_of(web, 5), rows_per_shard=2)
    pq.write_table(pa.Table.from_pylist(rows_of(web, 3)), table.path)
    with pytest.raises(ShardFailed, match="has no rows 3 to 4: the file was changed after the plan"):
        table.read()


def test_shards_are_spans_of_rows_of_each_table(tmp_path, web):
    table = Table(tmp_path, rows_of(web, 5), rows_per_shard=2)
    assert [(s.name, s.part) for s in table.shards] == [
        ("part-00000", (0, 2)), ("part-00001", (2, 4)), ("part-00002", (4, 5)),
    ]  # fmt: skip
    assert len({s.identity for s in table.shards}) == 3
    assert sum(s.num_bytes for s in table.shards) <= table.path.stat().st_size


def test_inputs_that_are_no_tables_are_refused(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"no table")
    with pytest.raises(PlanError, match=r"a\.parquet: not a Parquet file"):
        ReadLaion().list_shards([str(tmp_path)])
    pq.write_table(
        pa.table({"URL": pa.array([], pa.string()), "TEXT": pa.array([], pa.string())}), tmp_path / "a.parquet"
    )
    with pytest.raises(PlanError, match="have no rows"):
        ReadLaion().list_shards([str(tmp_path)])


def test_a_table_elsewhere_is_read_through_fsspec(tmp_path, web):
    import fsspec

    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows_of(web, 2)), buffer)
    fsspec.filesystem("memory").pipe_file("/laion/part.parquet", buffer.getvalue())
    stage = laion_stage()
    (shard,) = stage.list_shards(["memory://laion/part.parquet"])
    read = stage.open(Context(stage_name="x", store=FolderStore(tmp_path / "store")))
    assert [r["reject_reason"] for t in read(shard) for r in t.to_pylist()] == [None, None]


@pytest.mark.parametrize("row_group_size", [1, 3, 7, 100])
def test_spans_are_read_whatever_the_row_groups(tmp_path, row_group_size):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"n": list(range(20))}), path, row_group_size=row_group_size)
    spans = [(0, 5), (5, 11), (11, 20), (3, 4), (19, 20), (0, 20), (6, 6), (18, 19)]
    reader = TableReader(str(path))
    for start, stop in spans:
        assert [r["n"] for r in reader.read(start, stop)] == list(range(start, stop))
    reader.close()


def test_reading_on_in_a_table_reads_no_batch_twice(tmp_path):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"n": list(range(10_000))}), path)
    reader = TableReader(str(path))
    begun = []
    real = reader._go_to
    reader._go_to = lambda group: (begun.append(group), real(group))
    for start in range(0, 10_000, 500):
        list(reader.read(start, start + 250))
    assert begun == []
    list(reader.read(0, 1))
    assert begun == [0]


def test_odd_values_of_the_table_cost_no_row(tmp_path, web):
    broken = pa.array([b"caf\xe9"], pa.binary()).view(pa.string())
    table = pa.table(
        {
            "URL": [web.url("/0.jpg")], "TEXT": broken, "width": [7], "when": pa.array([1], pa.timestamp("ns")),
            "raw": pa.array([b"\xff"], pa.binary()), "nan": [float("nan")], "price": [Decimal("1.5")],
            "kind": pa.array(["a"]).dictionary_encode(), "more": [{"deep": [1, float("inf")]}],
        }
    )  # fmt: skip
    (row,), _ = Table(tmp_path, table).read()
    assert (row["reject_reason"], row["caption"]) == (None, "caf\ufffd")
    metadata = json.loads(row["source_metadata"], parse_constant=pytest.fail)
    assert metadata["input_width"] == 7
    assert metadata["width"] == 96
    assert {k: metadata[k] for k in ("raw", "nan", "price", "kind", "more")} == {
        "raw": None, "nan": None, "price": "1.5", "kind": "a", "more": {"deep": [1, None]},
    }  # fmt: skip
    assert metadata["when"].startswith("1970-01-01 00:00:00")


def test_captions_of_every_script_and_length_survive(tmp_path, web):
    captions = ["größer ☃ 黒い犬", "line\nbreak\ttab", "../../etc/passwd", "x" * 100_000]
    rows = [{"URL": web.url(f"/{n}.jpg"), "TEXT": caption} for n, caption in enumerate(captions)]
    found, _ = Table(tmp_path, rows).read()
    assert [r["caption"] for r in found] == [captions[0], "line break\ttab", *captions[2:]]


def test_credentials_of_an_url_are_nowhere(tmp_path, web):
    url = web.url("/0.jpg").replace("http://", "http://user:secret@")
    table = Table(tmp_path, [{"URL": url, "TEXT": "x"}, {"URL": "ftp://user:secret@example.org/", "TEXT": "x"}])
    found, _ = table.read()
    assert [r["reject_reason"] for r in found] == [None, "forbidden_scheme"]
    assert "secret" not in repr(found)
    assert "secret" not in repr(table.statuses())
    assert b"secret" not in table.tar().read_bytes()


def test_a_shard_without_any_success_is_read_too(tmp_path, web):
    table = Table(tmp_path, [{"URL": web.url("/gone"), "TEXT": "x"}])
    assert reasons(table.read()[0]) == reasons(table.read()[0]) == {"000000000": "http_error"}


def test_a_context_without_a_store_is_refused():
    with pytest.raises(ContractError, match="no store for downloads"):
        ReadLaion().open(Context(stage_name="x"))
