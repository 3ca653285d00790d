"""The peer: vectors of the images of tars by a loop that one would write in an hour.

A DataLoader of torch with one reader process, which decodes and calls the checkpoint's processor; the forward pass in
the main process, on as many threads as torch takes, or on `--threads`. With `--normalised` the reader also makes what
`normalise_image` makes of an image of 512 px, its encoding and its difference hash, and the main process keeps them in
a tar a shard. No resume, no records, no rejects, no checks.
"""

from __future__ import annotations

import argparse
import io
import json
import tarfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, IterableDataset
from transformers import AutoModel, AutoProcessor

if TYPE_CHECKING:
    from collections.abc import Iterator

QUALITY = 95


class Images(IterableDataset[Any]):
    """(shard, key, pixels, normalised image or None, hash) of every image of the tars."""

    def __init__(self, shards: list[Path], checkpoint: str, *, normalised: bool) -> None:
        self._shards, self._normalised = shards, normalised
        self._processor = AutoProcessor.from_pretrained(checkpoint)

    def __iter__(self) -> Iterator[Any]:
        for shard in self._shards:
            with tarfile.open(shard) as tar:
                for member in tar:
                    key, _, suffix = member.name.partition(".")
                    if suffix != "jpg":
                        continue
                    image = Image.open(io.BytesIO(tar.extractfile(member).read())).convert("RGB")  # type: ignore[union-attr]
                    pixels = self._processor(images=image, return_tensors="pt")["pixel_values"][0]
                    yield shard.stem, key, pixels, *(normalised(image) if self._normalised else (None, ""))


def normalised(image: Image.Image) -> tuple[bytes, str]:
    """(the image encoded, its difference hash) as `normalise_image` makes them of one that has its size already."""
    import imagehash

    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue(), str(imagehash.dhash(image))


def collated(rows: list[Any]) -> tuple[Any, ...]:
    """Columns of rows, the pixels stacked."""
    shards, keys, pixels, encoded, hashes = zip(*rows, strict=True)
    return shards, keys, torch.stack(pixels), encoded, hashes


def main() -> None:
    """Embed all images, and print how many there were and the seconds without start and loading."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shards", type=Path)
    parser.add_argument("checkpoint")
    parser.add_argument("out", type=Path)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--normalised", action="store_true")
    parser.add_argument("--threads", type=int)
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    given.out.mkdir(parents=True)
    model = AutoModel.from_pretrained(given.checkpoint, dtype=torch.float32, use_safetensors=True).eval()
    images = Images(sorted(given.shards.glob("*.tar")), given.checkpoint, normalised=given.normalised)
    loader = DataLoader(images, batch_size=given.batch_size, num_workers=1, collate_fn=collated)
    found: list[Any] = []
    keys: list[tuple[str, str]] = []
    tars: dict[str, tarfile.TarFile] = {}
    began = time.perf_counter()
    for shards, names, pixels_BCHW, encoded, hashes in loader:
        with torch.inference_mode():
            emb_BD = model.get_image_features(pixel_values=pixels_BCHW).pooler_output
            emb_BD = emb_BD / emb_BD.norm(dim=-1, keepdim=True)
        found.append(emb_BD.numpy().astype(np.float16))
        keys += zip(names, hashes, strict=True)
        for shard, name, image in zip(shards, names, encoded, strict=True) if given.normalised else ():
            if shard not in tars:
                tars[shard] = tarfile.open(given.out / f"{shard}.tar", "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115
            info = tarfile.TarInfo(f"{name}.jpg")
            info.size = len(image)
            tars[shard].addfile(info, io.BytesIO(image))
    for tar in tars.values():
        tar.close()
    np.save(given.out / "vectors.npy", np.concatenate(found))
    (given.out / "keys.json").write_text(json.dumps(keys))
    print(json.dumps({"images": len(keys), "loop_s": time.perf_counter() - began}))


if __name__ == "__main__":
    main()
