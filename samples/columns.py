"""Every column that a stage may read or write: its Arrow type, its unit or range, one line of meaning.

Owns names and types. Does not own who writes a column: stages declare that (`pipeline.stage`).
A `bulk` column holds pixels or vectors and stays out of samples.parquet. A `virtual` column is never stored: the source
stage reads it again from the input, so that input pixels are not copied.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import pyarrow as pa

from core.errors import ContractError, nearest

SAMPLE_ID = "sample_id"
PARENT_ID = "parent_id"
REJECT_REASON = "reject_reason"
REJECT_DETAIL = "reject_detail"

ID_HEX_DIGITS = 16
_RANGE = re.compile(r"(-?\d+) to (-?\d+)$")


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """One column: `unit` is the unit, value range or encoding, `meaning` one line for the data card."""

    name: str
    type: pa.DataType
    unit: str
    meaning: str
    bulk: bool = False
    virtual: bool = False

    @property
    def value_range(self) -> tuple[float, float]:
        """Least and greatest value, as `unit` says, or infinite where it names no range."""
        found = _RANGE.search(self.unit)
        return (float(found[1]), float(found[2])) if found else (-math.inf, math.inf)


def _columns(*rows: Column) -> dict[str, Column]:
    return {row.name: row for row in rows}


def _c(name: str, dtype: pa.DataType, unit: str, meaning: str, *, bulk: bool = False, virtual: bool = False) -> Column:
    return Column(name=name, type=dtype, unit=unit, meaning=meaning, bulk=bulk, virtual=virtual)


COLUMNS: dict[str, Column] = _columns(
    _c(SAMPLE_ID, pa.string(), "16 hex digits + suffixes", "key of the row; from the sha256 of the source bytes"),
    _c(PARENT_ID, pa.string(), "sample_id", "the row that this one was made from"),
    _c("session_id", pa.string(), "sample_id", "the editing session the row belongs to"),
    _c("turn", pa.int32(), "from 1", "place of the edit in its session"),
    # input
    _c("source_raw", pa.binary(), "encoded image as found", "input image, read from its shard on demand",
       bulk=True, virtual=True),
    _c("source_sha256", pa.string(), "64 hex digits", "sha256 of the input image's bytes"),
    _c("source_key", pa.string(), "text", "key of the sample in its input shard, or file name"),
    _c("source_size_bytes", pa.int64(), "bytes", "size of the input image's file"),
    _c("source_url", pa.string(), "URL", "where the input says that the image came from"),
    _c("source_metadata", pa.string(), "JSON object", "the input's own metadata, as found"),
    _c("caption", pa.string(), "text", "caption of the input image, as found"),
    # normalise_image
    _c("source_images", pa.list_(pa.binary()), "encoded images", "source images, normalised; one today", bulk=True),
    _c("source_format", pa.string(), "jpg, png or webp", "encoding of source_images"),
    _c("source_dhash", pa.uint64(), "64-bit difference hash", "perceptual hash of the source image"),
    _c("width_px", pa.int32(), "px", "width of the normalised source image"),
    _c("height_px", pa.int32(), "px", "height of the normalised source image"),
    _c("original_width_px", pa.int32(), "px", "width of the input image, EXIF orientation applied"),
    _c("original_height_px", pa.int32(), "px", "height of the input image, EXIF orientation applied"),
    _c("original_format", pa.string(), "Pillow's name", "file format of the input image"),
    # caption
    _c("generated_caption", pa.string(), "text", "what a captioning model says of the source image"),
    # filter_caption
    _c("caption_num_words", pa.int32(), "words", "number of words of the caption"),
    # dedup
    _c("duplicate_cluster_id", pa.string(), "sample_id", "the sample kept for this cluster of duplicates"),
    _c("duplicate_cluster_size", pa.int32(), "samples", "size of that cluster; 1 when nothing resembles the sample"),
    # edits
    _c("source_caption", pa.string(), "text", "the caption that was edited: describes the source image"),
    _c("target_caption", pa.string(), "text", "the caption after the edit: describes the target image"),
    _c("instruction", pa.string(), "text", "the edit as a request"),
    _c("reverse_instruction", pa.string(), "text", "the request that undoes the edit"),
    _c("edit_type", pa.string(), "replace_noun, change_colour, change_attribute", "kind of edit"),
    _c("source_phrase", pa.string(), "text", "what changes, in the source's words (noun included)"),
    _c("target_phrase", pa.string(), "text", "what it becomes, in the target's words (noun included)"),
    # embed
    _c("image_embedding", pa.list_(pa.float16()), "unit length", "the source image in a space of images and texts",
       bulk=True),
    # retrieve
    _c("target_id", pa.string(), "sample_id", "the image of the collection that is used as the edited image"),
    _c("target_pool", pa.string(), "text", "the pool of images that the target was found in"),
    _c("retrieval_cos", pa.float32(), "cosine, -1 to 1", "of the retrieved image and the query"),
    _c("target_image_cos", pa.float32(), "cosine, -1 to 1", "of source image and target image"),
    _c("neighbour_ids", pa.list_(pa.string()), "sample_id", "nearest images to the query, nearest first"),
    _c("neighbour_cos", pa.list_(pa.float32()), "cosine, -1 to 1", "of each of neighbour_ids and the query"),
    # attach_target
    _c("target_image", pa.binary(), "encoded image", "target image, normalised", bulk=True),
    _c("target_format", pa.string(), "jpg, png or webp", "encoding of target_image"),
    # mask_phrase
    _c("source_mask_png", pa.binary(), "8-bit PNG, 255 inside", "where source_phrase is on the source", bulk=True),
    _c("target_mask_png", pa.binary(), "8-bit PNG, 255 inside", "where target_phrase is on the target", bulk=True),
    _c("source_mask_frac", pa.float32(), "0 to 1", "share of the source image inside its mask"),
    _c("target_mask_frac", pa.float32(), "0 to 1", "share of the target image inside its mask"),
    # score_pair
    _c("source_caption_cos", pa.float32(), "cosine, -1 to 1", "of source image and source caption"),
    _c("target_caption_cos", pa.float32(), "cosine, -1 to 1", "of target image and target caption"),
    _c("target_margin_cos", pa.float32(), "-2 to 2", "target_caption_cos less the same with the source caption"),
    _c("pair_image_cos", pa.float32(), "cosine, -1 to 1", "of source image and target image"),
    _c("pair_direction_cos", pa.float32(), "cosine, -1 to 1", "of the images' difference and the captions'"),
    # encode_latents
    _c("source_latent", pa.binary(), "npy, float16, (C, h, w)", "source image in the latent space, scaled", bulk=True),
    _c("target_latent", pa.binary(), "npy, float16, (C, h, w)", "target image in the latent space, scaled", bulk=True),
    _c("latent_model", pa.string(), "model id", "whose autoencoder made the latents"),
    _c("latent_revision", pa.string(), "text", "what pins that model's content"),
    _c("latent_size_px", pa.int32(), "px", "side of the centre square that was encoded"),
    # emit
    _c("dataset_shard", pa.string(), "file name", "the tar of the dataset that holds the sample"),
)  # fmt: skip


def column(name: str) -> Column:
    """The declaration of `name`. Raises `ContractError` with the nearest name when it is not declared."""
    if name not in COLUMNS:
        raise ContractError(f"column {name!r} is not declared in samples/columns.py{nearest(name, COLUMNS)}")
    return COLUMNS[name]


def arrow_schema(names: tuple[str, ...]) -> pa.Schema:
    """The Arrow schema of the named columns, in that order."""
    return pa.schema([(name, column(name).type) for name in names])
