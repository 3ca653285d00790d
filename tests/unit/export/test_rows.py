"""Rows of a tar: names, values, and hostile names."""

import io
import tarfile

import pytest
from _datasets import write_list, write_tar
from _export_datasets import key_of, row_members, write_export_dataset

from core.errors import DatasetError
from export.rows import read_rows
from samples.shards import read_shards


def rows_of(folder):
    dataset = read_shards(folder)
    return [row for shard in dataset.shards for row in read_rows(dataset, shard)]


@pytest.mark.parametrize("name", ["../x.json", "a/b.json", "/x.json", ".x.json", "x\ny.json", "-x.json"])
def test_name_that_leaves_the_folder_is_refused(name, tmp_path):
    key, _, suffix = name.rpartition(".")
    write_tar(tmp_path / "00000.tar", {key: {suffix: b"{}"}})
    write_list(tmp_path, {"00000.tar": 1})
    with pytest.raises(DatasetError, match=r"00000\.tar of .* has the member .*; expected a file <sample_id>"):
        rows_of(tmp_path)


def test_sparse_file_is_refused_before_its_content_is_read(tmp_path):
    header = tarfile.TarInfo("a.json")
    header.pax_headers = {
        "GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(1 << 50),
        "GNU.sparse.name": "a.json",
    }  # fmt: skip
    content = b"1\n0\n2\n".ljust(512, b"\0") + b"{}"
    header.size = len(content)
    with tarfile.open(tmp_path / "00000.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(header, io.BytesIO(content))
    write_list(tmp_path, {"00000.tar": 1})
    with pytest.raises(DatasetError, match=r"has the member 'a\.json'; expected a file <sample_id>"):
        rows_of(tmp_path)


def test_sample_that_is_there_twice_is_refused(tmp_path):
    write_tar(tmp_path / "00000.tar", {"a": {"json": b"{}"}, "b": {"json": b"{}"}})
    content = (tmp_path / "00000.tar").read_bytes()
    write_tar(tmp_path / "more.tar", {"a": {"json": b"{}"}})
    more = (tmp_path / "more.tar").read_bytes()
    (tmp_path / "more.tar").unlink()
    (tmp_path / "00000.tar").write_bytes(content[:2048] + more)
    write_list(tmp_path, {"00000.tar": 3})
    with pytest.raises(DatasetError, match="has the sample a twice"):
        rows_of(tmp_path)


@pytest.mark.parametrize("content", [b"[1]", b"no json", b'{"a": ' * 100_000])
def test_member_that_is_no_object_is_reported(content, tmp_path):
    dataset = write_export_dataset(tmp_path, [{1: row_members(1) | {"json": content}}])
    with pytest.raises(DatasetError, match=r"00000\.tar of "):
        rows_of(dataset)


def test_row_has_images_in_order_and_texts_on_one_line(tmp_path):
    members = row_members(1, instruction="make\n it \x00 red \ud800 now", caption=3) | {"source1.png": b"second"}
    (row,) = rows_of(write_export_dataset(tmp_path, [{1: members}]))
    assert row.sample_id == key_of(1)
    assert [image.suffix for image in row.images("source_images")] == ["jpg", "png"]
    assert row.text("instruction") == "make it red ? now"
    assert (row.text("caption"), row.text("target_phrase")) == ("", "")
    assert row.has("caption")
    assert not row.has("target_phrase")
    assert not row.has("target_mask_png")
