"""The columns that stay true of every pair of a session: they are about the input, and no pair's own.

All other columns of earlier stages described the first pair: its scores, masks, regions, latents, preferences. A column
that is declared later counts as one of these, until it is named here.
"""

from __future__ import annotations

KEPT_COLUMNS = frozenset({
    "source_sha256", "source_key", "source_size_bytes", "source_url", "source_metadata", "source_licence",
    "target_licence", "caption", "caption_num_words", "original_width_px", "original_height_px", "original_format",
    "duplicate_cluster_id", "duplicate_cluster_size", "split",
})  # fmt: skip
"""A split is one of them: a session of a pair that is held out is held out."""
