"""The WebDataset reader on whole, odd and damaged tars."""

import hashlib
import io
import json
import tarfile

import pytest
import webdataset
from _inputs import (
    END,
    checksummed,
    details,
    header,
    jpeg,
    member,
    padded,
    read_rows,
    reasons,
    sample,
    tar_of,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import PlanError, ShardFailed
from stages.inputs.rows import MAX_TEXT_BYTES, TABLE_ROWS, InputReject
from stages.inputs.tar_headers import DAMAGE_NOTE
from stages.inputs.tar_index import split_key
from stages.read_webdataset import ReadWebdataset

IMAGE = jpeg(1)
CUT_NOTE = "archive cut off: no end marker"
GOOD = sample("good", IMAGE, "a good caption")


def read(tmp_path, data, **options):
    (tmp_path / "shard.tar").write_bytes(data)
    return read_rows(ReadWebdataset(**options), tmp_path)


def read_one(tmp_path, *members, **options):
    rows, _ = read(tmp_path, tar_of(*members), **options)
    (row,) = rows
    return row


def test_a_sample_becomes_a_row_with_its_bytes_hash_and_metadata(tmp_path):
    row = read_one(tmp_path, *sample("a/000", IMAGE, " a dog \n", {"url": "http://x/y", "n": 1}))
    sha = hashlib.sha256(IMAGE).hexdigest()
    assert row == {
        "sample_id": sha[:16], "source_raw": IMAGE, "source_sha256": sha, "source_key": "a/000",
        "source_size_bytes": len(IMAGE), "source_url": "http://x/y", "source_licence": None, "caption": "a dog",
        "source_metadata": '{"n": 1, "url": "http://x/y"}', "reject_reason": None, "reject_detail": None,
    }  # fmt: skip


def test_keys_are_split_as_webdataset_splits_them(tmp_path):
    names = ["a.jpg", "b.source.jpg", "dir.v1/c.jpg", "dir/d.e.f.JPG", "plain", ".hidden"]
    for name in names:
        base, suffix = webdataset.tariterators.base_plus_ext(name)
        expected = (base, suffix.lower()) if base and suffix else ("", "")
        key, own = split_key(name)
        assert ((key, own) if key and own else ("", "")) == expected, name


@pytest.mark.parametrize("suffix", ["jpg", "JPEG", "png", "webp", "gif", "bmp", "tif", "tiff"])
def test_every_image_suffix_is_read(tmp_path, suffix):
    assert read_one(tmp_path, *sample("k", IMAGE, "x", suffix=suffix))["source_raw"] == IMAGE


def test_members_of_a_key_need_not_lie_together(tmp_path):
    data = tar_of(("a.jpg", IMAGE), ("b.jpg", IMAGE + b"b"), ("b.txt", b"caption b"), ("a.txt", b"caption a"))
    rows, _ = read(tmp_path, data)
    assert [(r["source_key"], r["caption"], r["reject_reason"]) for r in rows] == [
        ("a", "caption a", None),
        ("b", "caption b", None),
    ]


@pytest.mark.parametrize(
    ("members", "options", "reason"),
    [
        (sample("k", None, "x"), {}, InputReject.NO_IMAGE),
        (sample("k", b"", "x"), {}, InputReject.EMPTY_IMAGE),
        (sample("k", IMAGE, "x"), {"max_image_bytes": len(IMAGE) - 1}, InputReject.OVERSIZE_IMAGE),
        (sample("k", IMAGE), {}, InputReject.MISSING_CAPTION),
        (sample("k", IMAGE, metadata={"caption": 3}), {}, InputReject.MISSING_CAPTION),
        (sample("k", IMAGE, ""), {}, InputReject.EMPTY_CAPTION),
        (sample("k", IMAGE, " \n\u2003"), {}, InputReject.EMPTY_CAPTION),
        (sample("k", IMAGE, b"caf\xe9"), {}, InputReject.CAPTION_NOT_UTF8),
        (sample("k", IMAGE, metadata=b"{"), {}, InputReject.BROKEN_METADATA),
        (sample("k", IMAGE, metadata=b'["a"]'), {}, InputReject.BROKEN_METADATA),
        (sample("k", IMAGE, metadata=b"\xff"), {}, InputReject.BROKEN_METADATA),
        (sample("k", IMAGE, metadata=b'{"a":' * 30_000 + b"1" + b"}" * 30_000), {}, InputReject.BROKEN_METADATA),
    ],
)
def test_a_sample_that_cannot_be_used_says_why(tmp_path, members, options, reason):
    assert read_one(tmp_path, *members, **options)["reject_reason"] == reason


def test_an_image_of_exactly_the_limit_is_read(tmp_path):
    assert read_one(tmp_path, *GOOD, max_image_bytes=len(IMAGE))["reject_reason"] is None


def test_captions_may_be_missing_where_none_is_required(tmp_path):
    row = read_one(tmp_path, *sample("k", IMAGE, b"caf\xe9"), require_caption=False)
    assert (row["caption"], row["reject_reason"]) == (None, None)


def test_a_caption_comes_from_text_first_and_from_metadata_next(tmp_path):
    assert read_one(tmp_path, *sample("k", IMAGE, "text", {"caption": "json"}))["caption"] == "text"
    assert read_one(tmp_path, *sample("k", IMAGE, None, {"caption": "json"}))["caption"] == "json"


def test_broken_metadata_is_noted_and_rejects_no_row_with_a_text(tmp_path):
    rows, notes = read(tmp_path, tar_of(*sample("k", IMAGE, "a caption", b"{broken")))
    assert (rows[0]["reject_reason"], rows[0]["source_metadata"]) == (None, None)
    assert notes == {"metadata that is not a JSON object": 1}


def test_metadata_is_kept_as_json_that_any_reader_takes(tmp_path):
    odd = b'\xef\xbb\xbf{"nan": NaN, "inf": -Infinity, "big": 1e999, "lone": "\\ud800", "caption": "a \\udc80 b"}'
    row = read_one(tmp_path, *sample("k", IMAGE, None, odd))
    assert row["reject_reason"] is None
    assert json.loads(row["source_metadata"], parse_constant=pytest.fail) == {
        "nan": None, "inf": None, "big": None, "lone": "?", "caption": "a ? b",
    }  # fmt: skip
    assert row["caption"] == "a ? b"


def test_a_byte_order_mark_is_no_part_of_the_caption(tmp_path):
    assert read_one(tmp_path, *sample("k", IMAGE, "\ufeffa caption"))["caption"] == "a caption"


@pytest.mark.parametrize(
    "text", ["x" * 10_000_000, "\u9ed2" * 1_000_000, "a" + "\u9ed2" * 1_000_000, "\U0001f600" * 300_000]
)
def test_a_very_long_text_is_cut_at_a_whole_character(tmp_path, text):
    row = read_one(tmp_path, *sample("k", IMAGE, text))
    assert row["reject_reason"] is None
    assert text.startswith(row["caption"])
    assert MAX_TEXT_BYTES - 4 <= len(row["caption"].encode()) <= MAX_TEXT_BYTES


def test_a_repeated_key_is_a_reject_with_its_own_row(tmp_path):
    data = tar_of(
        *sample("k", IMAGE, "first"), *sample("k", IMAGE + b"2", "second"), *sample("k", IMAGE + b"3", "third")
    )
    rows, _ = read(tmp_path, data)
    assert [(r["caption"], r["reject_reason"], r["reject_detail"]) for r in rows] == [
        ("first", None, None),
        ("second", "duplicate_key", "occurrence 2 of this key"),
        ("third", "duplicate_key", "occurrence 3 of this key"),
    ]
    assert len({r["sample_id"] for r in rows}) == 3


def test_names_are_only_ever_text(tmp_path):
    names = ["../../etc/up", "/etc/absolute", "a\\b", "..", "k" * 300, "deep/" * 60 + "x", "caf\u00e9"]
    for tar_format in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        blocks = [
            member(f"{n}.jpg", IMAGE + n.encode(), tar_format) + member(f"{n}.txt", b"a cat", tar_format) for n in names
        ]
        rows, notes = read(tmp_path, tar_of(*blocks))
        kept = {r["source_key"] for r in rows if r["reject_reason"] is None}
        assert kept == set(names) - {".."}
        assert notes == {"members without key or suffix, ignored": 2}
    assert [p.name for p in tmp_path.iterdir()] == ["shard.tar"]


def test_a_name_that_is_not_utf8_is_readable_afterwards(tmp_path):
    blocks = [bytes(header(n, len(c))) + padded(c) for n, c in (("caf\udce9.jpg", IMAGE), ("caf\udce9.txt", b"x"))]
    (row,), _ = read(tmp_path, tar_of(*blocks))
    assert (row["source_key"], row["reject_reason"]) == ("caf?", None)
    (row,), _ = read(tmp_path, tar_of(bytes(header("b.\udce9", 1)) + padded(b"x")))
    assert (row["reject_reason"], row["reject_detail"]) == ("no_image", "members: ?")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_members_that_are_no_files_are_ignored_and_noted(tmp_path, kind):
    odd = bytes(header("evil.jpg", 0, kind, linkname="/etc/passwd"))
    rows, notes = read(tmp_path, tar_of(odd, *GOOD))
    assert reasons(rows) == {"good": None}
    assert notes == {"members that are no files, ignored": 1}


def test_folders_are_ignored_without_a_note(tmp_path):
    rows, notes = read(tmp_path, tar_of(bytes(header("dir.jpg", 0, tarfile.DIRTYPE)), *GOOD))
    assert (reasons(rows), notes) == ({"good": None}, {"members that are no files, ignored": 0})


def test_a_sparse_member_is_no_image(tmp_path):
    sparse = checksummed(header("s.jpg", 512, tarfile.GNUTYPE_SPARSE)) + bytes(512)
    rows, _ = read(tmp_path, tar_of(sparse, ("s.txt", b"a caption"), *GOOD))
    assert reasons(rows) == {"s": "unreadable_image", "good": None}
    assert details(rows)["s"] == "a sparse file, which no image is"


def test_further_members_are_noted(tmp_path):
    rows, notes = read(tmp_path, tar_of(*GOOD, ("good.cls", b"3"), ("good.png", IMAGE)))
    assert (reasons(rows), notes) == ({"good": None}, {"extra members, ignored": 2})


LAST = sample("last", IMAGE + b"last", "the last caption")


@pytest.mark.parametrize(
    ("cut", "expected", "notes"),
    [
        ("end marker", {"good": None, "last": None}, {CUT_NOTE: 1}),
        ("text", {"good": None, "last": "truncated_shard"}, {CUT_NOTE: 1, DAMAGE_NOTE: 1}),
        ("text header", {"good": None, "last": "missing_caption"}, {CUT_NOTE: 1}),
        ("image", {"good": None, "last": "truncated_shard"}, {CUT_NOTE: 1, DAMAGE_NOTE: 1}),
        ("image header", {"good": None}, {CUT_NOTE: 1}),
    ],
)
def test_a_cut_archive_loses_only_what_is_behind_the_cut(tmp_path, cut, expected, notes):
    good, image, text = tar_of(*GOOD, end=b""), member(*LAST[0]), member(*LAST[1])
    length = {
        "end marker": len(good + image + text),
        "text": len(good + image) + 512 + 3,
        "text header": len(good + image) + 100,
        "image": len(good) + 512 + 1000,
        "image header": len(good) + 100,
    }[cut]
    rows, found = read(tmp_path, (good + image + text + END)[:length])
    assert (reasons(rows), found) == (expected, notes)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the archive is empty (0 bytes)"),
        (b"no tar at all" * 500, "not a tar archive"),
        (b"short", "not a tar archive"),
        (tar_of(*GOOD)[:300], "not a tar archive"),
        (b"\x1f\x8b\x08\x00" + bytes(range(256)) * 8, "compressed tars are not read, unpack them first"),
    ],
)
def test_a_file_that_is_no_tar_fails_its_shard(tmp_path, data, message):
    with pytest.raises(ShardFailed) as failure:
        read(tmp_path, data)
    assert message in str(failure.value)
    assert "shard.tar: " in str(failure.value)


def test_an_empty_archive_has_no_rows(tmp_path):
    assert read(tmp_path, bytes(10_240)) == ([], {})


def pax_record(key, value):
    body = f" {key}={value}\n"
    length = len(body)
    while len(f"{length}{body}") != length:
        length = len(f"{length}{body}")
    return f"{length}{body}".encode()


def pax(key, value):
    record = pax_record(key, value)
    return bytes(header("pax", len(record), tarfile.XHDTYPE)) + padded(record)


def negative_size():
    block = header("n.jpg", 0)
    block[124:136] = b"\xff" * 11 + b"\x00"  # base 256: -256
    return checksummed(block)


def digits(number):
    return bytes(header("pax", number, tarfile.XHDTYPE)) + padded(b"1" * number)


def cut_sparse():
    block = header("s.jpg", 3, tarfile.GNUTYPE_SPARSE)
    block[482] = 1  # promises a further block of its map
    return checksummed(block) + bytes(100)


def long_names(number):
    one = bytes(header("././@LongLink", 4, tarfile.GNUTYPE_LONGNAME)) + padded(b"abc\0")
    return one * number


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(negative_size(), id="negative size"),
        pytest.param(pax("size", "-1024") + member("p.jpg", IMAGE), id="negative pax size"),
        pytest.param(pax("size", str(1 << 70)) + member("p.jpg", IMAGE), id="huge pax size"),
        pytest.param(long_names(3000), id="long names stacked"),
        pytest.param(cut_sparse(), id="cut sparse map"),
        pytest.param(digits(2_000_000), id="pax header of digits"),
        pytest.param(digits(8192) * 20, id="pax headers of digits"),
        pytest.param(b"\xff" * 512, id="garbage header"),
    ],
)
@pytest.mark.timeout(20)
def test_hostile_headers_end_the_archive_and_cost_no_earlier_row(tmp_path, damage):
    rows, notes = read(tmp_path, tar_of(*GOOD, damage, end=b""))
    assert reasons(rows)["good"] is None
    assert all(
        reason in ("truncated_shard", "oversize_image") for key, reason in reasons(rows).items() if key != "good"
    )
    assert notes.get(CUT_NOTE, 0) + notes.get(DAMAGE_NOTE, 0) >= 1


def test_a_header_that_was_overwritten_is_damage_and_no_cut(tmp_path):
    whole = tar_of(*GOOD, b"\xff" * 512, *GOOD)
    rows, notes = read(tmp_path, whole)
    assert reasons(rows)["good"] is None
    assert notes == {DAMAGE_NOTE: 1}


def test_stacked_long_names_at_the_start_fail_the_shard(tmp_path):
    with pytest.raises(ShardFailed, match="not a tar archive"):
        read(tmp_path, tar_of(long_names(3000), *GOOD))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_garbled_archive_never_raises_anything_but_shard_failed(tmp_path, data):
    whole = bytearray(tar_of(*GOOD, pax("comment", "x"), *sample("k" * 150, IMAGE, "a", {"b": 1})))
    blocks = range(0, len(whole), 512)
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.sampled_from(blocks))
        at = start + data.draw(st.sampled_from([0, 124, 125, 135, 156, 345, 386, 482]) | st.integers(0, 511))
        whole[at] = data.draw(st.sampled_from(b"\0 07\x80\xffSxLgK") | st.integers(0, 255))
        whole[start : start + 512] = checksummed(whole[start : start + 512])
    try:
        rows, _ = read(tmp_path, bytes(whole))
    except ShardFailed:
        return
    assert all(r["reject_reason"] is not None or r["source_raw"] for r in rows)


def test_a_reader_gives_small_tables_and_the_same_rows_again(tmp_path):
    members = [m for n in range(TABLE_ROWS + 5) for m in sample(f"{n:05d}", b"\xff\xd8" + str(n).encode(), "x")]
    first, _ = read(tmp_path, tar_of(*members))
    again, _ = read(tmp_path, tar_of(*members))
    assert len(first) == TABLE_ROWS + 5
    assert first == again


def test_one_shard_a_tar_in_name_order(tmp_path):
    for name in ("b.tar", "a.tar", "notes.md"):
        (tmp_path / name).write_bytes(tar_of(*GOOD))
    shards = ReadWebdataset().list_shards([str(tmp_path)])
    assert [s.name for s in shards] == ["a", "b"]
    assert shards[0].num_bytes == len(tar_of(*GOOD))


def test_a_folder_without_tars_is_refused(tmp_path):
    with pytest.raises(PlanError, match=r"holds no \.tar file"):
        ReadWebdataset().list_shards([str(tmp_path)])


def test_a_tar_written_by_webdataset_is_read(tmp_path):
    with webdataset.TarWriter(str(tmp_path / "w.tar")) as sink:
        sink.write({"__key__": "000", "jpg": IMAGE, "txt": "a dog", "json": {"url": "http://x"}})
    (row,), notes = read_rows(ReadWebdataset(), tmp_path)
    assert (row["source_raw"], row["caption"], row["source_url"], notes) == (IMAGE, "a dog", "http://x", {})


def test_a_remote_tar_is_read_through_a_copy():
    import fsspec

    fsspec.filesystem("memory").pipe_file("/remote/one.tar", tar_of(*GOOD))
    rows, _ = read_rows(ReadWebdataset(), "memory://remote/one.tar")
    assert reasons(rows) == {"good": None}
    assert io.BytesIO(rows[0]["source_raw"]).getvalue() == IMAGE
