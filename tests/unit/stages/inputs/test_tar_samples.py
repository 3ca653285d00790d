"""A reader of tars keeps the latest one open: what it says of a tar, and what it leaves, is the same each time."""

import tempfile
import uuid
from collections import Counter
from pathlib import Path

import fsspec
import pytest
from _inputs import END, jpeg, member, tar_of

from stages.inputs.tar_samples import TarReader, open_local

IMAGE = jpeg(1)
TAR = tar_of(("a.jpg", IMAGE), ("a.txt", b"one"), ("b.jpg", IMAGE), ("b.txt", b"two"))


def test_copy_of_a_remote_tar_has_no_name(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    url = f"memory://{uuid.uuid4().hex}.tar"
    with fsspec.open(url, "wb") as out:
        out.write(TAR)
    with open_local(url) as handle:
        assert list(tmp_path.iterdir()) == []
        assert handle.read() == TAR


def test_each_reading_has_the_notes_of_the_index(tmp_path):
    path = tmp_path / "a.tar"
    path.write_bytes(member("README", b"no key") + TAR + END)
    reader, expected = TarReader(), {"members without key or suffix, ignored": 1}
    for _ in range(2):
        notes = Counter()
        assert [s.text for s in reader.samples(str(path), 1 << 20, notes, identity="1")] == [b"one", b"two"]
        assert dict(notes) == expected
    reader.close()


class Stale:
    """A file on a network disk that does not answer any more."""

    def seek(self, *_):
        raise OSError(116, "Stale file handle")


def test_tar_is_opened_again_after_a_fault_of_its_disk(tmp_path):
    path = tmp_path / "a.tar"
    path.write_bytes(TAR)
    reader = TarReader()
    samples = reader.samples(str(path), 1 << 20, Counter(), identity="1")
    next(samples)
    object.__setattr__(reader._known, "handle", Stale())
    samples = reader.samples(str(path), 1 << 20, Counter(), identity="1")
    with pytest.raises(OSError, match="Stale"):
        list(samples)
    assert len(list(reader.samples(str(path), 1 << 20, Counter(), identity="1"))) == 2
    reader.close()
    assert Path(path).read_bytes() == TAR
