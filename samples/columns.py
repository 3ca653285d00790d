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


CANDIDATE = pa.struct([
    ("number", pa.int32()), ("is_kept", pa.bool_()), ("seed", pa.int64()), ("num_steps", pa.int32()),
    *((name, pa.float32()) for name in (
        "strength", "guidance_scale", "attention_frac", "ring_frac", "source_caption_cos", "target_caption_cos",
        "target_margin_cos", "pair_image_cos", "pair_direction_cos", "pair_dino_cos", "pair_ssim", "pair_l1",
        "outside_ssim", "outside_l1",
    )),
])  # fmt: skip
"""One candidate: how it was drawn, and its scores by the names of their columns. A score not reached has no value."""

TURN = pa.struct([
    (name, pa.string()) for name in (
        "instruction", "reverse_instruction", "target_caption", "edit_type", "source_phrase", "target_phrase",
        "edit_object", "edit_writer",
    )
])  # fmt: skip
"""The texts of one further turn, by the names of their columns. Its source caption is the last target caption."""

COLUMNS: dict[str, Column] = _columns(
    _c(SAMPLE_ID, pa.string(), "16 hex digits + suffixes", "key of the row; from the sha256 of source bytes or texts"),
    _c(PARENT_ID, pa.string(), "sample_id", "the row that this one was made from"),
    _c("session_id", pa.string(), "text", "the editing session of the row: its name in the input, or the row's own id"),
    _c("turn", pa.int32(), "from 1", "place of the edit in its session"),
    # input
    _c("source_raw", pa.binary(), "encoded image as found", "input image, read from its shard on demand",
       bulk=True, virtual=True),
    _c("source_sha256", pa.string(), "64 hex digits", "sha256 of the input image's bytes"),
    _c("source_key", pa.string(), "text", "key of the sample in its input shard, or file name"),
    _c("source_size_bytes", pa.int64(), "bytes", "size of the input image's file"),
    _c("source_url", pa.string(), "URL", "where the input says that the image came from"),
    _c("source_metadata", pa.string(), "JSON object", "the input's own metadata, as found"),
    _c("source_licence", pa.string(), "text", "licence of the sample, as the input states it"),
    _c("caption", pa.string(), "text", "caption of the input image, as found"),
    _c("target_raw", pa.binary(), "encoded image as found", "target image of the input, read from there on demand",
       bulk=True, virtual=True),
    _c("mask_raw", pa.binary(), "encoded image as found", "mask of the input, white where the edit may change it",
       bulk=True, virtual=True),
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
    _c("instructions", pa.list_(pa.string()), "text", "all wordings of the request in the input, instruction first"),
    _c("reverse_instruction", pa.string(), "text", "the request that undoes the edit"),
    _c("edit_type", pa.string(), "text", "kind of edit, in the words of the stage that wrote it"),
    _c("source_phrase", pa.string(), "text", "what changes, in the source's words (noun included)"),
    _c("target_phrase", pa.string(), "text", "what it becomes, in the target's words (noun included)"),
    _c("edit_object", pa.string(), "text", "what the instruction is about, as its writer names it"),
    _c("edit_writer", pa.string(), "model, wordnet, rule or input", "who wrote the edit"),
    _c("reverse_writer", pa.string(), "model, rule or input", "who wrote the reverse instruction"),
    # unify_instruction
    _c("unified_instruction", pa.string(), "text", "the instruction in canonical words, the same for the same request"),
    _c("instruction_unifier", pa.string(), "model or rule", "who put the instruction into canonical words"),
    # group_by_instruction
    _c("instruction_group", pa.string(), "16 hex digits", "the group of pairs that follow near-equal instructions"),
    _c("instruction_group_size", pa.int32(), "number of pairs", "size of that group, pairs of all splits together"),
    _c("split", pa.string(), "train, in_domain or out_of_domain",
       "in_domain: the pair is held out; out_of_domain: its whole group is"),
    _c("example_ids", pa.list_(pa.string()), "sample_id", "pairs of the same group that may be shown as examples"),
    # attach_examples
    _c("example_source_images", pa.list_(pa.binary()), "encoded images", "sources of the pairs example_ids", bulk=True),
    _c("example_source_formats", pa.list_(pa.string()), "jpg, png or webp", "of each of example_source_images"),
    _c("example_target_images", pa.list_(pa.binary()), "encoded images", "targets of the pairs example_ids", bulk=True),
    _c("example_target_formats", pa.list_(pa.string()), "jpg, png or webp", "of each of example_target_images"),
    # mask_selective_area
    _c("selective_mask_png", pa.binary(), "8-bit PNG, 255 inside", "where the target image has details that matter",
       bulk=True),
    _c("selective_frac", pa.float32(), "0 to 1", "share of the target image inside selective_mask_png"),
    _c("selective_labels", pa.list_(pa.string()), "text", "labels of the segments inside selective_mask_png"),
    # tag_objects, choose_object, ground_object, segment_box
    _c("object_tags", pa.list_(pa.string()), "text", "words for things on the source image, surest first"),
    _c("object_tag_cos", pa.list_(pa.float32()), "cosine, -1 to 1", "of each of object_tags and the image"),
    _c("edit_objects", pa.list_(pa.string()), "text", "things that the edit changes; none where it changes all"),
    _c("object_boxes", pa.list_(pa.list_(pa.float32())), "px: x0, y0, x1, y1", "boxes of edit_objects, surest first"),
    _c("object_box_scores", pa.list_(pa.float32()), "0 to 1", "of each of object_boxes"),
    _c("object_box_phrases", pa.list_(pa.string()), "text", "of edit_objects, the one that each box shows"),
    _c("object_masks_png", pa.list_(pa.binary()), "8-bit PNG, 255 inside", "of each of object_boxes", bulk=True),
    # build_region
    _c("region_mask_png", pa.binary(), "8-bit PNG, 255 inside", "where the edit may change the source", bulk=True),
    _c("core_mask_png", pa.binary(), "8-bit PNG, 255 inside", "the region without its soft ring", bulk=True),
    _c("box_mask_png", pa.binary(), "8-bit PNG, 255 inside", "all of object_boxes", bulk=True),
    _c("hull_mask_png", pa.binary(), "8-bit PNG, 255 inside", "convex hulls of the contours of the objects", bulk=True),
    _c("fine_mask_png", pa.binary(), "8-bit PNG, 255 inside", "all of object_masks_png, specks left out", bulk=True),
    _c("soft_mask_png", pa.binary(), "8-bit PNG, 255 is 1", "how much of each place was made anew", bulk=True),
    _c("region_frac", pa.float32(), "0 to 1", "share of the image inside region_mask_png"),
    _c("region_num_contours", pa.int32(), "contours", "outer contours of the objects, specks left out"),
    _c("is_whole_image", pa.bool_(), "true or false", "the region is all of the image"),
    # check_leakage
    _c("leak_distance", pa.int32(), "bits, from 0", "of the nearest image of the lists; none where none is near"),
    # score_nsfw, score_watermark, measure_text, count_faces, score_aesthetics
    _c("source_nsfw_score", pa.float32(), "0 to 1", "probability that the source image is not safe for work"),
    _c("target_nsfw_score", pa.float32(), "0 to 1", "probability that the target image is not safe for work"),
    _c("source_watermark_score", pa.float32(), "0 to 1", "probability that the source image has a watermark"),
    _c("target_watermark_score", pa.float32(), "0 to 1", "probability that the target image has a watermark"),
    _c("source_text_frac", pa.float32(), "0 to 1", "share of the source image inside boxes of text"),
    _c("target_text_frac", pa.float32(), "0 to 1", "share of the target image inside boxes of text"),
    _c("source_num_faces", pa.int32(), "faces", "faces found on the source image"),
    _c("target_num_faces", pa.int32(), "faces", "faces found on the target image"),
    _c("source_face_frac", pa.float32(), "0 to 1", "share of the source image inside boxes of faces"),
    _c("target_face_frac", pa.float32(), "0 to 1", "share of the target image inside boxes of faces"),
    _c("source_aesthetic_score", pa.float32(), "the rater's unit", "how good the source image looks; higher is better"),
    _c("target_aesthetic_score", pa.float32(), "the rater's unit", "how good the target image looks; higher is better"),
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
    _c("target_licence", pa.string(), "text", "licence of a retrieved target image, as the input states it"),
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
    # score_edit
    _c("pair_dino_cos", pa.float32(), "cosine, -1 to 1", "of source image and target image, by an image encoder"),
    _c("pair_ssim", pa.float32(), "-1 to 1", "structural similarity of source image and target image"),
    _c("pair_l1", pa.float32(), "0 to 1", "mean difference of the two images; near 0 the edit does nothing"),
    _c("outside_ssim", pa.float32(), "-1 to 1", "pair_ssim outside of the region; low where too much changed"),
    _c("outside_l1", pa.float32(), "0 to 1", "pair_l1 outside of the region; high where too much changed"),
    # judge_edit
    _c("judge_status", pa.string(), "parsed, unparsed, refused or no_reply", "whether the judge's reply has scores"),
    _c("judge_instruction_score", pa.float32(), "0 to 10", "how well the edited image follows the instruction"),
    _c("judge_preservation_score", pa.float32(), "0 to 10", "how much of what should stay the same is the same"),
    _c("judge_quality_score", pa.float32(), "0 to 10", "how good the edited image is, looked at alone"),
    _c("judge_score", pa.float32(), "0 to 10", "sqrt(min(instruction, preservation) * quality); none if it abstained"),
    _c("judge_reply", pa.string(), "text", "what the judge said, word for word, at most 8000 characters"),
    _c("judge_model", pa.string(), "model id", "the judge"),
    _c("judge_revision", pa.string(), "text", "what pins that model's content"),
    _c("judge_prompt_sha256", pa.string(), "64 hex digits", "the words that the judge was asked with; none for rules"),
    _c("judge_seed", pa.int64(), "seed", "the seed that the judge was given"),
    # synthesise_pair, synthesise_region
    _c("anchor_id", pa.string(), "sample_id", "the image that the pair was drawn over"),
    _c("anchor_image", pa.binary(), "encoded image", "the image that the pair was drawn over", bulk=True),
    _c("anchor_format", pa.string(), "jpg, png or webp", "encoding of anchor_image"),
    _c("candidate_number", pa.int32(), "from 1", "place of the pair among the candidates of its edit"),
    _c("synthesis_seed", pa.int64(), "seed", "of the pair's noise"),
    _c("synthesis_num_steps", pa.int32(), "steps", "denoising steps that were run"),
    _c("synthesis_strength", pa.float32(), "0 to 1", "how far the anchor was noised"),
    _c("synthesis_guidance_scale", pa.float32(), "1 or less is none", "weight of the captions"),
    _c("attention_frac", pa.float32(), "0 to 1", "share of the steps in which the target has the source's attention"),
    _c("soft_ring_frac", pa.float32(), "0 to 1", "value of the soft mask in the ring; none where there is no ring"),
    _c("candidates", pa.list_(CANDIDATE), "a record each", "all candidates of an edit, on its first pair"),
    # synthesise_edit
    _c("edit_model", pa.string(), "model id", "the editor that made the target image"),
    _c("edit_input_tokens", pa.int64(), "tokens", "billed for the request, where the editor's server says so"),
    _c("edit_output_tokens", pa.int64(), "tokens", "billed for the answer, where the editor's server says so"),
    # price_edit
    _c("edit_cost_usd", pa.float64(), "US dollars", "price of the row's request, at the prices of the manifest"),
    # write_turns, chain_edits
    _c("further_turns", pa.list_(TURN), "a record each", "edits to be made after the row's own, one after another"),
    _c("pair_kind", pa.string(), "turn, composition or inverse", "what the pair is in its session"),
    _c("session_l1", pa.float32(), "0 to 1", "mean difference of the turn's target from the session's first source"),
    _c("session_outside_l1", pa.float32(), "0 to 1", "session_l1 where no turn asked for a change; the drift"),
    _c("session_image_cos", pa.float32(), "cosine, -1 to 1", "of the session's first source and the turn's target"),
    # pair_preferences, attach_rejected
    _c("rejected_id", pa.string(), "sample_id", "the candidate of the same edit that is worse than this one"),
    _c("preference_score", pa.float32(), "of the score", "score by which this candidate was chosen"),
    _c("rejected_score", pa.float32(), "of the score", "the same score of rejected_id"),
    _c("preference_margin", pa.float32(), "of the score", "how much better the chosen candidate is, never negative"),
    _c("rejected_image", pa.binary(), "encoded image", "target image of rejected_id", bulk=True),
    _c("rejected_format", pa.string(), "jpg, png or webp", "encoding of rejected_image"),
    # encode_latents
    _c("source_latent", pa.binary(), "npy, float16, (C, h, w)", "source image in the latent space, scaled", bulk=True),
    _c("target_latent", pa.binary(), "npy, float16, (C, h, w)", "target image in the latent space, scaled", bulk=True),
    _c("region_latent", pa.binary(), "npy, float16, (C, h, w)", "region mask in the latent space, scaled", bulk=True),
    _c("latent_model", pa.string(), "model id", "whose autoencoder made the latents"),
    _c("latent_revision", pa.string(), "text", "what pins that model's content"),
    _c("latent_size_px", pa.int32(), "px", "side of the centre square that was encoded"),
    # encode_texts
    _c("instruction_emb", pa.binary(), "npy, float16, (L, D)", "hidden states of the instruction", bulk=True),
    _c("instruction_pooled_emb", pa.binary(), "npy, float16, (D,)", "pooled embedding of the instruction", bulk=True),
    _c("text_model", pa.string(), "model id", "whose text encoders made the embeddings"),
    _c("text_revision", pa.string(), "text", "what pins that model's content"),
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


def expanded_schema(writes: tuple[str, ...]) -> pa.Schema:
    """The Arrow schema of the rows of an expand stage: both ids, what it writes, and the columns of a reject."""
    rejects = [pa.field(name, pa.string()) for name in (REJECT_REASON, REJECT_DETAIL)]
    return pa.schema([*arrow_schema((SAMPLE_ID, PARENT_ID, *writes)), *rejects])
