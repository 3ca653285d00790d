import io
import random
import tarfile

import pyarrow as pa
import pytest

from samples.tar_writer import MODE, TarWriter


def by_tarfile(path, members):
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), MODE
            tar.addfile(info, io.BytesIO(content))
    return path.read_bytes()


def written(path, members):
    with TarWriter(path) as tar:
        for name, content in members:
            tar.add(name, content)
    return path.read_bytes()


NAMES = ("a", "0123456789abcdef.source.jpg", "n" * 100, f"{'d' * 90}/{'n' * 60}", "caf\u00e9.json")
SIZES = (0, 1, 511, 512, 513, 10_239, 10_240, 200_000)


@pytest.mark.parametrize("num_members", [0, 1, 40])
def test_bytes_are_those_of_tarfile(tmp_path, num_members):
    rng = random.Random(num_members)
    members = [(f"{n}{rng.choice(NAMES)}"[-100:], rng.randbytes(rng.choice(SIZES))) for n in range(num_members)]
    assert written(tmp_path / "a.tar", members) == by_tarfile(tmp_path / "b.tar", members)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", SIZES)
def test_header_of_any_usual_name_and_size_is_that_of_tarfile(tmp_path, name, size):
    members = [(name, bytes(size))]
    assert written(tmp_path / "a.tar", members) == by_tarfile(tmp_path / "b.tar", members)


def test_name_that_fits_no_header_is_refused(tmp_path):
    with pytest.raises(ValueError, match="name is too long"), TarWriter(tmp_path / "a.tar") as tar:
        tar.add("n" * 300, b"")


def test_arrow_buffers_are_written_as_they_are(tmp_path):
    buffer = pa.scalar(b"pixels").as_buffer()
    assert written(tmp_path / "a.tar", [("a", buffer)]) == by_tarfile(tmp_path / "b.tar", [("a", b"pixels")])
