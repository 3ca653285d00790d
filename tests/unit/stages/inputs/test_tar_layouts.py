"""Tars as many hands make them: put together, padded, cut, in old formats, with odd and hostile headers."""

import io
import tarfile

import pytest
from _inputs import END, checksummed, header, jpeg, member, padded, read_rows, reasons, sample, tar_of

from samples.images import IMAGE_SUFFIXES
from stages.inputs import tar_headers
from stages.inputs.rows import MAX_TEXT_BYTES
from stages.inputs.tar_headers import BEHIND_NOTE, CUT_NOTE, DAMAGE_NOTE, GARBLED_NOTE
from stages.read_webdataset import ReadWebdataset

IMAGE = jpeg(1)
ONE, TWO = (sample(key, IMAGE + key.encode(), f"caption {key}") for key in ("one", "two"))
BOTH = {"one": None, "two": None}


def read(tmp_path, data):
    (tmp_path / "shard.tar").write_bytes(data)
    rows, notes = read_rows(ReadWebdataset(), tmp_path)
    return reasons(rows), {note: count for note, count in notes.items() if count}


def written(members, **options):
    """A tar as Python's tarfile writes it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", **options) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


@pytest.mark.parametrize("suffix", IMAGE_SUFFIXES)
def test_a_member_with_any_suffix_of_the_list_is_an_image(tmp_path, suffix):
    assert read(tmp_path, tar_of(*sample("k", IMAGE, "x", suffix=suffix))) == ({"k": None}, {})


@pytest.mark.parametrize("between", [512, 1024, 10_240, 3 << 20])
def test_tars_put_together_are_read_to_the_last_one(tmp_path, between):
    data = tar_of(*ONE, end=bytes(between)) + tar_of(*TWO)
    assert read(tmp_path, data) == (BOTH, {})
    assert read(tmp_path, written(ONE) + written(TWO)) == (BOTH, {})


def test_a_sample_may_lie_on_both_sides_of_an_end_marker(tmp_path):
    data = tar_of(ONE[0], *TWO) + tar_of(ONE[1])
    assert read(tmp_path, data) == (BOTH, {})


def test_padding_after_the_end_marker_is_no_damage(tmp_path):
    for padding in (0, 100, 512, 10_240, 5_000_001):
        assert read(tmp_path, tar_of(*ONE) + bytes(padding)) == ({"one": None}, {})
    assert read(tmp_path, bytes(1024) + tar_of(*ONE)) == ({"one": None}, {})


@pytest.mark.parametrize("garbage", [b"\n", b"x" * 512, b"no tar " * 1000])
def test_what_is_no_tar_behind_the_end_marker_is_counted(tmp_path, garbage):
    assert read(tmp_path, tar_of(*ONE) + garbage) == ({"one": None}, {BEHIND_NOTE: len(garbage)})


def test_a_file_of_zeros_and_garbage_is_no_tar(tmp_path):
    from core.errors import ShardFailed

    with pytest.raises(ShardFailed, match="not a tar archive"):
        read(tmp_path, bytes(4096) + b"garbage" * 200)


def test_damage_in_the_second_tar_costs_nothing_of_the_first(tmp_path):
    second = bytearray(tar_of(*TWO))
    at = 512 + len(padded(TWO[0][1]))
    second[at : at + 512] = b"\xff" * 512
    rows, notes = read(tmp_path, tar_of(*ONE) + bytes(second))
    assert rows == {"one": None, "two": "missing_caption"}
    assert notes == {DAMAGE_NOTE: 1}


def sized(field, name="big.jpg", kind=tarfile.REGTYPE):
    block = header(name, 0, kind)
    block[124:136] = field
    return checksummed(block)


def base256(number):
    return b"\x80" + number.to_bytes(11, "big")


def records(**values):
    """A pax header with these records. Lengths may be wrong on purpose."""
    content = b""
    for key, value in values.items():
        body = f" {key}={value}\n".encode()
        length = len(body)
        while len(str(length)) + len(body) != length:
            length += 1
        content += str(length).encode() + body
    return bytes(header("pax", len(content), tarfile.XHDTYPE)) + padded(content)


HUGE = (1 << 63) - 1, (1 << 63) - 600, 1 << 63, (1 << 64) - 1, (1 << 87) - 1, (1 << 62) + 1


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.GNUTYPE_SPARSE, b"D", b"M", b"Z", b"7"])
@pytest.mark.parametrize("number", HUGE)
def test_a_giant_size_is_damage_and_costs_no_sample_before_it(tmp_path, number, kind):
    rows, notes = read(tmp_path, tar_of(*ONE, sized(base256(number), kind=kind), *TWO))
    assert rows.pop("one") is None
    assert set(rows.values()) <= {"oversize_image", "truncated_shard", "unreadable_image"}
    assert notes[DAMAGE_NOTE] == 1


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE])
@pytest.mark.parametrize("field", [base256(HUGE[0]), base256(HUGE[3]), b"\xff" * 12, b"nonsense\0\0\0\0"])
def test_a_giant_size_of_a_header_of_names_is_damage(tmp_path, field, kind):
    rows, notes = read(tmp_path, tar_of(*ONE, sized(field, kind=kind), *TWO))
    assert rows == {"one": None}
    assert notes == {DAMAGE_NOTE: 1}


@pytest.mark.parametrize("size", [-1, HUGE[0], HUGE[1], HUGE[3], "9" * 5000, "1_0", "0x10"])
def test_an_odd_size_in_a_pax_record_is_damage(tmp_path, size):
    rows, notes = read(tmp_path, tar_of(*ONE, records(size=size), member("big.jpg", IMAGE), *TWO))
    assert rows.pop("one") is None
    assert set(rows.values()) <= {"oversize_image", "truncated_shard"}
    assert notes[DAMAGE_NOTE] == 1


@pytest.mark.parametrize("at", [(100, 108), (108, 116), (116, 124), (136, 148), (329, 337), (337, 345)])
@pytest.mark.parametrize("garbage", [b"\xff", b"\x80\x7f", b"x", b"8", b"\0"])
def test_numbers_that_no_reader_needs_may_be_anything(tmp_path, at, garbage):
    block = bytearray(member("one.jpg", IMAGE)[:512])
    start, end = at
    block[start:end] = (garbage * 12)[: end - start]
    data = tar_of(checksummed(block) + padded(IMAGE), ONE[1], *TWO)
    assert read(tmp_path, data) == (BOTH, {})


def test_a_pax_time_of_any_value_costs_nothing(tmp_path):
    for mtime in ("1e308", "-1e308", "nan", "9" * 400, "x"):
        data = tar_of(records(mtime=mtime, uid="x", atime="inf"), *ONE, *TWO)
        assert read(tmp_path, data) == (BOTH, {})


def test_a_checksum_of_signed_bytes_or_in_spaces_is_taken(tmp_path):
    block = header("caf\u00e9.jpg", len(IMAGE))
    block[148:156] = b" " * 8
    signed = sum(byte - 256 * (byte > 127) for byte in block[:512])
    for form in (b"%06o\0 ", b"%7o ", b"%o\0\0\0"):
        block[148:156] = (form % signed).ljust(8, b" ")[:8]
        assert read(tmp_path, tar_of(bytes(block) + padded(IMAGE), ("caf\u00e9.txt", b"x")))[0] == {"caf\u00e9": None}


def test_sizes_in_spaces_and_without_an_end_are_read(tmp_path):
    for form in (b"%11o ", b"%-12o", b"%012o", b"%o\0garbage"):
        block = sized((form % len(IMAGE)).ljust(12, b"\0")[:12], "one.jpg")
        assert read(tmp_path, tar_of(block + padded(IMAGE), ONE[1])) == ({"one": None}, {})


def test_a_v7_tar_is_read(tmp_path):
    def v7(name, content):
        block = header(name, len(content))
        block[156:512] = bytes(356)
        return checksummed(block) + padded(content)

    assert read(tmp_path, tar_of(v7("dir/", b""), *(v7(*one) for one in ONE))) == ({"one": None}, {})


def test_times_in_the_place_of_the_prefix_are_no_part_of_a_name(tmp_path):
    def incremental(name, content):
        block = header(name, len(content))
        block[345:369] = b"14444444444\x0014444444444\0"
        return checksummed(block) + padded(content)

    assert read(tmp_path, tar_of(*(incremental(*one) for one in ONE))) == ({"one": None}, {})


@pytest.mark.parametrize("tar_format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_and_foreign_names_are_read_in_every_format(tmp_path, tar_format):
    keys = ["d" * 90 + "/" + "f" * 90, "\u9ed2" * 20, "a b/c"]
    if tar_format != tarfile.USTAR_FORMAT:
        keys.append("deep/" * 30 + "x" * 300)
    data = written([m for key in keys for m in sample(key, IMAGE + key.encode(), "x")], format=tar_format)
    assert read(tmp_path, data) == (dict.fromkeys(keys), {})


def test_large_attributes_in_a_pax_header_cost_nothing(tmp_path):
    attributes = records(**{"LIBARCHIVE.xattr.com.apple.ResourceFork": "A" * 60_000, "path": "one.jpg"})
    data = tar_of(attributes, member("short.jpg", IMAGE), ONE[1], *TWO)
    assert read(tmp_path, data) == (BOTH, {})


def test_global_headers_hold_for_what_follows_and_cost_nothing(tmp_path):
    data = written([*ONE, *TWO], format=tarfile.PAX_FORMAT, pax_headers={"comment": "c" * 9000, "hdrcharset": "BINARY"})
    assert read(tmp_path, data) == (BOTH, {})


@pytest.mark.parametrize(
    "names",
    [
        {"GNU.sparse.major": 1, "GNU.sparse.minor": 0, "GNU.sparse.name": "s.jpg", "GNU.sparse.realsize": 9000},
        {"GNU.sparse.size": 9000, "GNU.sparse.numblocks": 1, "GNU.sparse.map": "0,512"},
        {"GNU.sparse.map": "9" * 3000},
        {"GNU.sparse.major": "x"},
    ],
)
def test_a_sparse_member_of_pax_is_no_image_and_costs_no_other(tmp_path, names):
    data = tar_of(records(**names), member("s.jpg", bytes(512)), ("s.txt", b"x"), *ONE)
    assert read(tmp_path, data)[0] == {"s": "unreadable_image", "one": None}


def test_a_sparse_text_is_not_read_as_if_it_were_whole(tmp_path):
    data = tar_of(records(**{"GNU.sparse.major": 1, "GNU.sparse.minor": 0}), member("one.txt", b"1\n0\n5\n"), ONE[0])
    assert read(tmp_path, data) == ({"one": "missing_caption"}, {"sparse members, ignored": 1})


def test_a_chain_of_sparse_map_blocks_is_passed_over(tmp_path):
    block = header("s.jpg", 512, tarfile.GNUTYPE_SPARSE)
    block[482] = 1
    more = bytearray(512)
    more[504] = 1
    data = tar_of(checksummed(block) + bytes(more) * 50 + bytes(512) + bytes(512), ("s.txt", b"x"), *ONE)
    assert read(tmp_path, data)[0] == {"s": "unreadable_image", "one": None}


@pytest.mark.parametrize("short", [1, 511, 512, 513, 1023])
def test_a_tar_without_end_marker_or_last_padding_keeps_its_samples(tmp_path, short):
    data = tar_of(*ONE, ("two.jpg", TWO[0][1]), end=b"") + member("two.txt", b"x" * 512)
    rows, notes = read(tmp_path, data + END[: 1024 - short])
    assert rows == BOTH
    assert notes == ({CUT_NOTE: 1} if short > 512 else {})


@pytest.mark.parametrize(
    "garbled", [b"12 path", b"5 a=\n999999 b=c\n", b"-5 a=b\n", b"0 a=b\n", b"1" * 600, b"5 a=\n" * 5000]
)
def test_pax_records_that_make_no_sense_cost_no_member(tmp_path, garbled):
    bad = bytes(header("pax", len(garbled), tarfile.XHDTYPE)) + padded(garbled)
    assert read(tmp_path, tar_of(*ONE, bad, *TWO)) == (BOTH, {GARBLED_NOTE: 1})


def test_a_key_with_very_many_members_is_one_sample(tmp_path):
    odd = [member(f"one.{number}", b"") for number in range(5000)]
    assert read(tmp_path, tar_of(*ONE, *odd, *TWO)) == (BOTH, {"extra members, ignored": 5000})


@pytest.mark.parametrize("suffix", ["txt", "caption", "text", "CAPTION"])
def test_a_caption_may_have_any_suffix_of_texts(tmp_path, suffix):
    data = tar_of(("k.jpg", IMAGE), (f"k.{suffix}", b"a dog"))
    assert read(tmp_path, data) == ({"k": None}, {})


def test_one_text_of_several_is_the_caption_and_the_others_are_counted(tmp_path):
    data = tar_of(("k.jpg", IMAGE), ("k.caption", b"a cat"), ("k.txt", b"a dog"))
    (tmp_path / "shard.tar").write_bytes(data)
    (row,), notes = read_rows(ReadWebdataset(), tmp_path)
    assert row["caption"] == "a dog"
    assert notes["extra members, ignored"] == 1


def test_a_sample_without_caption_or_image_says_what_it_has(tmp_path):
    data = tar_of(("a.jpg", IMAGE), ("a.cls", b"3"), ("b.v2.jpg", IMAGE), ("b.v2.txt", b"x"), ("c.npy", b"x"))
    (tmp_path / "shard.tar").write_bytes(data)
    rows, _ = read_rows(ReadWebdataset(), tmp_path)
    assert [(r["reject_reason"], r["reject_detail"]) for r in rows] == [
        ("missing_caption", "members: cls, jpg"),
        ("no_image", "members: v2.jpg, v2.txt; a key ends at the first dot of a file's name"),
        ("no_image", "members: npy"),
    ]


def test_a_text_that_is_cut_leaves_a_note(tmp_path):
    data = tar_of(*sample("k", IMAGE, "x" * (MAX_TEXT_BYTES + 1)))
    assert read(tmp_path, data) == ({"k": None}, {f"texts cut after {MAX_TEXT_BYTES} bytes": 1})


def test_zeros_are_passed_over_up_to_a_limit_and_the_rest_is_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(tar_headers, "MAX_ZERO_BYTES", 1 << 20)
    data = tar_of(*ONE, end=bytes(4 << 20)) + tar_of(*TWO)
    rows, notes = read(tmp_path, data)
    assert rows == {"one": None}
    assert notes[BEHIND_NOTE] > 2 << 20


def test_a_global_header_names_the_members_behind_it_as_tarfile_has_it(tmp_path):
    parts = [tarfile.TarInfo.create_pax_global_header({"path": "k.jpg"}), member("x", IMAGE),
             tarfile.TarInfo.create_pax_global_header({"path": "k.txt"}), member("y", b"a dog"), END]  # fmt: skip
    data = b"".join(bytes(part) for part in parts)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert tar.getnames() == ["k.jpg", "k.txt"]
    assert read(tmp_path, data) == ({"k": None}, {})
