"""A short chain of light stages and a tar for it, for tests that build in process."""

import io
import tarfile

from PIL import Image

CHAIN = """
name = "tiny"
[[stage]]
use = "read_webdataset"
[[stage]]
use = "normalise_image"
shorter_side_px = 32
min_side_px = 8
[[stage]]
use = "filter_caption"
[[stage]]
use = "dedup"
max_distance = 0
[[stage]]
use = "emit"
"""
CAPTIONS = ["a red ball on a table", "two dogs run on the grass", "no"]
"""Two good captions and one that is too short."""


def write_tar(path, captions):
    with tarfile.open(path, "w") as tar:
        for number, caption in enumerate(captions):
            buffer = io.BytesIO()
            Image.effect_noise((40, 40), 90 + number).save(buffer, "PNG")
            for suffix, content in (("png", buffer.getvalue()), ("txt", caption.encode())):
                info = tarfile.TarInfo(f"{number:04d}.{suffix}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
