"""Memory that decoding one image at the limit needs, for the formats and modes that need most."""

import subprocess
import sys
from pathlib import Path

import pytest
from _inputs import encoded
from PIL import Image

from samples.image_limits import MAX_DECODE_BYTES, MAX_PIXELS, WEIGHT

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc: the peak cannot be read")

MEASURE = """
import re, sys
from pathlib import Path
from samples.images import decode_image

def peak():
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])

small, large = (Path(name).read_bytes() for name in sys.argv[1:])
decode_image(small)
before = peak()
image = decode_image(large)
print(peak() - before, *image.size, image.mode)
"""

CASES = {
    "inks in scans": ("CMYK", "JPEG", {"progressive": True, "subsampling": 0}),
    "alpha": ("RGBA", "PNG", {"compress_level": 1}),
    "lossless": ("RGBA", "WEBP", {"lossless": True, "method": 0, "quality": 0}),
    "turned": ("RGBA", "TIFF", {"compression": "tiff_lzw", "strip_size": 1 << 30, "tiffinfo": {274: 6}}),
}


def write(path, case, pixels):
    mode, image_format, options = CASES[case]
    side = int((pixels / WEIGHT.get(image_format, 1)) ** 0.5)
    path.write_bytes(
        encoded(Image.new(mode, (side, side), 77 if mode in ("L", "P", "I;16", "F") else None), image_format, **options)
    )
    return path


@pytest.mark.parametrize("case", CASES)
def test_an_image_at_the_limit_takes_at_most_the_stated_memory(case, tmp_path):
    files = write(tmp_path / "small", case, 10_000), write(tmp_path / "large", case, MAX_PIXELS)
    done = subprocess.run([sys.executable, "-c", MEASURE, *map(str, files)], capture_output=True, text=True, check=True)
    grown, width, height, mode = done.stdout.split()
    assert mode == "RGB"
    assert int(width) * int(height) > 0.99 * MAX_PIXELS / WEIGHT.get(CASES[case][1], 1)
    assert int(grown) < MAX_DECODE_BYTES
