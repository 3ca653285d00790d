"""The locks fit each other: one Faiss in an environment, hashes everywhere, no addresses of package indexes."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCKS = sorted(path.name for path in (ROOT / "requirements").glob("*.txt"))


def locked(name):
    """{package: number of hashes}."""
    parts = re.split(r"^(?=\S)", (ROOT / "requirements" / name).read_text(), flags=re.MULTILINE)
    return {part.partition("==")[0]: part.count("--hash=sha256:") for part in parts if part.strip()}


@pytest.mark.parametrize("name", LOCKS)
def test_locks_have_hashes_and_no_addresses(name):
    assert all(locked(name).values())
    assert "://" not in (ROOT / "requirements" / name).read_text()
    assert "index" not in re.findall(r"^--?(\w+)", (ROOT / "requirements" / name).read_text(), re.MULTILINE)


def test_an_environment_has_one_faiss():
    assert "faiss-cpu" in locked("runtime.txt")
    assert "faiss-gpu" not in locked("runtime.txt")
    assert not {"faiss-cpu", "faiss-gpu"} & locked("dev.txt").keys()
    assert "faiss-gpu" in locked("gpu.txt")
    assert not locked("gpu.txt").keys() & locked("runtime.txt").keys()


def test_the_extras_cpu_and_gpu_bring_a_faiss_each_and_exclude_each_other():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    assert [extras[name][0].partition(">")[0] for name in ("cpu", "gpu")] == ["faiss-cpu", "faiss-gpu"]
    assert not any("faiss" in needed for needed in project["project"]["dependencies"])
    assert project["tool"]["uv"]["conflicts"] == [[{"extra": "cpu"}, {"extra": "gpu"}]]
