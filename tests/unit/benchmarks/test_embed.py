"""The loop of benchmarks/embed sees the pixels that the stage sees."""

import io
import tarfile
from collections import Counter

import torch
from PIL import Image
from transformers import AutoProcessor

from benchmarks.embed.loop import Images, collated, normalised
from benchmarks.shards import make_shards
from models.model_ids import find
from models.pixels import pixel_values
from stages.normalise_image import NormaliseImage

CLIP = find("zoo:clip").location


def test_loop_gives_a_model_the_pixels_that_the_stage_gives_it(tmp_path):
    [shard] = make_shards(tmp_path, 1, 3, processes=1, size_px=(96, 96))
    with tarfile.open(shard) as tar:
        images = [Image.open(io.BytesIO(tar.extractfile(m).read())) for m in tar if m.name.endswith("jpg")]
    expected = pixel_values(AutoProcessor.from_pretrained(CLIP).image_processor, images)
    shards, keys, pixels, encoded, _ = collated(list(Images([shard], CLIP, normalised=False)))
    assert (shards, encoded) == (("00000",) * 3, (None,) * 3)
    assert len(set(keys)) == 3
    assert torch.equal(pixels, expected)


def test_loop_normalises_as_the_stage_does():
    image = Image.effect_mandelbrot((64, 64), (-2, -1, 1, 1), 9).convert("RGB")
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    row = NormaliseImage(shorter_side_px=64)._normalise(buffer.getvalue(), Counter())
    encoded, dhash = normalised(image)
    assert row["source_images"] == [encoded]
    assert row["source_dhash"] == int(dhash, 16)
