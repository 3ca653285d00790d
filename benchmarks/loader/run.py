"""The loader of trainings beside the raw limit and beside stock webdataset, in one process.

`make bench-loader`: some hundred samples of two JPEGs of 512 px, made by code, read at 256 px; and the same with cached
latents. The raw limit reads the tars from end to end and decodes, cuts and scales the same members in the same way: no
order, no shuffling, no checks, no tensors. webdataset has a shuffle buffer and batches of tensors, with the decoding of
the raw limit. Limit and loader are measured with reduced decoding of JPEGs (`reduced_jpegs`) too, each of these beside
the limit of its kind. Sides alternate over rounds; the figure is the median of the rounds, in samples a second of wall
time and, for machines that others use, of CPU time. Each side has read every tar once before: the loader hashes a tar
at its first reading, which is given apart. Prints a table, writes runs/bench-loader/result.json.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import statistics
import sys
import tarfile
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image, ImageOps

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.shards import make_image  # noqa: E402  the repository is not a package
from samples.shards import SHARD_LIST, read_shards  # noqa: E402
from trainer.arrays import ArraySpec  # noqa: E402
from trainer.data import Loader  # noqa: E402
from trainer.datasets import Datasets  # noqa: E402
from trainer.decode import Decoder  # noqa: E402
from trainer.settings import TrainRunOn, TrainSettings  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

STORED_PX, READ_PX = 512, 256
LATENT = (4, READ_PX // 8, READ_PX // 8)
MADE_BY: dict[str, str | int] = {"latent_model": "bench", "latent_size_px": READ_PX}
BAR = 0.9
LIMIT, OURS, REDUCED = "raw limit", "editloom", ", reduced JPEGs"
Case = str  # "images" or "latents"


def make_dataset(folder: Path, num_shards: int, samples_per_shard: int) -> None:
    """A dataset in the form of `emit`, the same at every run. One that is there already is kept."""
    if (folder / SHARD_LIST).exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    rng, shards = np.random.default_rng(0), []
    for number in range(num_shards):
        path = folder / f"{number:05d}.tar"
        with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
            for place in range(samples_per_shard):
                for suffix, content in _members(rng, place).items():
                    info = tarfile.TarInfo(f"{number:05d}-{place:05d}.{suffix}")
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        shards.append({"file": path.name, "samples": samples_per_shard, "bytes": len(content), "sha256": digest})
    (folder / SHARD_LIST).write_text(json.dumps({"dataset": "bench-loader", "shards": shards}))


def _members(rng: np.random.Generator, place: int) -> dict[str, bytes]:
    members = {f"{side}.jpg": make_image(rng, (STORED_PX, STORED_PX)) for side in ("source", "target")}
    for side in ("source", "target"):
        buffer = io.BytesIO()
        np.save(buffer, rng.normal(size=LATENT).astype(np.float16))
        members[f"{side}_latent.npy"] = buffer.getvalue()
    light = {"instruction": f"make it number {place}", "latent_revision": "r", **MADE_BY}
    return members | {"json": json.dumps(light).encode()}


def suffixes(case: Case) -> tuple[str, ...]:
    """The members that all sides read."""
    latents = ("source_latent.npy", "target_latent.npy") if case == "latents" else ()
    return ("source.jpg", "target.jpg", "json", *latents)


def decoded(suffix: str, content: bytes, *, is_draft: bool = False) -> Any:
    """A member decoded in the plainest way. `is_draft`: JPEGs by the decoder's own halving, which changes pixels."""
    if suffix == "json":
        return json.loads(content)
    if suffix.endswith("npy"):
        return np.load(io.BytesIO(content), allow_pickle=False)
    image = Image.open(io.BytesIO(content))
    if is_draft:
        image.draft("RGB", (READ_PX, READ_PX))
    cut = ImageOps.fit(image.convert("RGB"), (READ_PX, READ_PX), Image.Resampling.BICUBIC)
    return np.asarray(cut)


def raw_limit(folder: Path, case: Case, *, is_draft: bool = False) -> Iterator[int]:
    """Read and decode every sample, in the order of the tars; gives 1 a sample."""
    wanted = suffixes(case)
    while True:
        for path in sorted(folder.glob("*.tar")):
            with tarfile.open(path, "r:") as tar:
                for member in tar:
                    suffix = member.name.partition(".")[2]
                    if suffix in wanted:
                        decoded(suffix, tar.extractfile(member).read(), is_draft=is_draft)  # type: ignore[union-attr]
                    if suffix == "json":
                        yield 1


def stock_webdataset(folder: Path, case: Case, batch_size: int) -> Iterator[int]:
    """Webdataset's own pipeline: shuffle, decode, batch; gives the samples of a batch."""
    import webdataset as wds

    wanted = suffixes(case)

    def decode(sample: dict[str, Any]) -> list[Any]:
        values = [decoded(suffix, sample[suffix]) for suffix in wanted]
        return [torch.from_numpy(one.copy()) if isinstance(one, np.ndarray) else one for one in values]

    def stacked(rows: list[list[Any]]) -> list[Any]:
        columns = zip(*rows, strict=True)
        return [torch.stack(one) if isinstance(one[0], torch.Tensor) else one for one in columns]

    urls = [str(path) for path in sorted(folder.glob("*.tar"))]
    dataset = wds.WebDataset(urls, shardshuffle=100, resampled=False, empty_check=False).repeat()
    for batch in dataset.shuffle(64).map(decode).batched(batch_size, collation_fn=stacked):
        _as_floats(batch[:2])
        yield len(batch[0])


def _as_floats(images: list[torch.Tensor]) -> list[torch.Tensor]:
    """Images as a training needs them, -1 to 1."""
    return [image_BHWC.permute(0, 3, 1, 2).float() / 127.5 - 1 for image_BHWC in images]


def ours(folder: Path, case: Case, batch_size: int, *, is_draft: bool = False) -> Iterator[int]:
    """The loader of trainings; gives the samples of a batch."""
    arrays = dict.fromkeys(("source_latent", "target_latent"), LATENT) if case == "latents" else {}
    decoder = Decoder(
        size_px=READ_PX,
        required=("source_images", "target_image", "instruction"),
        optional=tuple(arrays),
        arrays=(ArraySpec(made_by=MADE_BY, shapes=arrays),),
        reduced_jpegs=is_draft,
    )
    settings = TrainSettings(data=str(folder), out=Path(), size_px=READ_PX, run_on=TrainRunOn(batch_size=batch_size))
    loader = Loader(Datasets((read_shards(folder),), (1,)), decoder, settings, rank=0, num_ranks=1)
    for batch in loader.batches():
        assert case == "images" or "source_latent" in batch
        yield len(batch)


def rate(side: Iterator[int], count: int) -> tuple[float, float]:
    """(samples a second of wall time, of CPU time) over at least `count` samples."""
    seen, began_s, began_cpu_s = 0, time.perf_counter(), time.process_time()
    while seen < count:
        seen += next(side)
    return seen / (time.perf_counter() - began_s), seen / (time.process_time() - began_cpu_s)


def measure(folder: Path, case: Case, given: argparse.Namespace) -> dict[str, Any]:
    """Medians of all sides in one case, and of the ratios to the raw limit round by round."""
    count = given.shards * given.samples
    sides: dict[str, Iterator[int]] = {
        LIMIT: raw_limit(folder, case),
        OURS: ours(folder, case, given.batch_size),
        "webdataset": stock_webdataset(folder, case, given.batch_size),
        LIMIT + REDUCED: raw_limit(folder, case, is_draft=True),
        OURS + REDUCED: ours(folder, case, given.batch_size, is_draft=True),
    }
    for side in sides.values():
        rate(side, count)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for _ in range(given.rounds):
        for name, side in sides.items():
            found[name].append(rate(side, given.round_samples))
    return {name: _medians(found[name], found[LIMIT + REDUCED if name.endswith(REDUCED) else LIMIT]) for name in found}


def _medians(rates: list[tuple[float, float]], limits: list[tuple[float, float]]) -> dict[str, float]:
    """Medians of the rounds, and of the ratios to the limit of the same round."""
    ratios = [(wall / limit, cpu / cpu_limit) for (wall, cpu), (limit, cpu_limit) in zip(rates, limits, strict=True)]
    return {
        "samples_per_s": statistics.median(wall for wall, _ in rates),
        "samples_per_cpu_s": statistics.median(cpu for _, cpu in rates),
        "of_limit": statistics.median(wall for wall, _ in ratios),
        "of_limit_cpu": statistics.median(cpu for _, cpu in ratios),
    }


def hashing_s(folder: Path) -> float:
    """Seconds that hashing all tars takes, once."""
    began = time.perf_counter()
    for path in folder.glob("*.tar"):
        hashlib.sha256(path.read_bytes()).hexdigest()
    return time.perf_counter() - began


def main() -> None:
    """Measure both cases and print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--samples", type=int, default=64, help="samples of a shard")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--round-samples", type=int, default=192)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "bench-loader")
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    data = given.folder / f"data-{given.shards}x{given.samples}"
    make_dataset(data, given.shards, given.samples)
    size = sum(path.stat().st_size for path in data.glob("*.tar"))
    count = given.shards * given.samples
    print(f"{count} samples of {size / count / 1000:.0f} KB, {STORED_PX} px read at {READ_PX} px; one thread")
    result: dict[str, Any] = {"samples": count, "bytes": size, "hashing_s": hashing_s(data), "bar": BAR}
    print(f"hashing all tars, once a process: {result['hashing_s']:.2f} s")
    print(f"{'case':8} {'side':34} {'samples/s':>10} {'of limit':>9} {'a CPU s':>9} {'of limit':>9}")
    for case in ("images", "latents"):
        result[case] = measure(data, case, given)
        for name, row in result[case].items():
            print(
                f"{case:8} {name:34} {row['samples_per_s']:10.1f} {row['of_limit']:9.2f} "
                f"{row['samples_per_cpu_s']:9.1f} {row['of_limit_cpu']:9.2f}"
            )
        print(f"{case:8} editloom has {result[case][OURS]['of_limit']:.2f} of the raw limit (bar: {BAR})")
    (given.folder / "result.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
