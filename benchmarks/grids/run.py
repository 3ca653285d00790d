"""Three ways to bring an example beside its pair: ready grids, attached examples, and look-up while training.

`make bench-grids`: groups of five pairs of 256 px, JPEGs made by code, read in one process. Ready grids store each pair
with each of k partners as one image. Attached examples store the images of k partners beside each pair, and each visit
decodes one of them (`attach_examples`, `one_of`). Look-up stores pairs alone; a visit reads the two images of a partner
at their places in the tars, from an index made once. The figures: bytes a pair, partners that a pair meets in ten
epochs, grids a second (the median over rounds, in which the ways take turns). Prints a table, writes
runs/bench-grids/result.json.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import statistics
import sys
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.shards import QUALITY, make_image  # noqa: E402  the repository is not a package
from samples.shards import SHARD_LIST, read_shards  # noqa: E402
from trainer.data import Loader  # noqa: E402
from trainer.datasets import Datasets  # noqa: E402
from trainer.decode import Decoder  # noqa: E402
from trainer.one_of import drawn_values  # noqa: E402
from trainer.settings import TrainRunOn, TrainSettings  # noqa: E402
from zoo.dataset_shards import write_shards  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Images = list[tuple[bytes, bytes]]
    """Source and target of each pair."""

CELL_PX, GROUP, EPOCHS = 256, 5, 10
SAMPLES_PER_SHARD, BATCH = 25, 5
EXAMPLES = ("example_source_images", "example_target_images")
ATTACHED = (1, 2, 4)
OUT = ROOT / "runs" / "bench-grids"


@dataclass(frozen=True, slots=True)
class Way:
    """One way: its dataset, what a training declares of it, and how many partners it has at hand."""

    name: str
    num_partners: int
    members: Callable[[int, Images], list[dict[str, bytes]]]
    """Members of the samples that are stored for one pair, by its number."""
    columns: tuple[str, ...]
    size_px: int = CELL_PX
    one_of: tuple[str, ...] = ()
    looks_up: bool = False


def partners(number: int) -> list[int]:
    """The other pairs of a pair's group, the next one first."""
    first = number // GROUP * GROUP
    return [first + (number - first + step) % GROUP for step in range(1, GROUP)]


def _plain(number: int, images: Images) -> list[dict[str, bytes]]:
    return [{"source.jpg": images[number][0], "target.jpg": images[number][1]}]


def _attached(count: int) -> Callable[[int, Images], list[dict[str, bytes]]]:
    def members(number: int, images: Images) -> list[dict[str, bytes]]:
        (found,) = _plain(number, images)
        for place, other in enumerate(partners(number)[:count]):
            mark = str(place or "")
            found |= {f"example_source{mark}.jpg": images[other][0], f"example_target{mark}.jpg": images[other][1]}
        return [found]

    return members


def _grids(count: int) -> Callable[[int, Images], list[dict[str, bytes]]]:
    def members(number: int, images: Images) -> list[dict[str, bytes]]:
        found = []
        for other in partners(number)[:count]:
            grid = Image.new("RGB", (2 * CELL_PX, 2 * CELL_PX))
            for place, content in enumerate((*images[other], *images[number])):
                grid.paste(Image.open(io.BytesIO(content)), (place % 2 * CELL_PX, place // 2 * CELL_PX))
            buffer = io.BytesIO()
            grid.save(buffer, "JPEG", quality=QUALITY)
            found.append({"target.jpg": buffer.getvalue()})
        return found

    return members


def ways() -> list[Way]:
    """All ways. A ready grid is one image, which a training reads at twice the size."""
    pair = ("source_images", "target_image")
    return [
        *(Way(f"ready grids of {k} partners", k, _grids(k), ("target_image",), 2 * CELL_PX) for k in ATTACHED),
        *(Way(f"{k} examples attached", k, _attached(k), (*pair, *EXAMPLES), one_of=EXAMPLES) for k in ATTACHED),
        Way("look-up while training", GROUP - 1, _plain, pair, looks_up=True),
    ]


def make_dataset(folder: Path, way: Way, images: Images) -> None:
    """The dataset of a way, unless it is there."""
    if (folder / SHARD_LIST).is_file():
        return

    def samples() -> Iterator[tuple[str, dict[str, bytes]]]:
        for number in range(len(images)):
            for place, members in enumerate(way.members(number, images)):
                light = {"instruction": f"make it number {number // GROUP}"}
                yield f"{number:05d}-g{place}", members | {"json": json.dumps(light).encode()}

    write_shards(folder, "bench-grids", samples(), SAMPLES_PER_SHARD)


class LookUp:
    """Reads the images of a pair at their places in the tars."""

    def __init__(self, folder: Path, decoder: Decoder) -> None:
        self._decoder, self._places, self._files = decoder, {}, []
        for shard in read_shards(folder).shards:
            self._files.append(os.open(folder / shard.file, os.O_RDONLY))
            with tarfile.open(folder / shard.file) as tar:
                for info in tar:
                    self._places[info.name] = (self._files[-1], info.offset_data, info.size)

    def pair(self, number: int) -> Any:
        """The decoded images of pair `number`."""
        key = f"{number:05d}-g0"
        raw: dict[str, Any] = {"__key__": key}
        for suffix in ("source.jpg", "target.jpg", "json"):
            file, offset, size = self._places[f"{key}.{suffix}"]
            raw[suffix] = os.pread(file, size, offset)
        return self._decoder.decode(raw, shard="", number=number, epoch=0, is_mirrored=False).values


def reader(folder: Path, way: Way) -> Callable[[int], None]:
    """A function that reads some grids through the loader of trainings."""
    decoder = Decoder(size_px=way.size_px, required=(*way.columns, "instruction"), one_of=way.one_of, seed=1)
    run_on = TrainRunOn(batch_size=BATCH, check_shards="size")
    settings = TrainSettings(data=str(folder), out=folder, run_on=run_on)
    lists = (read_shards(folder, is_hashed=False),)
    batches = Loader(Datasets(lists, (1,)), decoder, settings, rank=0, num_ranks=1).batches()
    look_up = LookUp(folder, decoder) if way.looks_up else None

    def read(count: int) -> None:
        for _ in range(0, count, BATCH):
            batch = next(batches)
            for key, number in zip(batch.keys, batch.number_B.tolist(), strict=True):
                if look_up:
                    look_up.pair(random.Random(f"1/{number}").choice(partners(int(key.partition("-")[0]))))

    return read


def met_partners(way: Way) -> float:
    """Partners that a pair meets in `EPOCHS` epochs, the mean over pairs."""
    if not way.one_of and not way.looks_up:
        return float(way.num_partners)  # an epoch has every ready grid
    names = ("example_source_images",)
    raw = {f"example_source{place or ''}.jpg": bytes([place]) for place in range(way.num_partners)}
    visits = [[number + 1000 * epoch for epoch in range(EPOCHS)] for number in range(1000)]
    found = [{drawn_values(names, raw, seed=1, number=one)[names[0]][0] for one in numbers} for numbers in visits]
    return statistics.mean(map(len, found))


def main() -> int:
    """Measure and print. Return 0."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("--pairs", type=int, default=200, help="a multiple of five (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="%(default)s")
    parser.add_argument("--out", type=Path, default=OUT, help="%(default)s")
    given = parser.parse_args()
    rng = np.random.default_rng(0)
    images = [
        (make_image(rng, (CELL_PX, CELL_PX)), make_image(rng, (CELL_PX, CELL_PX))) for _ in range(given.pairs)
    ]  # fmt: skip
    readers: dict[str, Callable[[int], None]] = {}
    found: dict[str, dict[str, float]] = {}
    for way in ways():
        folder = given.out / f"{given.pairs}-{way.name.replace(' ', '-')}"
        make_dataset(folder, way, images)
        readers[way.name] = reader(folder, way)
        stored = sum(shard.num_bytes for shard in read_shards(folder).shards)
        found[way.name] = {"kilobytes_a_pair": stored / given.pairs / 1000, "partners_met": met_partners(way)}
    rates: dict[str, list[float]] = {name: [] for name in readers}
    for number in range(given.rounds + 1):
        for name, read in readers.items():
            began = time.perf_counter()
            read(given.pairs)
            if number:  # the first round fills caches
                rates[name].append(given.pairs / (time.perf_counter() - began))
    for name, values in rates.items():
        found[name]["grids_a_second"] = statistics.median(values)
    print("| way | kB a pair | partners met in 10 epochs, of 4 | grids a second |\n|---|---|---|---|")
    for name, one in found.items():
        print(f"| {name} | {one['kilobytes_a_pair']:.0f} | {one['partners_met']:.1f} | {one['grids_a_second']:.0f} |")
    (given.out / "result.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
