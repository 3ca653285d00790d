"""What schemes share whose `find` gives only what is on this machine: nothing is missing, nothing is downloaded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from models.schemes.snapshot import content_pin
from models.schemes.weights import Offer, Weights

if TYPE_CHECKING:
    from core.missing import Missing


def missing(_weights: Weights) -> Missing | None:
    """Nothing: `find` refuses what is not there."""
    return None


def offer(weights: Weights) -> Offer:
    """Nothing to download."""
    return Offer(num_bytes=0, licence=weights.licence())


def fetch(weights: Weights) -> Weights:
    """The same weights."""
    return weights


def pin(weights: Weights) -> str:
    """A hash over the content."""
    return content_pin(Path(weights.location))
