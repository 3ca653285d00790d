"""For each stage of the catalogue: settings, another value for every setting, and a small input made in code.

`tests/contract/test_stages.py` runs over this table. A new stage adds an entry to `CASES`; that is all.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from _input_files import edit_lines, edit_table, edit_tars, edit_texts, image_folder, laion, webdataset
from _plain_pairs import Loader
from _seeded_editor import SeededEditor
from _stage_fakes import (
    FAKES,
    CountsLetters,
    ForgetfulWriter,
    LaconicCaptioner,
    LooksAtCats,
    NumbersOfWords,
    RemovesDogs,
    WordVectors,
    session_models,
    write_edits_models,
)
from _stage_inputs import (
    boxed_objects,
    candidates_by_id,
    captions,
    captions_of_two_shards,
    edited,
    edited_both_ways,
    edited_regions,
    edited_regions_with_instructions,
    edits_to_make,
    embedded,
    embedded_in_two_shards,
    emitted,
    first_edits,
    forward_edits,
    hashed_images,
    images,
    images_by_id,
    indexed,
    instructed,
    listed_images,
    masked_objects,
    named_objects,
    orders,
    paired,
    pairs_by_id,
    pairs_to_group,
    ranked,
    raw_targets,
    region_orders,
    rows,
    scored,
    sessions_to_make,
    tagged,
    targets,
    without,
    word_counts,
)

from pipeline.store.folder_store import FolderStore
from pipeline.store.storage import Storage
from stages.candidates.stage import WaveSpeed
from stages.download.settings import DownloadSpeed


@dataclass(frozen=True)
class Case:
    """`make_input(tmp_path)` gives a table (map, expand), tables by shard (whole, sink) or inputs (source)."""

    make_input: Callable[[Any], Any]
    other: dict[str, Any]
    """Another valid value for every setting."""
    settings: dict[str, Any] = field(default_factory=dict)
    context: Callable[[Any], dict[str, Any]] = lambda tmp_path: {}
    """Called with tmp_path: what the stage finds in its `Context` (store, gatherer, artifacts …)."""


SYNTHESIS = {
    "model": "zoo:sd", "encoder": "zoo:clip", "preset": None, "keep": 2, "max_candidates": 3,
    "bounds": {"pair_l1": {"min": 0.2, "max": 0.3}},
}  # fmt: skip


OTHER_SYNTHESIS = {
    "model": "zoo:other", "encoder": "zoo:other", "image_encoder": "zoo:dino", "size_px": 32, "shares_noise": False,
    "max_self_tokens": 16, "attention_edit": "replace", "target_weight": 2.0, "local_blend": True, "blend_grid": 2,
    "as_released": True, "num_steps": (2,), "strength": 0.9, "guidance_scale": (1.0, 2.0),
    "attention_frac": (0.5, 0.5), "keep": 1, "max_candidates": 9, "preset": "instruct-pix2pix", "bounds": {},
    "keep_anchor": False, "format": "jpg", "quality": 50, "speed": WaveSpeed(pairs_per_wave=1),
}  # fmt: skip


ZERO_SHOT = {"model": "zoo:clip", "labels": ("a red car",), "other_labels": ("a blue cat", "a tree")}
OTHER_LABELS = {"model": "zoo:other", "labels": ("a dog", "a bus"), "other_labels": ("a house",)}


CASES = {
    "check_leakage": Case(
        edited, {"lists": ("path:tests",), "max_distance": 2}, settings={"lists": ("path:pipeline",)},
        context=lambda tmp_path: {"loader": lambda *_: listed_images(tmp_path)},
    ),
    "score_nsfw": Case(edited, OTHER_LABELS, settings=ZERO_SHOT),
    "score_watermark": Case(edited, OTHER_LABELS, settings=ZERO_SHOT),
    "measure_text": Case(
        edited, {"model": "zoo:other", "phrases": ("text", "letters"), "threshold": 0.5},
        settings={"model": "zoo:grounding-dino"},
        context=lambda tmp_path: {"loader": lambda protocol, *_: FAKES[protocol]()},
    ),
    "count_faces": Case(
        edited, {"model": "zoo:other", "phrases": ("face",), "threshold": 0.5, "max_iou": 0.9},
        settings={"model": "zoo:grounding-dino"},
        context=lambda tmp_path: {"loader": lambda protocol, *_: FAKES[protocol]()},
    ),
    "score_aesthetics": Case(
        edited, {"model": "zoo:other", "label_values": {"good": 2.0, "bad": 0.0}},
        settings={"model": "zoo:clip", "label_values": {"a red car": 1.0, "a tree": 0.0}},
    ),
    "attach_examples": Case(
        lambda tmp_path: rows(example_ids=[["b", "a"], [], ["c"], None]), {},
        context=lambda tmp_path: {"gatherer": pairs_by_id},
    ),
    "attach_target": Case(targets, {}, context=lambda tmp_path: {"gatherer": images_by_id}),
    "attach_rejected": Case(paired, {}, context=lambda tmp_path: {"gatherer": candidates_by_id}),
    "pair_preferences": Case(
        ranked,
        {
            "by": "pair_direction_cos", "prefer": "lowest", "per": "target_id", "rejected": "next", "min_margin": 0.3,
            "bounds": {"pair_image_cos": {"min": 0.2}}, "keep_unpaired": True,
        },
        settings={
            "by": "target_caption_cos", "min_margin": 0.1, "bounds": {"pair_image_cos": {"min": 0.5}},
        },
    ),
    "caption": Case(
        lambda tmp_path: without(edited(tmp_path), "target_image"),
        {"model": "zoo:other", "prompt": "a picture of", "max_new_tokens": 5, "reduced_jpeg_px": 64},
        settings={"model": "zoo:blip"},
        context=lambda tmp_path: {"loader": lambda *_, **__: LaconicCaptioner()},
    ),
    "judge_edit": Case(
        edited_regions_with_instructions, {"model": "openai:other@http://127.0.0.1:1/v1", "max_new_tokens": 5},
        settings={"model": "openai:tiny@http://127.0.0.1:1/v1"},
        context=lambda tmp_path: {"loader": lambda *_, **__: CountsLetters()},
    ),
    "embed": Case(edited, {"model": "zoo:other", "reduced_jpeg_px": 64}, settings={"model": "zoo:clip"}),
    "encode_latents": Case(
        edited_regions, {"model": "zoo:other", "size_px": 32, "with_region": False},
        settings={"model": "zoo:sd", "size_px": 64, "with_region": True},
    ),
    "encode_texts": Case(
        instructed, {"model": "zoo:other"}, settings={"model": "zoo:sd"},
        context=lambda tmp_path: {"loader": lambda *_, **__: NumbersOfWords()},
    ),
    "index": Case(
        embedded_in_two_shards,
        {
            "pools": {"first": "a*"}, "memory_budget_bytes": 1 << 30, "flat_below": 10, "num_probes": 4, "rerank": 5,
            "seed": 1,
        },
    ),
    "mask_phrase": Case(edited, {"model": "zoo:other", "threshold": 0.5}, settings={"model": "zoo:clipseg"}),
    "mask_selective_area": Case(
        edited,
        {"model": "zoo:other", "labels": ("car",), "language_model": None, "min_score": 0.9, "min_frac": 0.2},
        settings={"model": "zoo:mask2former", "language_model": "zoo:llm"},
        context=lambda tmp_path: {"loader": lambda p, *_: {**FAKES, "TextGenerator": LooksAtCats}[p]()},
    ),
    "mask_object": Case(
        edited,
        {"detector": "zoo:other", "segmenter": "zoo:other", "threshold": 0.5, "max_iou": 0.5, "max_boxes": 1},
        settings={"detector": "zoo:grounding-dino", "segmenter": "zoo:sam"},
        context=lambda tmp_path: {"loader": lambda protocol, *_: FAKES[protocol]()},
    ),
    "mask_instruction": Case(
        edited_both_ways, {"model": "path:tests", "threshold": 0.9, "margin_frac": 0.1},
        settings={"model": "path:pipeline"},
        context=lambda tmp_path: {"loader": lambda protocol, *_: FAKES[protocol]()},
    ),
    "predict_region": Case(
        edited_both_ways,
        {"model": "path:tests", "threshold": 0.9, "margin_frac": 0.1, "whole_frac": 0.3, "when_empty": "whole"},
        settings={"model": "path:pipeline"},
        context=lambda tmp_path: {"loader": lambda protocol, *_: FAKES[protocol]()},
    ),
    "take_rows": Case(scored, {"target_rows": 5}, settings={"target_rows": {"change_colour": 5}}),
    "tag_objects": Case(
        lambda tmp_path: edited(tmp_path).append_column("caption", pa.array(["a car", None, "a dog", "a tree"])),
        {
            "model": "zoo:other", "vocabulary": "captions", "words": ("cat", "dog"), "min_corpus_count": 1,
            "lexicon": "wordnet:3.1", "caption_column": "source_caption", "threshold": 0.1, "max_tags": 2,
        },
        settings={"model": "zoo:clip", "threshold": 0.0},
        context=word_counts,
    ),
    "chain_edits": Case(
        sessions_to_make,
        {
            "model": "zoo:other", "editor": {"num_steps": 3}, "format": "jpg", "quality": 50, "min_turns": 1,
            "further_pairs": (), "inverse_types": ("replace",), "encoder": None, "asked_l1": 0.5,
            "bounds": {"session_l1": {"max": 0.1}},
        },
        settings={"model": "zoo:ip2p", "encoder": "zoo:dino", "bounds": {"session_l1": {"max": 0.9}}},
        context=lambda tmp_path: {"loader": session_models},
    ),
    "choose_object": Case(
        tagged,
        {
            "model": None, "max_objects": 1, "whole_image_types": ("add",), "max_retries": 1,
            "retry_temperature": 0.5, "max_new_tokens": 32,
        },
        settings={"model": "zoo:llm"},
        context=lambda tmp_path: {"loader": lambda protocol, *_: FAKES[protocol]()},
    ),
    "ground_object": Case(
        named_objects,
        {"model": "zoo:other", "threshold": 0.5, "max_iou": 0.5, "max_boxes": 1},
        settings={"model": "zoo:grounding-dino"},
        context=lambda tmp_path: {"loader": lambda protocol, *_: FAKES[protocol]()},
    ),
    "segment_box": Case(
        boxed_objects,
        {"model": "zoo:other"},
        settings={"model": "zoo:sam"},
        context=lambda tmp_path: {"loader": lambda protocol, *_: FAKES[protocol]()},
    ),
    "build_region": Case(
        masked_objects,
        {
            "region": "box", "core": "hull", "many_contours": 2, "margin_frac": 0.1, "min_speck_frac": 0.1,
            "min_contours": 2, "max_contours": 400, "min_frac": 0.2, "max_frac": 0.5,
        },
    ),
    "retrieve": Case(
        embedded,
        {
            "model": "zoo:other", "text_weight": 0.7, "num_neighbours": 2, "max_image_cos": 0.9,
            "min_retrieval_cos": 0.1, "pools": ("all",),
        },
        settings={"model": "zoo:clip", "text_weight": 0.1, "num_neighbours": 3, "min_retrieval_cos": 0.2},
        context=indexed,
    ),
    "score_edit": Case(
        edited, {"encoder": "zoo:other", "image_encoder": None},
        settings={"encoder": "zoo:clip", "image_encoder": "zoo:dino"},
    ),
    "price_edit": Case(
        lambda tmp_path: rows(
            edit_model=["openai:a@http://b/v1", "openai:a@http://b/v1", None], edit_input_tokens=[1000, None, 5],
            edit_output_tokens=[2000, None, 6],
        ),
        {"usd_per_image": 0.02, "usd_per_million_input_tokens": 5.0, "usd_per_million_output_tokens": 40.0},
        settings={"usd_per_image": 0.01},
    ),
    "synthesise_edit": Case(
        edits_to_make,
        {
            "model": "zoo:sd", "editor": {"num_steps": 3}, "format": "jpg", "quality": 50, "num_candidates": 3,
        },
        settings={"model": "zoo:ip2p", "num_candidates": 2},
        context=lambda tmp_path: {"loader": lambda *_, **__: SeededEditor()},
    ),
    "synthesise_pair": Case(
        orders, {**OTHER_SYNTHESIS, "anchor": "none"}, settings={**SYNTHESIS, "strength": 1.0},
        context=lambda tmp_path: {"loader": Loader()},
    ),
    "synthesise_region": Case(
        region_orders,
        {
            **OTHER_SYNTHESIS, "source": "photograph", "ring_values": (0.2,), "ring_share": 0.1, "blend_steps": "even",
            "blends_last": False, "keeps_outside": False,
        },
        settings=SYNTHESIS, context=lambda tmp_path: {"loader": Loader()},
    ),
    "score_pair": Case(
        edited, {"model": "zoo:other", "reuse_embedding": True, "reduced_jpeg_px": 64}, settings={"model": "zoo:clip"}
    ),
    "select": Case(
        scored,
        {
            "preset": "instruct-pix2pix",
            "bounds": {"source_mask_frac": {"min": 0.02, "max": 0.9}},
            "bounds_by_edit_type": {"replace_noun": {"target_caption_cos": {"min": 0.2}}},
            "best": [{"per": "target_id", "keep": 2, "by": "target_caption_cos"}],
        },
        settings={
            "bounds": {"source_mask_frac": {"min": 0.01, "max": 0.9}, "target_caption_cos": {"min": 0.05}},
            "bounds_by_edit_type": {"change_colour": {"target_caption_cos": {"min": 0.2}}},
            "best": [{"per": "target_id", "keep": 1, "by": "target_caption_cos"}],
        },
    ),
    "count_words": Case(captions_of_two_shards, {"caption_column": "generated_caption"}),
    "dedup": Case(hashed_images, {"max_distance": 0}),
    "edit_caption_wordnet": Case(
        captions,
        {
            "lexicon": "wordnet:3.1", "caption_column": "generated_caption",
            "edits_per_caption": 2, "cohyponym_depth": 1, "scope": "any",
            "vocabulary": "corpus", "min_zipf": 1.0, "min_corpus_count": 1, "candidates_per_word": 1,
        },
        settings={"edits_per_caption": 3},
    ),
    "emit": Case(emitted, {"report_samples": 3}),
    "group_by_instruction": Case(
        pairs_to_group,
        {
            "text_column": "instruction", "encoder": "zoo:other", "near_cos": 0.5, "out_of_domain_frac": 0.4,
            "in_domain_frac": 0.0, "max_examples": 1,
        },
        settings={"encoder": "zoo:clip", "near_cos": 0.6, "out_of_domain_frac": 0.2, "in_domain_frac": 0.2},
        context=lambda tmp_path: {"loader": lambda *_, **__: WordVectors()},
    ),
    "filter_caption": Case(
        captions, {"min_words": 1, "max_words": 9, "min_letters_frac": 0.1, "max_repeated_frac": 0.1}
    ),
    "normalise_image": Case(
        images,
        {
            "shorter_side_px": 48, "fit": "pad", "upscale": False, "min_side_px": 1, "max_aspect_ratio": 9.0,
            "max_pixels": 10_000, "animated": "first", "format": "png", "quality": 50, "reduced_jpegs": True,
        },
        settings={"shorter_side_px": 32},
    ),
    "grow_examples": Case(
        captions_of_two_shards,
        {
            "model": "zoo:other", "caption_column": "generated_caption", "shares": {"replace": 2.0},
            "examples": "path:other.jsonl", "num_instructions": 1, "num_examples": 1, "repeats_caption": True,
            "temperature": 0.1, "max_new_tokens": 99, "max_retries": 0, "max_repairs": 1, "min_instruction_words": 3,
            "max_instruction_words": 40, "min_caption_words": 1, "max_caption_words": 50, "target_size": 9,
            "max_rounds": 3, "captions_per_round": 2, "encoder": "zoo:other", "max_cos": 0.5,
        },
        settings={"model": "zoo:llm", "shares": {"replace": 1.0}, "max_rounds": 2, "captions_per_round": 3},
        context=lambda tmp_path: {"loader": write_edits_models},
    ),
    "normalise_target": Case(
        raw_targets,
        {
            "fit": "pad", "max_shape_difference": 0.1, "max_pixels": 10_000, "mask_region": "transparent",
            "quality": 50,
        },
    ),
    "read_edit_texts": Case(edit_texts, {"columns": {"instruction": "request"}, "rows_per_shard": 2}),
    "read_edit_triples": Case(
        edit_table,
        {
            "layout": "pair_folders", "columns": {"instruction": "request"}, "rows_per_shard": 2,
            "require_captions": False, "require_target": False, "max_image_bytes": 9,
        },
    ),
    "align_captions": Case(
        lambda tmp_path: rows(
            source_caption=["a red car", "a cat", None, "a dog"], target_caption=["a blue car", "a cat", "a dog", None],
            edit_object=["car", None, None, "dog"],
        ),
        {},
    ),
    "read_edit_tars": Case(edit_tars, {"rows_per_shard": 2, "max_image_bytes": 9}),
    "read_edit_lines": Case(
        edit_lines,
        {
            "rows_per_shard": 2, "base_url": "https://images.example/other", "respect_opt_out": False,
            "opt_out_directives": ("noai",), "user_agent": "somebody", "allowed_hosts": (),
            "content_types": ("image/png",), "max_redirects": 1, "max_image_bytes": 9, "max_pixels": 9,
            "stored_side_px": 64, "speed": DownloadSpeed(attempts=2, timeout_s=1.0),
        },
        settings={"allowed_hosts": ("127.0.0.1",), "speed": DownloadSpeed(attempts=1)},
        context=lambda tmp_path: {"store": FolderStore(Storage(str(tmp_path / "run")), "store")},
    ),
    "read_image_folder": Case(
        image_folder,
        {
            "file_column": "image", "caption_column": "caption", "rows_per_shard": 2, "require_caption": False,
            "max_image_bytes": 9,
        },
    ),
    "read_laion": Case(
        laion,
        {
            "url_column": "url", "caption_column": "alt", "rows_per_shard": 2, "require_caption": False,
            "similarity_column": "clip", "punsafe_column": "unsafe", "pwatermark_column": "mark",
            "width_column": "width", "height_column": "height", "min_similarity": 0.3, "max_punsafe": 0.5,
            "max_pwatermark": 0.5, "min_width_px": 9, "min_height_px": 9, "max_aspect_ratio": 3.0,
            "respect_opt_out": False, "opt_out_directives": ("noai",), "user_agent": "somebody", "allowed_hosts": (),
            "content_types": ("image/png",), "max_redirects": 1, "max_image_bytes": 9, "max_pixels": 9,
            "stored_side_px": 64, "speed": DownloadSpeed(attempts=2, timeout_s=1.0),
        },
        settings={"allowed_hosts": ("127.0.0.1",), "speed": DownloadSpeed(attempts=1)},
        context=lambda tmp_path: {"store": FolderStore(Storage(str(tmp_path / "run")), "store")},
    ),
    "write_reverse": Case(
        forward_edits,
        {
            "model": "zoo:other", "keep_existing": "never", "use_rules": False, "examples": "path:other.jsonl",
            "num_examples": 1, "temperature": 0.1, "max_new_tokens": 9, "max_retries": 0, "max_words": 9,
        },
        settings={"model": "zoo:llm"},
        context=lambda tmp_path: {"loader": lambda *_, **__: ForgetfulWriter()},
    ),
    "write_edits": Case(
        captions,
        {
            "model": "zoo:other", "caption_column": "generated_caption", "edits_per_caption": 1,
            "shares": {"replace": 2.0}, "examples": "path:other.jsonl", "grown_examples": True, "num_instructions": 1,
            "num_examples": 1, "repeats_caption": True, "temperature": 0.1, "max_new_tokens": 99, "max_retries": 0,
            "max_repairs": 1, "min_instruction_words": 3, "max_instruction_words": 40, "min_caption_words": 1,
            "max_caption_words": 50, "wordnet_frac": 0.5, "lexicon": "wordnet:3.1", "captions_per_instruction": 5,
            "further_captions": "wordnet", "vocabulary": "captions", "min_corpus_count": 1,
        },
        settings={
            "model": "zoo:llm", "shares": {"replace": 1.0}, "wordnet_frac": 0.3, "lexicon": "wordnet:3.0",
            "captions_per_instruction": 3,
        },
        context=lambda tmp_path: {"loader": write_edits_models},
    ),
    "write_turns": Case(
        first_edits,
        {
            "model": "zoo:other", "lexicon": "wordnet:3.0", "num_turns": 2, "shares": {"replace": 2.0, "add": 1.0},
            "examples": "path:other.jsonl", "num_instructions": 1, "num_examples": 1, "repeats_caption": True,
            "temperature": 0.1, "max_new_tokens": 99, "max_retries": 0,
        },
        settings={"model": "zoo:llm", "shares": {"replace": 1.0}, "examples": "examples:photographs"},
        context=lambda tmp_path: {"loader": write_edits_models},
    ),
    "unify_instruction": Case(
        lambda tmp_path: rows(instruction=["The dog has to go", "turn it RED", "paint it red!", None, "?", "zoom in"]),
        {"model": "zoo:other", "max_new_tokens": 9},
        context=lambda tmp_path: {"loader": lambda *_, **__: RemovesDogs()},
    ),
    "read_webdataset": Case(webdataset, {"require_caption": False, "max_image_bytes": 9}),
}  # fmt: skip
