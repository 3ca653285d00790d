import io
import json
import tarfile
from types import SimpleNamespace

import pyarrow as pa
import pytest
from _fakes import sink_shard
from _inputs import encoded, jpeg, make_image
from PIL import Image

from core.errors import DamagedFileError
from samples.tar_writer import TarWriter
from stages.report.contact_sheet import MAX_SAMPLE_SHARDS, SUFFIX, THUMBNAIL_PX, ContactSheet, leave_thumbnails


def ids_of(name, rows):
    return [f"{name}-{n}" for n in range(rows)]


class Shards:
    """Shards by name, each a tar in a folder, and the files of thumbnails that their steps left."""

    def __init__(self, folder, rows):
        self.folder, self.rows, self.read_names, self.opened = folder, rows, [], []
        for name, number in rows.items():
            with TarWriter(folder / f"{name}.tar") as tar:
                for own in ids_of(name, number):
                    tar.add(f"{own}.source.jpg", jpeg(1, (600, 300)))
                    tar.add(f"{own}.target_mask.png", encoded(make_image(2).convert("L"), "PNG"))
                    tar.add(f"{own}.json", json.dumps({"sample_id": own}).encode())

    def leave(self, name, number, num_shards, wanted=240):
        shard = sink_shard(self.folder / f"{name}.tar", name, number, num_shards)
        leave_thumbnails(shard, wanted)
        made = self.folder / f"{name}.tar{SUFFIX}"
        return made.rename(self.folder / f"{name}{SUFFIX}") if made.exists() else None

    def ready(self):
        return [name for name in self.rows if (self.folder / f"{name}{SUFFIX}").exists()]

    def read(self, name):
        self.read_names.append(name)
        return (self.folder / name).read_bytes()

    def open(self, name):
        self.opened.append(name)
        return (self.folder / name).open("rb")

    def sheet(self, wanted=240, batch=100):
        """The sheet that the last step makes."""
        shard_files = {name: {"rows": number} for name, number in self.rows.items() if number}
        run = SimpleNamespace(
            shard_files=shard_files, further_files={SUFFIX: [n for n in self.ready() if n in shard_files]},
            read=self.read, open=self.open,
        )  # fmt: skip
        sheet = ContactSheet(run, wanted, ".tar")
        for name, number in self.rows.items():
            ids = ids_of(name, number)
            for start in range(0, number, batch):
                some = ids[start : start + batch]
                sheet.add(name, pa.table({"sample_id": some, "caption": [i.upper() for i in some]}))
        return sheet


def shards(tmp_path, number, rows=3):
    return Shards(tmp_path, {f"{n:03d}": rows for n in range(number)})


def test_only_a_few_shards_spread_evenly_leave_thumbnails(tmp_path):
    made = shards(tmp_path, 30, rows=1)
    for number, name in enumerate(made.rows):
        made.leave(name, number, 30)
    chosen = [int(name) for name in made.ready()]
    assert len(chosen) == MAX_SAMPLE_SHARDS
    assert chosen == [n * 30 // MAX_SAMPLE_SHARDS for n in range(MAX_SAMPLE_SHARDS)]


def test_shard_leaves_thumbnails_of_its_share_only(tmp_path):
    made = shards(tmp_path, 1, rows=4)
    with tarfile.open(made.leave("000", 0, 5, wanted=11)) as tar:
        names = tar.getnames()
        image = Image.open(io.BytesIO(tar.extractfile(names[0]).read()))
    own = ids_of("000", 3)
    assert names == [f"{i}.{role}.jpg" for i in own for role in ("source", "target_mask")]
    assert (image.format, image.size) == ("JPEG", (THUMBNAIL_PX, THUMBNAIL_PX // 2))


def test_no_shard_leaves_thumbnails_for_an_empty_sheet(tmp_path):
    made = shards(tmp_path, 1)
    assert made.leave("000", 0, 1, wanted=0) is None
    assert made.sheet(wanted=0).samples == []
    assert made.opened == made.read_names == []


def test_thumbnails_that_were_left_are_taken_and_no_tar_is_opened(tmp_path):
    made = shards(tmp_path, 4)
    for number, name in enumerate(made.rows):
        made.leave(name, number, 4)
    samples = made.sheet(wanted=8, batch=1).samples
    assert [sample.sample_id for sample in samples] == [i for name in made.rows for i in ids_of(name, 2)]
    assert samples[0].fields == {"sample_id": "000-0", "caption": "000-0".upper()}
    assert sorted(samples[0].images) == ["source", "target_mask"]
    assert made.opened == []


def test_sheet_is_the_same_from_thumbnails_and_from_tars(tmp_path):
    made = shards(tmp_path, 3)
    from_tars = made.sheet(wanted=7).samples
    for number, name in enumerate(made.rows):
        made.leave(name, number, 3, wanted=7)
    assert made.sheet(wanted=7).samples == from_tars


def test_chosen_shards_without_rows_are_replaced_by_a_few_others(tmp_path):
    made = Shards(tmp_path, {f"{n:03d}": 0 if n % 2 == 0 else 1 for n in range(60)})
    for number, name in enumerate(made.rows):
        made.leave(name, number, 60)
    samples = made.sheet().samples
    assert len(samples) == len(made.opened) + len(made.read_names) == MAX_SAMPLE_SHARDS


def test_sheet_of_a_grown_build_takes_what_earlier_builds_left(tmp_path):
    made = shards(tmp_path, 40, rows=2)
    for number in range(13):
        made.leave(f"{number:03d}", number, 13)
    for number in range(13, 40):
        made.leave(f"{number:03d}", number, 40)
    assert len(made.ready()) > MAX_SAMPLE_SHARDS
    assert len(made.sheet(wanted=24).samples) == 24
    assert made.opened == []
    assert len(made.read_names) == MAX_SAMPLE_SHARDS


def test_damaged_thumbnails_are_named(tmp_path):
    made = shards(tmp_path, 1)
    made.leave("000", 0, 1).write_bytes(b"x" * 2000)
    with pytest.raises(DamagedFileError, match=r"^000\.thumbnails has no samples that can be read .*; remove it"):
        made.sheet()


@pytest.mark.parametrize("content", [b"x" * 2000, b"no image"])
def test_damaged_tar_is_named(tmp_path, content):
    made = shards(tmp_path, 1)
    if len(content) > 1000:
        (tmp_path / "000.tar").write_bytes(content)
    else:
        with TarWriter(tmp_path / "000.tar") as tar:
            tar.add("000-0.source.jpg", content)
    with pytest.raises(DamagedFileError, match=r"^000\.tar has no samples that can be read"):
        made.sheet()
