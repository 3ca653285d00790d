"""Reads a dataset's tars in the order of `trainer.order` and makes batches of tensors, from any batch on.

webdataset reads the tars, torch's DataLoader the samples when workers are asked for. A failure in a worker travels as a
value, so that its one line reaches the user unwrapped.
"""

from __future__ import annotations

import logging
import signal
import tarfile
from itertools import islice
from typing import TYPE_CHECKING, Any

from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from webdataset.tariterators import group_by_keys, tar_file_iterator

from core.errors import DatasetError, SampleError
from trainer.batch import collate
from trainer.order import Order, plan_streams

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from samples.shards import ShardFile, ShardList
    from trainer.batch import Batch
    from trainer.decode import Decoder, Sample
    from trainer.order import Visit
    from trainer.settings import TrainSettings

log = logging.getLogger(__name__)

UNREADABLE = (OSError, EOFError, ValueError, IndexError, OverflowError, RecursionError, tarfile.TarError)
PREFETCH_BATCHES = 2


class Loader:
    """Batches of one process. With the same `num_streams` a resumed training sees the same order."""

    def __init__(
        self, dataset: ShardList, decoder: Decoder, settings: TrainSettings, *, rank: int, num_ranks: int
    ) -> None:
        """Plan the order. Raises UsageError for fewer shards than processes."""
        filled = tuple(shard for shard in dataset.shards if shard.num_samples)
        num_workers = settings.run_on.num_workers
        plan = plan_streams(len(filled), num_ranks, num_workers, settings.streams)
        if plan.num_workers < num_workers:
            log.warning(
                "reading with %d workers a process instead of %d: %d streams of shards are dealt to %d processes",
                plan.num_workers, num_workers, plan.num_streams, num_ranks,
            )  # fmt: skip
        self.num_streams, self._num_workers = plan.num_streams, plan.num_workers
        self._order = Order(filled, plan.num_streams, settings.shuffle_block, settings.seed)
        self._dataset, self._decoder, self._flips = dataset, decoder, settings.horizontal_flip
        self._batch_size, self._rank, self._num_ranks = settings.run_on.batch_size, rank, num_ranks
        self._reader = f"recipe {settings.recipe}"

    def batches(self, start: int = 0) -> Generator[Batch]:
        """Batches from number `start`, without end, the same whether earlier ones were read or not."""
        samples = self._samples(start * self._batch_size)
        while True:
            yield collate(list(islice(samples, self._batch_size)), self._decoder, self._reader)

    def _samples(self, start: int) -> Iterator[Sample]:
        stream = SampleStream(
            self._dataset, self._decoder, self._order, rank=self._rank, num_ranks=self._num_ranks, start=start,
            flips=self._flips,
        )  # fmt: skip
        if self._num_workers == 0:
            yield from map(_checked, stream)
            return
        ahead = max(2, PREFETCH_BATCHES * self._batch_size // self._num_workers)
        loader: Any = DataLoader(
            stream, batch_size=None, num_workers=self._num_workers, prefetch_factor=ahead, worker_init_fn=_quiet
        )
        yield from map(_checked, loader)


class SampleStream(IterableDataset):  # type: ignore[type-arg]
    """The samples of one process from its number `start`, or a DataLoader worker's share of them."""

    def __init__(
        self, dataset: ShardList, decoder: Decoder, order: Order, *, rank: int, num_ranks: int, start: int, flips: bool
    ) -> None:
        self._dataset, self._decoder, self._order, self._flips = dataset, decoder, order, flips
        self._rank, self._num_ranks, self._start = rank, num_ranks, start

    def __iter__(self) -> Iterator[Sample | SampleError]:
        """Samples in order, with an error as the last item where one cannot be read."""
        try:
            yield from self._share()
        except SampleError as error:
            yield error

    def _share(self) -> Iterator[Sample]:
        worker = get_worker_info()
        first, step = (worker.id, worker.num_workers) if worker else (0, 1)
        num_own = self._order.num_streams // self._num_ranks
        streams: dict[int, Iterator[Sample]] = {}
        place = self._start + first
        while True:
            own, position = place % num_own, place // num_own
            if own not in streams:
                streams[own] = self._stream(self._rank + own * self._num_ranks, position)
            yield next(streams[own])
            place += step

    def _stream(self, stream: int, start: int) -> Iterator[Sample]:
        position = start
        for visit, skip in self._order.visits(stream, start):
            for index, raw in self._raw(visit, skip):
                yield self._decoder.decode(
                    raw, shard=visit.shard.file, number=position * self._order.num_streams + stream,
                    epoch=visit.epoch, is_mirrored=self._flips and self._order.mirrored(visit, index),
                )  # fmt: skip
                position += 1

    def _raw(self, visit: Visit, skip: int) -> Iterator[tuple[int, dict[str, Any]]]:
        """(index in the shard, members) of the visited shard's samples, in the order asked for."""
        shard = visit.shard
        try:
            with self._dataset.open(shard) as handle:
                members = tar_file_iterator(handle, select_files=self._decoder.wants)
                samples = enumerate(group_by_keys({**member, "__url__": shard.file} for member in members))
                at = 0
                for first, order in self._order.blocks(visit, skip):
                    block = list(islice(samples, first - at, first - at + min(self._order.block, _left(shard, first))))
                    at = first + len(block)
                    if len(block) < min(self._order.block, _left(shard, first)):
                        raise _count_error(shard, at)
                    yield from ((first + place, block[place][1]) for place in order)
                if next(samples, None) is not None:
                    raise _count_error(shard, at + 1)
        except DatasetError as error:
            raise SampleError(str(error)) from error
        except UNREADABLE as error:
            raise SampleError(f"shard {shard.file} cannot be read: {_reason(error)}") from error


def first_samples(dataset: ShardList, decoder: Decoder, count: int) -> list[Sample]:
    """The dataset's first samples, as many as there are up to `count`, in the order of its tars."""
    filled = tuple(shard for shard in dataset.shards if shard.num_samples)
    found: list[Sample] = []
    for number, shard in enumerate(filled):
        in_order = Order((shard,), 1, 1, 0)
        stream = SampleStream(dataset, decoder, in_order, rank=0, num_ranks=1, start=0, flips=False)
        found += map(_checked, islice(stream, min(count - len(found), shard.num_samples)))
        if len(found) == count or number + 1 == len(filled):
            break
    return found


def _reason(error: BaseException) -> str:
    """The error in one line, without what webdataset appends to its arguments."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return " ".join(str(error.args[0] if error.args else "").split()) or type(error).__name__


def _left(shard: ShardFile, first: int) -> int:
    return shard.num_samples - first


def _count_error(shard: ShardFile, found: int) -> SampleError:
    more = "at least " if found > shard.num_samples else ""
    return SampleError(
        f"shard {shard.file} holds {more}{found} samples, shards.json says {shard.num_samples}; build the dataset again"
    )


def _checked(item: Sample | SampleError) -> Sample:
    if isinstance(item, SampleError):
        raise item
    return item


def _quiet(_worker: int) -> None:
    """Leave Ctrl-C to the training process, which ends its workers, and restore the usual handler of SIGTERM."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
