"""The order of a dataset's samples: a pure function of the seed, its shard list and the number of streams.

The order is made of V streams. Shards are permuted anew each epoch; the endless sequence of these epochs is dealt to
the streams one shard at a time, so that stream v reads shards v, v + V, v + 2V, … of it. Within a shard, blocks of
`block` samples are permuted among themselves. Sample number n of the training (n = 0, 1, 2, …) is the next one of
stream n mod V. With R processes, process r takes the n with n mod R = r, and its worker w of W those whose turn it is.

What follows from that, where V is a multiple of R x W:

- Each epoch holds every sample exactly once, over all processes and workers, whatever their number.
- No stream ends, so every batch of every process is full and none waits for a process without samples. A training is
  as long as its steps say; an epoch is not a barrier. Streams of equal shards stay within one shard of each other;
  unequal shards let them drift apart, so that a stretch of the training may hold samples of neighbouring epochs.
- Step s sees the samples from s x G on, G being all processes' samples a step, however G is made up.
- Any position is found by counting, from shards.json alone: resuming reads at most one block twice.

`trainer.mixing` deals the numbers to several datasets, each of which has such an order of its own. The module imports
nothing heavy and opens no file.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from samples.shards import ShardFile

STREAMS = 16


class Visit(NamedTuple):
    """One reading of one shard: its place in the endless sequence, its epoch, the shard."""

    number: int
    epoch: int
    shard: ShardFile


class StreamPlan(NamedTuple):
    """Streams of the whole training, and reading processes for each training process."""

    num_streams: int
    num_workers: int


def plan_streams(
    num_shards: Sequence[int], num_ranks: int, num_workers: int, streams: int | None = None
) -> StreamPlan:  # fmt: skip
    """The numbers of streams and workers. Workers become fewer until the streams can be dealt to them evenly.

    `num_shards` are the shards of each dataset. The number of streams is that of the largest dataset; `streams_of` says
    how many a smaller one has, and each has a multiple of the number of processes.

    `num_workers` 0, reading in the training process, counts as one. Workers never decide the number of streams, and so
    the order. By default that is a power of two where the processes divide it: with 16 shards or more the same order
    for 1, 2, 4, 8 and 16 processes; other numbers of processes see another one, unless `streams` is given. Raises
    UsageError when a dataset has fewer shards than processes, and for streams that cannot be dealt evenly.
    """
    for place, number in enumerate(num_shards, 1):
        if number < num_ranks:
            which = "the dataset" if len(num_shards) == 1 else f"dataset {place} of {len(num_shards)}"
            raise UsageError(
                f"{which} has {number} shards with samples and there are {num_ranks} processes, which each need "
                f"one; start at most {number} processes, or build the dataset with smaller shards"
            )
    most = max(num_shards)
    if streams is None:
        power = 1 << (min(most, max(STREAMS, num_ranks)).bit_length() - 1)
        streams = power if power % num_ranks == 0 else num_ranks * max(1, min(most, STREAMS) // num_ranks)
        while not _are_dealt(streams, num_shards, num_ranks):
            streams -= num_ranks
    elif streams > most or not _are_dealt(streams, num_shards, num_ranks):
        raise UsageError(
            f"streams is {streams}; expected a multiple of the number of processes ({num_ranks}) and at most the "
            f"number of shards with samples ({most}){'' if len(num_shards) == 1 else ', for each dataset'}"
        )
    workers = min(max(1, num_workers), streams // num_ranks)
    while not _are_dealt(streams, num_shards, num_ranks * workers):
        workers -= 1
    return StreamPlan(streams, workers if num_workers else 0)


def streams_of(num_streams: int, num_shards: int) -> int:
    """The streams of a dataset: the greatest divisor of the training's number of streams that its shards suffice for.

    The number of processes is no part of it, so that a resumed training with other processes has the same order.
    """
    return next(number for number in range(min(num_streams, num_shards), 0, -1) if num_streams % number == 0)


def _are_dealt(streams: int, num_shards: Sequence[int], num_readers: int) -> bool:
    """True where every dataset's streams can be dealt evenly to as many readers."""
    return all(streams_of(streams, number) % num_readers == 0 for number in num_shards)


@dataclass(frozen=True)
class Order:
    """The order of one training's samples. `shards` are those with samples, whose counts are trusted."""

    shards: tuple[ShardFile, ...]
    num_streams: int
    block: int
    seed: int

    def visits(self, stream: int, start: int) -> Iterator[tuple[Visit, int]]:
        """The shards that `stream` reads from its sample number `start` on, with the samples to skip in each."""
        skip, number = start, stream
        while True:
            for visit in self._epoch_visits(number):
                number += self.num_streams
                if skip >= visit.shard.num_samples:
                    skip -= visit.shard.num_samples
                    continue
                yield visit, skip
                skip = 0

    def _epoch_visits(self, first: int) -> Iterator[Visit]:
        """This stream's visits of the epoch that visit `first` falls into."""
        epoch, place = divmod(first, len(self.shards))
        permuted = list(self.shards)
        random.Random(f"{self.seed}/shards/{epoch}").shuffle(permuted)
        for index in range(place, len(permuted), self.num_streams):
            yield Visit(epoch * len(permuted) + index, epoch, permuted[index])

    def blocks(self, visit: Visit, skip: int) -> Iterator[tuple[int, Sequence[int]]]:
        """(samples to pass over in the tar, order of the block's samples still to come) from `skip` on."""
        for first in range(skip // self.block * self.block, visit.shard.num_samples, self.block):
            order = list(range(min(self.block, visit.shard.num_samples - first)))
            random.Random(f"{self.seed}/samples/{visit.number}/{first}").shuffle(order)
            yield first, order[max(0, skip - first) :]

    def mirrored(self, visit: Visit, index: int) -> bool:
        """True where sample `index` of the visited shard is mirrored this time, if mirroring is asked for."""
        return random.Random(f"{self.seed}/flip/{visit.number}/{index}").random() < 0.5
