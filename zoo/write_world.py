"""`python -m zoo.write_world FOLDER --shards N --scenes-per-shard M --seed S`: the miniature world as input data.

Owns two layouts of the same scenes. `webdataset` is what img2dataset writes: tars of `<key>.png`, `.txt`, `.json`, the
JSON with `world_seed` and `world_index`, from which `scene_of` draws the scene again with its truth. `laion` is a table
of addresses and alt-text as LAION published them, and the images that the addresses lead to: after
`python -m http.server --directory FOLDER/images 8000` they can be downloaded. Same arguments, same bytes.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import sys
import tarfile
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from zoo.dataset_shards import add_member
from zoo.world import SIZE_PX, Scene, alt_text, caption, facts_of, read_facts, render, scene_of, varied_caption

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

BASE_URL = "http://127.0.0.1:8000"
MIN_SIZE_PX = 16
MAX_THINGS = 3
ROW_GROUPS = 4
"""Of each Parquet file in the laion layout, so that readers meet more than one."""

WORDINGS: dict[str, Callable[[Scene, random.Random], str]] = {
    "canonical": lambda scene, _rng: caption(scene),
    "varied": varied_caption,
    "alt": alt_text,
}
USUAL_WORDING = {"webdataset": "varied", "laion": "alt"}


@dataclass(frozen=True, slots=True)
class Order:
    """How much of which world to write, and how. Scenes with more than `max_things`, or in a style, can be left out."""

    seed: int
    num_shards: int
    scenes_per_shard: int
    size_px: int
    wording: str
    base_url: str = BASE_URL
    max_things: int = MAX_THINGS
    is_plain: bool = False

    def scenes(self, shard: int) -> Iterator[tuple[int, Scene, str]]:
        """(number in the world, scene, caption) of each scene of a shard."""
        first = shard * self.scenes_per_shard
        for index, scene in islice(self._chosen(), first, first + self.scenes_per_shard):
            yield index, scene, WORDINGS[self.wording](scene, random.Random(f"{self.seed}/{index}/caption"))

    def _chosen(self) -> Iterator[tuple[int, Scene]]:
        for index in count():
            scene = scene_of(self.seed, index)
            if len(scene.things) <= self.max_things and not (self.is_plain and scene.style):
                yield index, scene


def write_webdataset(folder: Path, order: Order) -> None:
    """Tars `00000.tar` … of PNG images, captions and metadata."""
    folder.mkdir(parents=True, exist_ok=True)
    for shard in range(order.num_shards):
        path = folder / f"{shard:05d}.tar"
        temporary = path.with_suffix(".tmp")
        with tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as tar:
            for number, (index, scene, text) in enumerate(order.scenes(shard)):
                key = f"{shard:05d}{number:04d}"
                metadata = {
                    "key": key, "caption": text, "url": None, "status": "success", "error_message": None,
                    "width": order.size_px, "height": order.size_px, "original_width": order.size_px,
                    "original_height": order.size_px, "world_seed": order.seed, "world_index": index,
                }  # fmt: skip
                add_member(tar, f"{key}.png", png_of(scene, order.size_px))
                add_member(tar, f"{key}.txt", text.encode())
                add_member(tar, f"{key}.json", json.dumps(metadata).encode())
        temporary.replace(path)


def write_laion(folder: Path, order: Order) -> None:
    """Write one table a shard, `metadata/part-00000.parquet` …, and one image a scene, `images/<seed>/<index>.png`.

    The index is the scene's number in the world of that seed, nine digits.
    """
    images = folder / "images" / str(order.seed)
    images.mkdir(parents=True, exist_ok=True)
    (folder / "metadata").mkdir(exist_ok=True)
    for shard in range(order.num_shards):
        rows = []
        for index, scene, text in order.scenes(shard):
            (images / f"{index:09d}.png").write_bytes(png_of(scene, order.size_px))
            rows.append(_laion_row(order, index, scene, text))
        _write_parquet(folder / "metadata" / f"part-{shard:05d}.parquet", rows)


def png_of(scene: Scene, size_px: int) -> bytes:
    """The scene as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(render(scene, size_px)).save(buffer, "PNG")
    return buffer.getvalue()


def _laion_row(order: Order, index: int, scene: Scene, text: str) -> dict[str, Any]:
    """A row as LAION has it. The three scores are drawn, and only similarity depends on the image."""
    rng = random.Random(f"{order.seed}/{index}/scores")
    claimed, true = set(read_facts(text).things), set(facts_of(scene).things)
    return {
        "URL": f"{order.base_url}/{order.seed}/{index:09d}.png",
        "TEXT": text,
        "WIDTH": order.size_px,
        "HEIGHT": order.size_px,
        "similarity": round(0.27 + 0.07 * len(claimed & true) / len(true) + rng.uniform(-0.03, 0.03), 6),
        "punsafe": round(_squared(rng.random(), times=3), 6),
        "pwatermark": round(_squared(rng.random(), times=2), 6),
    }


def _squared(value: float, *, times: int) -> float:
    """The value squared again and again, as the last bit of `pow` depends on the CPU."""
    for _ in range(times):
        value *= value
    return value


def _write_parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    temporary = path.with_suffix(".tmp")
    pq.write_table(pa.Table.from_pylist(rows), temporary, row_group_size=max(1, -(-len(rows) // ROW_GROUPS)))
    temporary.replace(path)


def main(argv: Sequence[str] | None = None) -> int:
    """Write what the command line orders. Return 0."""
    parser = argparse.ArgumentParser(prog="python -m zoo.write_world", description=str(__doc__).split(":", 1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shards", type=int, default=4, help="how many (%(default)s)")
    parser.add_argument("--scenes-per-shard", type=int, default=16, help="%(default)s")
    parser.add_argument("--seed", type=int, default=0, help="which world (%(default)s)")
    parser.add_argument("--size-px", type=int, default=SIZE_PX, help="side of the images (%(default)s)")
    parser.add_argument("--layout", choices=sorted(USUAL_WORDING), default="webdataset", help="%(default)s")
    parser.add_argument("--captions", choices=sorted(WORDINGS), help="default: varied, and alt for laion")
    parser.add_argument("--max-things", type=int, choices=range(1, MAX_THINGS + 1), default=MAX_THINGS,
                        help="leave out scenes with more things than this (%(default)s)")  # fmt: skip
    parser.add_argument("--plain", action="store_true", help="leave out scenes in a style")
    parser.add_argument("--base-url", default=BASE_URL, help="where FOLDER/images is served from (%(default)s)")
    given = parser.parse_args(argv)
    if min(given.shards, given.scenes_per_shard) < 1 or given.size_px < MIN_SIZE_PX:
        parser.error(f"needs at least one shard, one scene in each and {MIN_SIZE_PX} px")
    order = Order(
        seed=given.seed,
        num_shards=given.shards,
        scenes_per_shard=given.scenes_per_shard,
        size_px=given.size_px,
        wording=given.captions or USUAL_WORDING[given.layout],
        base_url=given.base_url.rstrip("/"),
        max_things=given.max_things,
        is_plain=given.plain,
    )
    (write_laion if given.layout == "laion" else write_webdataset)(given.folder, order)
    print(f"{order.num_shards * order.scenes_per_shard} scenes in {given.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
