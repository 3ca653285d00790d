"""Columns about a target image and its pair, which say nothing of a target that is made in its place."""

from __future__ import annotations

PREFIXES = (
    "target_", "pair_", "outside_", "judge_", "rejected_", "preference_", "synthesis_", "selective_", "session_",
    "anchor_", "neighbour_", "leak_", "latent_",
)  # fmt: skip
FURTHER = frozenset({
    "attention_frac", "soft_ring_frac", "soft_mask_png", "candidates", "retrieval_cos", "edit_cost_usd",
    "source_latent", "region_latent",
})  # fmt: skip
"""Columns about the target whose names do not begin with one of `PREFIXES`."""
KEPT = frozenset({"target_caption", "target_phrase", "target_raw", "pair_kind", "session_id"})
"""Columns that begin so and are not about the image: texts of the edit, the input itself, a place in a session."""


def is_about_target(name: str) -> bool:
    """True for a column that another target image makes wrong."""
    return (name.startswith(PREFIXES) or name in FURTHER) and name not in KEPT
