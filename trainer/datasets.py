"""The datasets of a training: their shard lists, their shares, and whether they have what the recipe reads.

Owns which datasets there are and how much each counts. Does not cover the order of samples (`trainer.mixing`,
`trainer.order`) or their reading (`trainer.data`).
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.errors import DatasetError
from samples.shards import read_shards
from trainer.mixing import whole_weights

if TYPE_CHECKING:
    from samples.shards import ShardList
    from trainer.settings import TrainSettings

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Datasets:
    """One or more datasets. `weights` are whole numbers, one a dataset, in whose proportions samples are drawn."""

    lists: tuple[ShardList, ...]
    weights: tuple[int, ...]

    @property
    def num_samples(self) -> int:
        """Samples of all datasets together."""
        return sum(dataset.num_samples for dataset in self.lists)

    @property
    def shares(self) -> tuple[float, ...]:
        """The share of a training's samples that each dataset gives."""
        return tuple(weight / sum(self.weights) for weight in self.weights)

    @property
    def names(self) -> tuple[str, ...]:
        """The name of each dataset; a second one of the same name has its place added."""
        names = [dataset.name for dataset in self.lists]
        return tuple(f"{n}#{place}" if n in names[: place - 1] else n for place, n in enumerate(names, 1))

    @property
    def fingerprint(self) -> str:
        """sha256 over all fingerprints, in their order; that of the dataset where there is one."""
        if len(self.lists) == 1:
            return self.lists[0].fingerprint
        joined = "\n".join(dataset.fingerprint for dataset in self.lists)
        return f"sha256:{hashlib.sha256(joined.encode()).hexdigest()}"

    def epochs(self, num_seen: int) -> dict[str, float]:
        """Epochs after that many samples: `epoch` of all, and `epoch/NAME` of each where there are several."""
        found = {"epoch": num_seen / self.num_samples}
        if len(self.lists) > 1:
            for name, share, dataset in zip(self.names, self.shares, self.lists, strict=True):
                found[f"epoch/{name}"] = num_seen * share / dataset.num_samples
        return found

    def described(self) -> list[dict[str, Any]]:
        """Name, fingerprint, number of samples and share of each, as JSON values."""
        return [
            {"name": name, "fingerprint": one.fingerprint, "num_samples": one.num_samples, "share": share}
            for name, one, share in zip(self.names, self.lists, self.shares, strict=True)
        ]


def read_datasets(settings: TrainSettings) -> Datasets:
    """The datasets that the settings name, with tars of the listed sizes; of those with splits, one split.

    Raises DatasetError for a folder that is no dataset, for a tar of another size, for a dataset with splits but no
    sample of the one that is read, and for one of several datasets without a sample.
    """
    urls = (settings.data,) if isinstance(settings.data, str) else settings.data
    is_hashed = settings.run_on.check_shards == "sha256"
    lists = tuple(read_shards(url, is_hashed=is_hashed).of_split(settings.split) for url in urls)
    for dataset in lists:
        dataset.check_sizes()
        if not dataset.num_samples and len(lists) > 1:
            raise DatasetError(f"dataset {dataset.name!r} ({dataset.url}) has no samples; leave it out")
    given = settings.data_weights
    weights = whole_weights(given) if given else tuple(max(1, dataset.num_samples) for dataset in lists)
    datasets = Datasets(lists, weights)
    if len(lists) > 1:
        for name, share, one in zip(datasets.names, datasets.shares, lists, strict=True):
            log.info("dataset %s: %d samples, %.1f %% of those of a step", name, one.num_samples, 100 * share)
    return datasets
