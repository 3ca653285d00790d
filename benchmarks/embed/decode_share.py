"""The share of decoding in stages that look at images one after the other (docs/adr/0016).

`python benchmarks/embed/decode_share.py`: JPEGs of 512 px made by code, at the quality of `normalise_image`, through
each stage with the miniature models, one thread. Prints CPU milliseconds an image: of the whole function, of decoding
alone, and what is left of a chain of all stages where an image would be decoded once. Writes
runs/bench-embed/decode-share.json.
"""

from __future__ import annotations

import io
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.shards import make_image  # noqa: E402  the repository is not a package
from pipeline.context import Context  # noqa: E402
from pipeline.plan.plugins import load_model, stage_class  # noqa: E402
from samples.columns import SAMPLE_ID, column  # noqa: E402
from samples.stored_images import first_images, rgb_images  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

SIZE_PX, QUALITY, ROWS, ROUNDS = (512, 512), 95, 32, 3
STAGES: dict[str, dict[str, Any]] = {
    "caption": {"model": "zoo:blip"},
    "embed": {"model": "zoo:clip"},
    "mask_phrase": {"model": "zoo:clipseg"},
    "score_pair": {"model": "zoo:clip"},
    "encode_latents": {"model": "zoo:sd", "size_px": 128},
}
BOTH = ("mask_phrase", "score_pair", "encode_latents")
"""Stages that look at the target, too."""


def _jpeg(rng: np.random.Generator) -> bytes:
    buffer = io.BytesIO()
    Image.open(io.BytesIO(make_image(rng, SIZE_PX))).save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def _rows() -> pa.Table:
    rng = np.random.default_rng(0)
    words = {
        "source_caption": "a red car",
        "target_caption": "a blue car",
        "source_phrase": "car",
        "target_phrase": "car",
    }
    values: dict[str, list[Any]] = {
        SAMPLE_ID: [f"{row:016x}" for row in range(ROWS)],
        "source_images": [[_jpeg(rng)] for _ in range(ROWS)],
        "target_image": [_jpeg(rng) for _ in range(ROWS)],
        **{name: [word] * ROWS for name, word in words.items()},
    }
    return pa.table({name: pa.array(made, column(name).type) for name, made in values.items()})


def cpu_ms(work: Callable[[], object]) -> float:
    """Milliseconds of CPU a row, the least of some rounds."""
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.process_time()
        work()
        best = min(best, time.process_time() - began)
    return best / ROWS * 1e3


def main() -> None:
    """Measure each stage and print one table."""
    torch.set_num_threads(1)
    rows = _rows()
    source_ms = cpu_ms(lambda: first_images(rows["source_images"]))
    target_ms = cpu_ms(lambda: rgb_images(rows["target_image"]))
    result: dict[str, Any] = {"size_px": SIZE_PX, "bytes": len(rows["target_image"][0].as_py()), "stages": {}}
    print(f"{ROWS} JPEGs of {SIZE_PX[0]} px, {result['bytes'] / 1000:.0f} KB; CPU ms an image pair, one thread")
    print(f"{'stage':16} {'all':>8} {'decoding':>9} {'share':>6}")
    for name, settings in STAGES.items():
        function = stage_class(name)(**settings).open(Context(stage_name=name, loader=load_model))
        function(rows.slice(0, 2))
        all_ms = cpu_ms(lambda function=function: function(rows))  # type: ignore[misc]
        decode_ms = source_ms + (target_ms if name in BOTH else 0)
        result["stages"][name] = {"ms": all_ms, "decode_ms": decode_ms}
        print(f"{name:16} {all_ms:8.2f} {decode_ms:9.2f} {decode_ms / all_ms:6.2f}")
    all_ms = sum(one["ms"] for one in result["stages"].values())
    saved_ms = sum(one["decode_ms"] for one in result["stages"].values()) - source_ms - target_ms
    result |= {"ms": all_ms, "saved_ms": saved_ms}
    print(f"{'all five':16} {all_ms:8.2f}; decoded once {all_ms - saved_ms:.2f}, {saved_ms / all_ms:.0%} less")
    (ROOT / "runs" / "bench-embed").mkdir(parents=True, exist_ok=True)
    (ROOT / "runs" / "bench-embed" / "decode-share.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
