"""The function of Data-Juicer's `python_file_mapper`: scale an image to a shorter side of 256 px, store it as JPEG."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from PIL import Image

SIDE_PX, QUALITY = 256, 95
FOLDER_VARIABLE = "BENCH_RESIZED"


def process_single(sample: dict[str, Any]) -> dict[str, Any]:
    """The sample with the path of its smaller image."""
    [path] = sample["images"]
    with Image.open(path) as file:
        image = file.convert("RGB")
    scale = SIDE_PX / min(image.size)
    size = round(image.width * scale), round(image.height * scale)
    target = Path(os.environ[FOLDER_VARIABLE]) / f"{Path(path).stem}.jpg"
    image.resize(size, Image.Resampling.BICUBIC).save(target, "JPEG", quality=QUALITY)
    return {**sample, "images": [str(target)]}
