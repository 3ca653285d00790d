"""Randomness that depends on the sample alone, never on shard, order, batch or worker."""

from __future__ import annotations

import hashlib
import random


def sample_rng(seed: int, stage: str, sample_id: str) -> random.Random:
    """A generator of its own for one sample in one stage: the same in every run with the same seed."""
    digest = hashlib.sha256(f"{seed}/{stage}/{sample_id}".encode()).digest()
    return random.Random(int.from_bytes(digest[:16], "big"))
