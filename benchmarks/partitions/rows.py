"""Rows of light columns for whole-dataset stages, made by code: a table of any shard, from its number alone.

Images: 10 % have the bytes of another image anywhere in the dataset, and 5 % a hash that differs from another's in one
to three bits. Hashes crowd like real ones: 4 % of the images have white margins, 1 % show little more than one colour.
Pairs: four candidates of each parent, in its shard, and targets that are shared across shards.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from pipeline.partitions import hash_numbers
from samples.columns import ID_HEX_DIGITS, SAMPLE_ID

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Hashes = NDArray[np.uint64]

EXACT_SHARE, NEAR_SHARE, MARGIN_SHARE, PLAIN_SHARE = 0.10, 0.05, 0.04, 0.01
MARGINS = np.uint64(0x0000_3C3C_3C3C_0000)
PLAIN = np.uint64(0x0000_00FF_F000_0000)
CANDIDATES = 4
ROWS_PER_TARGET = 12
EDIT_TYPES = ("add", "remove", "replace", "change_colour", "change_style")


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """A dataset of `num_rows` rows in shards of `rows_per_shard`; the last shard has the rest."""

    num_rows: int
    rows_per_shard: int

    @property
    def num_shards(self) -> int:
        """Number of shards."""
        return -(-self.num_rows // self.rows_per_shard)

    def numbers(self, shard: int) -> Hashes:
        """The numbers of the rows of a shard."""
        start = shard * self.rows_per_shard
        return np.arange(start, min(start + self.rows_per_shard, self.num_rows), dtype=np.uint64)

    def shards(self) -> Iterator[tuple[int, str]]:
        """(number, name) of each shard, in order."""
        return ((shard, f"{shard:06}") for shard in range(self.num_shards))


def image_table(size: Size, shard: int) -> pa.Table:
    """The columns that `dedup` reads, of one shard."""
    own = size.numbers(shard)
    image, is_near, other = _images(size, own)
    dhash = np.where(is_near, _base_hash(other) ^ _flips(own), _base_hash(image))
    sha = np.stack([_draws(image, 10 + word) for word in range(4)], axis=1)
    digits = _hex_digits(sha)
    side = 256 + (_draws(own, 20) % np.uint64(1024)).astype(np.int32)
    return pa.table(
        {
            SAMPLE_ID: _texts(digits[:, :ID_HEX_DIGITS]), "source_sha256": _texts(digits), "source_dhash": dhash,
            "original_width_px": side, "original_height_px": side // 4 * 3,
            "caption_num_words": (_draws(own, 21) % np.uint64(20)).astype(np.int32),
        }
    )  # fmt: skip


def other_ids(size: Size, shard: int) -> pa.Array:
    """For each row of a shard the `sample_id` of another one, of any shard."""
    other = _draws(size.numbers(shard), 8) % np.uint64(size.num_rows)
    sha = np.stack([_draws(_images(size, other)[0], 10)], axis=1)
    return _texts(_hex_digits(sha)[:, :ID_HEX_DIGITS])


def _images(size: Size, own: Hashes) -> tuple[Hashes, NDArray[np.bool_], Hashes]:
    """(number of the image, whether it only resembles another, number of that one) of each row by its number."""
    other = _draws(own, 1) % np.uint64(size.num_rows)
    share = _shares(own, 2)
    per_shard = np.uint64(size.rows_per_shard)
    is_elsewhere = other // per_shard != own // per_shard  # a source drops copies in one shard
    is_exact = (share < EXACT_SHARE) & is_elsewhere
    is_near = ~is_exact & (share < EXACT_SHARE + NEAR_SHARE)
    return np.where(is_exact, other, own), is_near, other


def pair_table(size: Size, shard: int) -> pa.Table:
    """The columns that `select` reads, of one shard: scores of candidates by parent and by target."""
    own = size.numbers(shard)
    parent = own // np.uint64(CANDIDATES)
    parent_digits = _hex_digits(_draws(parent, 30)[:, None])
    number = (own % np.uint64(CANDIDATES) + np.uint64(ord("0"))).astype(np.uint8)
    suffix = np.broadcast_to(np.frombuffer(b"-e", np.uint8), (len(own), 2))
    target = _draws(own, 31) % np.uint64(-(-size.num_rows // ROWS_PER_TARGET))
    kinds = pa.array((_draws(own, 32) % np.uint64(len(EDIT_TYPES))).astype(np.int32))
    scores = ("source_caption_cos", "target_caption_cos", "pair_image_cos", "pair_direction_cos")
    return pa.table(
        {
            SAMPLE_ID: _texts(np.concatenate([parent_digits, suffix, number[:, None]], axis=1)),
            "parent_id": _texts(parent_digits), "target_id": _texts(_hex_digits(_draws(target, 33)[:, None])),
            "edit_type": pa.array(EDIT_TYPES).take(kinds),
            **{name: _shares(own, 40 + place).astype(np.float32) for place, name in enumerate(scores)},
        }
    )  # fmt: skip


def _draws(numbers: Hashes, stream: int) -> Hashes:
    return hash_numbers(hash_numbers(numbers), stream)


def _shares(numbers: Hashes, stream: int) -> NDArray[np.float64]:
    """Evenly spread from 0 to 1."""
    return (_draws(numbers, stream) >> np.uint64(11)).astype(np.float64) / 2**53


def _base_hash(image: Hashes) -> Hashes:
    """The hash of an image that resembles no other, if not by its margins or for want of content."""
    full, share = _draws(image, 3), _shares(image, 4)
    crowded = np.where(share < PLAIN_SHARE, full & PLAIN, full & MARGINS)
    return np.where(share < PLAIN_SHARE + MARGIN_SHARE, crowded, full)


def _flips(numbers: Hashes) -> Hashes:
    """One to three bits."""
    flips = np.zeros(len(numbers), np.uint64)
    for stream in (5, 6, 7):
        flips |= np.uint64(1) << (_draws(numbers, stream) % np.uint64(64))
    return flips


def _hex_digits(words: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """(N, W) words as (N, 16 W) digits."""
    own = words.astype(">u8").view(np.uint8)
    halves = np.stack([own >> 4, own & 0xF], axis=2).reshape(len(own), -1)
    return np.frombuffer(b"0123456789abcdef", np.uint8)[halves]


def _texts(digits: NDArray[np.uint8]) -> pa.Array:
    """(N, L) characters as N texts."""
    offsets = np.arange(len(digits) + 1, dtype=np.int32) * digits.shape[1]
    data = np.ascontiguousarray(digits)
    return pa.StringArray.from_buffers(len(digits), pa.py_buffer(offsets), pa.py_buffer(data))
