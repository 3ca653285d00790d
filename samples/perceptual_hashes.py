"""Two hashes of an image that change little when it is encoded again or scaled: dHash and pHash, 64 bits each.

Both are of the image in grey, so they do not see colours. The same image gives the same hashes on every CPU: pixels
are integers, and the cosines of pHash are rounded to integers before they are multiplied.

Source  dHash and pHash as in the ImageHash library. Its pHash takes the cosine transform in floating point, whose last
        digit decides bits of even images.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    Integers = NDArray[np.int64]

SIDE = 8
"""Both hashes have SIDE x SIDE bits."""
GREY_SIDE_PX = 32
"""Side of the grey square that pHash transforms."""
COSINE_SCALE = 1 << 20
"""What a cosine of 1 is as an integer: sums of 32 x 32 products with grey values stay below 2^60."""
MIN_GREY_RANGE = 8
"""An image whose grey square has fewer levels between its darkest and its lightest pixel is flat."""

# H W pixels, K frequencies


class ImageHash(NamedTuple):
    """The two hashes of an image. `is_flat`: it has too little contrast for its hashes to say which image it is."""

    dhash: int
    phash: int
    is_flat: bool


def image_hash(image: Image) -> ImageHash:
    """The hashes of an upright image."""
    import numpy as np
    from PIL import Image as Pillow

    grey = image.convert("L")
    grey_HW = np.asarray(grey.resize((GREY_SIDE_PX, GREY_SIDE_PX), Pillow.Resampling.LANCZOS)).astype(np.int64)
    is_flat = int(grey_HW.max() - grey_HW.min()) < MIN_GREY_RANGE
    return ImageHash(difference_hash(grey), _cosine_hash(grey_HW), is_flat)


def difference_hash(image: Image) -> int:
    """DHash: one bit for each pair of neighbours in the shrunken grey image, set where the right is lighter."""
    import imagehash
    import numpy as np

    return int.from_bytes(np.packbits(imagehash.dhash(image, SIDE).hash).tobytes(), "big")


def hash_distance(one: ImageHash, other: ImageHash) -> int:
    """Bits in which the hashes of two images differ: of dHash or of pHash, whichever differ in more."""
    return max((one.dhash ^ other.dhash).bit_count(), (one.phash ^ other.phash).bit_count())


def _cosine_hash(grey_HW: Integers) -> int:
    """PHash: one bit for each of the lowest frequencies, set where its part is above the median of all."""
    import numpy as np

    cosine_KW = _cosines()
    part_KK = cosine_KW @ grey_HW @ cosine_KW.T
    ordered = np.sort(part_KK.ravel())
    twice_median = ordered[SIDE * SIDE // 2 - 1] + ordered[SIDE * SIDE // 2]
    return int.from_bytes(np.packbits(2 * part_KK > twice_median).tobytes(), "big")


@lru_cache(maxsize=1)
def _cosines() -> Integers:
    """(K, W): the rows of the cosine transform (type II) for the lowest frequencies, as integers."""
    import math

    import numpy as np

    rows = [
        [round(COSINE_SCALE * math.cos(math.pi * k * (2 * x + 1) / (2 * GREY_SIDE_PX))) for x in range(GREY_SIDE_PX)]
        for k in range(SIDE)
    ]
    return np.array(rows, np.int64)
