"""How many processes read and decode for a training process, where `run_on.num_workers` leaves it open.

The number decides speed alone: the order of samples and all that is drawn for them are the same with any number.
"""

from __future__ import annotations

import os

from core.machine import num_cores

MOST = 8
"""A core decodes about 40 samples a second at 512 px (`make bench-loader`): eight keep up with any GPU."""


def default_readers(device: str, num_local_ranks: int) -> int:
    """Readers of each of the training processes of this machine, which share its cores.

    On a GPU all cores of the process but one, at most `MOST`. On a CPU none: the training itself uses every core.
    `trainer.order.plan_streams` lowers the number further, to what the shards allow.
    """
    if device == "cpu":
        return 0
    return max(0, min(MOST, num_cores() // num_local_ranks - 1))


def num_local_ranks(num_ranks: int) -> int:
    """Training processes on this machine, as torchrun and accelerate say it; without them all are here."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", num_ranks))
