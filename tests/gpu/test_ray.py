"""A stage on a Ray worker that holds the GPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from zoo.world import render, scene_of

pytest.importorskip("ray", reason="ray is not installed")
pytestmark = pytest.mark.ray

ROOT = Path(__file__).resolve().parents[2]
MANIFEST = """
name = "captions"
[[stage]]
use = "read_image_folder"
[[stage]]
use = "normalise_image"
shorter_side_px = 64
min_side_px = 32
[[stage]]
use = "caption"
model = "zoo:blip"
run_on = { device = "DEVICE", dtype = "float32" }
"""


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for index in range(8):
        Image.fromarray(render(scene_of(9, index), 64)).save(folder / f"{index}.png")
    lines = [json.dumps({"file_name": f"{index}.png", "text": "a scene"}) for index in range(8)]
    (folder / "metadata.jsonl").write_text("\n".join(lines))
    return folder


def captions(tmp_path, images, device, *flags):
    """Captions by sample, from a build with its caption stage on the device."""
    out, manifest = tmp_path / device, tmp_path / f"{device}.toml"
    manifest.write_text(MANIFEST.replace("DEVICE", device))
    line = [sys.executable, "-c", "from cli.main import main; main()", "build", str(manifest), "--shards", str(images)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        [*line, "--out", str(out), "--json", *flags], cwd=ROOT, capture_output=True, text=True, timeout=240,
        env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ok"]
    found = {}
    for path in out.glob("stages/*/*.parquet"):
        if "generated_caption" in pq.read_schema(path).names:
            table = pq.read_table(path).to_pydict()
            found |= dict(zip(table["sample_id"], table["generated_caption"], strict=True))
    return found


def test_a_worker_with_the_gpu_gives_the_captions_of_the_cpu(tmp_path, images):
    """`device = "cuda"` fails in a worker that Ray has not given the GPU."""
    on_gpu = captions(tmp_path, images, "cuda", "--executor", "ray", "--workers", "1")
    assert len(on_gpu) == 8
    assert on_gpu == captions(tmp_path, images, "cpu", "--executor", "inprocess")
