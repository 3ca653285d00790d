"""The order of samples: a pure function of the seed, the dataset's shard list and the number of streams.

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

The module imports nothing heavy and opens no file.
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


def plan_streams(num_shards: int, num_ranks: int, num_workers: int, streams: int | None = None) -> StreamPlan:
    """The numbers of streams and workers. Workers become fewer until the streams can be dealt to them evenly.

    `num_workers` 0, reading in the training process, counts as one. Workers never decide the number of streams, and so
    the order. By default that is a power of two where the processes divide it: with 16 shards or more the same order
    for 1, 2, 4, 8 and 16 processes; other numbers of processes see another one, unless `streams` is given. Raises
    UsageError when there are fewer shards than processes, and for streams that cannot be dealt evenly.
    """
    if num_shards < num_ranks:
        raise UsageError(
            f"the dataset has {num_shards} shards with samples and there are {num_ranks} processes, which each need "
            f"one; start at most {num_shards} processes, or build the dataset with smaller shards"
        )
    if streams is None:
        power = 1 << (min(num_shards, max(STREAMS, num_ranks)).bit_length() - 1)
        streams = power if power % num_ranks == 0 else num_ranks * max(1, min(num_shards, STREAMS) // num_ranks)
    elif streams % num_ranks or streams > num_shards:
        raise UsageError(
            f"streams is {streams}; expected a multiple of the number of processes ({num_ranks}) and at most the "
            f"number of shards with samples ({num_shards})"
        )
    workers = min(max(1, num_workers), streams // num_ranks)
    while streams % (num_ranks * workers):
        workers -= 1
    return StreamPlan(streams, workers if num_workers else 0)


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
