"""Inputs shared by the integration tests."""

import shutil

import pytest
from _builds import LIGHT, ROOT


@pytest.fixture(scope="session")
def light(tmp_path_factory):
    path = tmp_path_factory.mktemp("light") / "light.toml"
    path.write_text(LIGHT)
    return path


@pytest.fixture(scope="session")
def many_shards(tmp_path_factory):
    """Twelve shards, so that a kill finds work in flight."""
    folder = tmp_path_factory.mktemp("many")
    for copy in range(3):
        for shard in sorted((ROOT / "data" / "tiny").glob("*.tar")):
            shutil.copyfile(shard, folder / f"{copy}-{shard.name}")
    return folder
