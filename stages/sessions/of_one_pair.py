"""Columns that describe one pair of images, and so are wrong for the other pairs of its session.

`chain_edits` empties them in all its rows. A chain that asks for their values afterwards has to measure them again; the
plan refuses one that does not.
"""

from __future__ import annotations

from stages.pair_scores.scores import PAIR_SCORES

IMAGE_SCORES = tuple(
    f"{side}_{name}"
    for name in ("nsfw_score", "watermark_score", "text_frac", "num_faces", "face_frac", "aesthetic_score")
    for side in ("source", "target")
)
OF_ONE_PAIR = (
    *PAIR_SCORES, "candidates", "candidate_number", "image_embedding", "target_id", "target_image_cos",
    "retrieval_cos", "region_mask_png", "core_mask_png", "soft_mask_png", "region_frac", "is_whole_image",
    "source_mask_png", "target_mask_png", "source_mask_frac", "target_mask_frac", "selective_mask_png",
    "unified_instruction", "further_turns", "judge_status", "judge_instruction_score", "judge_preservation_score",
    "judge_quality_score", "judge_score", "judge_reply", "judge_model", "judge_revision", "judge_prompt_sha256",
    "judge_seed", *IMAGE_SCORES,
)  # fmt: skip
