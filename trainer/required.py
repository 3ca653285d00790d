"""Checks before anything is loaded that the datasets have the columns which a recipe cannot do without.

The first sample of each dataset is looked at, its images are not decoded. A later sample that lacks a column stops the
training when it is reached (`trainer.decode`), as does one that is damaged.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from core.errors import DatasetError
from samples.members import JSON, MEMBERS, values_of
from trainer.data import UNREADABLE, stored_samples

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from samples.shards import ShardList
    from trainer.datasets import Datasets


def check_columns(datasets: Datasets, required: Iterable[str], reader: str) -> None:
    """Raise DatasetError, which names dataset and columns, where the first sample lacks some of `required`.

    `reader` is who needs them, as the message names it: `recipe NAME`.
    """
    for name, dataset in zip(datasets.names, datasets.lists, strict=True):
        first = _first(dataset)
        lacking = [column for column in required if first and not _has(first, column)]
        if lacking:
            raise DatasetError(
                f"dataset {name!r} ({dataset.url}) has no {', '.join(lacking)}, which {reader} needs: its first "
                f"sample, {first['__key__']}, lacks it; add a stage that writes it, or train on another dataset"
            )


def _first(dataset: ShardList) -> dict[str, Any]:
    """The members of the first sample that is there, by suffix. Empty where there is none or it cannot be read."""
    unhashed = replace(dataset, is_hashed=False)  # the loader hashes the tar when it reads it
    with suppress(DatasetError, *UNREADABLE):
        for shard in dataset.shards:
            if shard.num_samples:
                with unhashed.open(shard) as handle:
                    return next(stored_samples(handle, shard, lambda _: True), {})
    return {}


def _has(raw: Mapping[str, Any], column: str) -> bool:
    if column in MEMBERS:
        return bool(values_of(column, raw))
    try:
        light = json.loads(raw.get(JSON, b"{}"))
    except (ValueError, RecursionError):
        return True  # reported when it is decoded, with the place
    return not isinstance(light, dict) or light.get(column) is not None
