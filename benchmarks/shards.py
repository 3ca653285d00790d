"""Makes WebDataset shards of JPEG photographs' size and statistics, by code, for the benchmarks."""

from __future__ import annotations

import io
import multiprocessing
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

SIZE_PX = (384, 288)
COARSE_PX = (32, 24)
QUALITY = 77
"""Gives about 20 KB an image with the noise below."""

COLOURS = ("red", "blue", "green", "yellow", "black", "white", "brown", "orange")
NOUNS = ("car", "bus", "dog", "cat", "horse", "boat", "chair", "bench", "apple", "house", "bicycle", "truck")
PLACES = ("on a beach", "in a park", "beside a river", "in front of a wall", "on a street", "near a lake")


def make_image(rng: np.random.Generator, size_px: tuple[int, int] = SIZE_PX) -> bytes:
    """A JPEG of smooth colour fields with fine noise: compresses like a photograph."""
    coarse = rng.integers(0, 256, (COARSE_PX[1], COARSE_PX[0], 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize(size_px, Image.Resampling.BICUBIC)
    noise = rng.integers(-4, 5, (size_px[1], size_px[0], 1), dtype=np.int16)
    pixels = np.clip(np.asarray(image, dtype=np.int16) + noise, 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def make_caption(rng: np.random.Generator) -> str:
    """A caption that WordNet can edit."""
    return f"a {rng.choice(COLOURS)} {rng.choice(NOUNS)} {rng.choice(PLACES)}"


def _write_shard(job: tuple[str, int, int, tuple[int, int]]) -> None:
    folder, shard, num_samples, size_px = job
    rng = np.random.default_rng(shard)
    path = Path(folder) / f"{shard:05d}.tar"
    temporary = path.with_suffix(".tmp")
    with tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as tar:
        for number in range(num_samples):
            key = f"{shard:05d}{number:04d}"
            for suffix, content in (("jpg", make_image(rng, size_px)), ("txt", make_caption(rng).encode())):
                info = tarfile.TarInfo(f"{key}.{suffix}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    temporary.replace(path)


def make_shards(
    folder: Path, num_shards: int, num_samples: int, *, processes: int = 2, size_px: tuple[int, int] = SIZE_PX
) -> list[Path]:
    """Shards `00000.tar` … in `folder`. Shards that exist are kept. The bytes are the same at every run."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{shard:05d}.tar" for shard in range(num_shards)]
    jobs = [(str(folder), i, num_samples, size_px) for i, path in enumerate(paths) if not path.exists()]
    if jobs:
        with multiprocessing.Pool(processes) as pool:
            pool.map(_write_shard, jobs, chunksize=1)
    return paths
