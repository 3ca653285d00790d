"""Reads the datasets' tars in the order of `trainer.order` and makes batches of tensors, from any batch on.

webdataset reads the tars, torch's DataLoader the samples when workers are asked for. A failure in a worker travels as a
value, so that its one line reaches the user unwrapped.
"""

from __future__ import annotations

import json
import logging
import signal
import tarfile
from dataclasses import dataclass
from itertools import islice
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from webdataset.tariterators import group_by_keys, tar_file_iterator

from core.errors import DatasetError, SampleError
from samples.members import JSON
from samples.shards import SPLIT
from trainer.batch import collate
from trainer.mixing import Mix
from trainer.order import Order, plan_streams, streams_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from samples.shards import ShardFile, ShardList
    from trainer.batch import Batch
    from trainer.datasets import Datasets
    from trainer.decode import Decoder, Sample
    from trainer.order import Visit
    from trainer.settings import TrainSettings

log = logging.getLogger(__name__)

UNREADABLE = (OSError, EOFError, ValueError, IndexError, OverflowError, RecursionError, tarfile.TarError)
PREFETCH_BATCHES = 2


class Loader:
    """Batches of one process. With the same `num_streams` a resumed training sees the same order."""

    def __init__(
        self, datasets: Datasets, decoder: Decoder, settings: TrainSettings, *, rank: int, num_ranks: int,
        default_workers: int = 0,
    ) -> None:  # fmt: skip
        """Plan the order. `default_workers` read where the settings name no number.

        Raises UsageError for a dataset with fewer shards than processes.
        """
        filled = [_filled(dataset) for dataset in datasets.lists]
        asked, seed = settings.run_on.num_workers, settings.seed
        num_workers = default_workers if asked is None else asked
        plan = plan_streams([len(shards) for shards in filled], num_ranks, num_workers, settings.streams)
        if asked is None and plan.num_workers:
            log.info("reading with %d processes for each training process", plan.num_workers)
        elif plan.num_workers < num_workers:
            log.warning(
                "reading with %d workers a process instead of %d: %d streams of shards are dealt to %d processes",
                plan.num_workers, num_workers, plan.num_streams, num_ranks,
            )  # fmt: skip
        self.num_streams, self._num_workers = plan.num_streams, plan.num_workers
        streams = tuple(streams_of(plan.num_streams, len(shards)) for shards in filled)
        self._reading = Reading(
            lists=datasets.lists,
            names=datasets.names if len(filled) > 1 else ("",),
            orders=tuple(Order(s, n, settings.shuffle_block, seed) for s, n in zip(filled, streams, strict=True)),
            mix=Mix(datasets.weights, streams, plan.num_streams, seed),
            decoder=decoder,
            flips=settings.horizontal_flip,
        )
        self._decoder = decoder
        self._batch_size, self._rank, self._num_ranks = settings.run_on.batch_size, rank, num_ranks
        self._reader = f"recipe {settings.recipe}"

    def batches(self, start: int = 0) -> Generator[Batch]:
        """Batches from number `start`, without end, the same whether earlier ones were read or not.

        With aspect buckets a batch comes as several, one after another: one for each size among its samples.
        """
        samples = self._samples(start * self._batch_size)
        while True:
            by_size: dict[tuple[int, int], list[Sample]] = {}
            for sample in islice(samples, self._batch_size):
                by_size.setdefault(sample.size, []).append(sample)
            for alike in by_size.values():
                yield collate(alike, self._decoder, self._reader)

    def _samples(self, start: int) -> Iterator[Sample]:
        stream = SampleStream(self._reading, rank=self._rank, num_ranks=self._num_ranks, start=start)
        if self._num_workers == 0:
            yield from map(_checked, stream)
            return
        ahead = max(2, PREFETCH_BATCHES * self._batch_size // self._num_workers)
        loader: Any = DataLoader(
            stream, batch_size=None, num_workers=self._num_workers, prefetch_factor=ahead, worker_init_fn=_quiet
        )
        yield from map(_checked, loader)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """The datasets and their orders. `names` say in messages which dataset a shard is of, empty where there is one."""

    lists: tuple[ShardList, ...]
    names: tuple[str, ...]
    orders: tuple[Order, ...]
    mix: Mix
    decoder: Decoder
    flips: bool = False


class SampleStream(IterableDataset):  # type: ignore[type-arg]
    """The samples of one process from its number `start`, or a DataLoader worker's share of them."""

    def __init__(self, reading: Reading, *, rank: int, num_ranks: int, start: int) -> None:
        self._reading, self._rank, self._num_ranks, self._start = reading, rank, num_ranks, start

    def __iter__(self) -> Iterator[Sample | SampleError]:
        """Samples in order, with an error as the last item where one cannot be read."""
        try:
            yield from self._share()
        except SampleError as error:
            yield error

    def _share(self) -> Iterator[Sample]:
        worker = get_worker_info()
        first, step = (worker.id, worker.num_workers) if worker else (0, 1)
        mix = self._reading.mix
        streams: dict[tuple[int, int], Iterator[_Found]] = {}
        number = (self._start + first) * self._num_ranks + self._rank
        while True:
            dataset = mix.dataset_of(number)
            stream = number % mix.streams[dataset]
            if (dataset, stream) not in streams:
                streams[dataset, stream] = self._stream(dataset, stream, mix.position(number, dataset))
            yield self._decoded(number, dataset, next(streams[dataset, stream]))
            number += step * self._num_ranks

    def _decoded(self, number: int, dataset: int, found: _Found) -> Sample:
        reading, visit = self._reading, found.visit
        is_mirrored = reading.flips and reading.orders[dataset].mirrored(visit, found.place)
        return reading.decoder.decode(
            found.raw, shard=self._shard_name(dataset, visit), number=number, epoch=visit.epoch, is_mirrored=is_mirrored
        )

    def _shard_name(self, dataset: int, visit: Visit) -> str:
        name = self._reading.names[dataset]
        return f"{name}/{visit.shard.file}" if name else visit.shard.file

    def _stream(self, dataset: int, stream: int, start: int) -> Iterator[_Found]:
        for visit, skip in self._reading.orders[dataset].visits(stream, start):
            for index, raw in self._raw(dataset, visit, skip):
                yield _Found(visit, index, raw)

    def _raw(self, dataset: int, visit: Visit, skip: int) -> Iterator[tuple[int, dict[str, Any]]]:
        """(index in the shard, members) of the visited shard's samples, in the order asked for."""
        shard, order = visit.shard, self._reading.orders[dataset]
        name = self._shard_name(dataset, visit)
        try:
            with self._reading.lists[dataset].open(shard) as handle:
                samples = enumerate(stored_samples(handle, shard, self._reading.decoder.wants))
                at = 0
                for first, places in order.blocks(visit, skip):
                    wanted = min(order.block, shard.num_samples - first)
                    block = list(islice(samples, first - at, first - at + wanted))
                    at = first + len(block)
                    if len(block) < wanted:
                        raise _count_error(name, shard, at)
                    yield from ((first + place, block[place][1]) for place in places)
                if next(samples, None) is not None:
                    raise _count_error(name, shard, at + 1)
        except DatasetError as error:
            raise SampleError(str(error)) from error
        except UNREADABLE as error:
            raise SampleError(f"shard {name} cannot be read: {_reason(error)}") from error


class _Found(NamedTuple):
    """One sample as it lies in a tar: the visit of its shard, its place in it, its members."""

    visit: Visit
    place: int
    raw: dict[str, Any]


def first_samples(dataset: ShardList, decoder: Decoder, count: int) -> list[Sample]:
    """The dataset's first samples, as many as there are up to `count`, in the order of its tars."""
    found: list[Sample] = []
    for shard in _filled(dataset):
        if len(found) < count:
            in_order = (Order((shard,), 1, 1, 0),)
            reading = Reading(
                lists=(dataset,), names=("",), orders=in_order, mix=Mix((1,), (1,), 1, 0), decoder=decoder
            )  # fmt: skip
            stream = SampleStream(reading, rank=0, num_ranks=1, start=0)
            found += map(_checked, islice(stream, min(count - len(found), shard.num_samples)))
    return found


def _filled(dataset: ShardList) -> tuple[ShardFile, ...]:
    return tuple(shard for shard in dataset.shards if shard.num_samples)


def stored_samples(handle: IO[bytes], shard: ShardFile, wants: Callable[[str], bool]) -> Iterator[dict[str, Any]]:
    """The members of each sample of an open tar, by suffix, with its `__key__`. `wants` picks files by their name.

    Of a shard with a split that is read, only the samples of that split.
    """
    members = tar_file_iterator(handle, select_files=wants)
    samples = group_by_keys({**one, "__url__": shard.file} for one in members)
    yield from samples if shard.split is None else (one for one in samples if _is_of(shard.split, one))


def _is_of(split: str, raw: dict[str, Any]) -> bool:
    """True for a sample of the split, and for one that cannot tell: it is reported when it is decoded."""
    try:
        light = json.loads(raw[JSON])
    except (KeyError, ValueError, RecursionError):
        return True
    return not isinstance(light, dict) or (light.get(SPLIT) or "") == split


def _reason(error: BaseException) -> str:
    """The error in one line, without what webdataset appends to its arguments."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return " ".join(str(error.args[0] if error.args else "").split()) or type(error).__name__


def _count_error(name: str, shard: ShardFile, found: int) -> SampleError:
    more = "at least " if found > shard.num_samples else ""
    of = "" if shard.split is None else f" of the split {shard.split!r}"
    return SampleError(
        f"shard {name} holds {more}{found} samples{of}, shards.json says {shard.num_samples}; build the dataset again"
    )


def _checked(item: Sample | SampleError) -> Sample:
    if isinstance(item, SampleError):
        raise item
    return item


def _quiet(_worker: int) -> None:
    """Leave Ctrl-C to the training process, which ends its workers, and restore the usual handler of SIGTERM."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
