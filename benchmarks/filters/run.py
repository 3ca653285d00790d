"""How often the scores of manifests/tiny/filters.toml are right about scenes of the miniature world.

`make bench-filters`. What each score looks for there is something that a scene can have, and the world knows whether
it has it. `--image FILE` draws the scenes that each score puts first and last.
"""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402  run from a checkout
import pyarrow as pa  # noqa: E402
from PIL import Image, ImageDraw, ImageFont  # noqa: E402

from models import registry  # noqa: E402
from pipeline.context import Context  # noqa: E402
from pipeline.plan.manifest import load_manifest  # noqa: E402
from pipeline.stage import MapStage  # noqa: E402
from zoo.world import render, scene_of  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from zoo.world import Scene

MANIFEST = ROOT / "manifests" / "tiny" / "filters.toml"
SEED = 1
"""Another world than that of the list and of the tests."""
SHOWN, CELL_PX, GAP_PX, HEAD_PX, LINE_PX, LABEL_PX = 4, 112, 6, 26, 18, 190
PAPER, INK, FAINT = (255, 255, 255), (40, 40, 44), (120, 120, 126)


class Sought(NamedTuple):
    """What a score looks for in the world, whether a scene has it, and from which value the score says so."""

    column: str
    what: str
    is_true: Callable[[Scene], bool]
    least: float


def has(noun: str) -> Callable[[Scene], bool]:
    """Whether a scene has a thing of this noun."""
    return lambda scene: any(thing.noun == noun for thing in scene.things)


SOUGHT = (
    Sought("source_nsfw_score", "the moon", lambda scene: scene.place == "moon", 0.5),
    Sought("source_watermark_score", "a kitchen", lambda scene: scene.place == "kitchen", 0.5),
    Sought("source_text_frac", "a house", has("house"), 0.01),
    Sought("source_num_faces", "a dog", has("dog"), 1),
    Sought("source_aesthetic_score", "a beach, no street", lambda scene: scene.place == "beach", 0.9),
)


def scored(scenes: list[Scene]) -> dict[str, NDArray[np.float64]]:
    """Column -> its value for each scene, by the manifest's stages."""
    raw = []
    for scene in scenes:
        buffer = io.BytesIO()
        Image.fromarray(render(scene, 256)).save(buffer, "PNG")
        raw.append(buffer.getvalue())
    table = pa.table({"source_raw": pa.array(raw, pa.binary())})
    for entry in load_manifest(MANIFEST).stages:
        if isinstance(entry.stage, MapStage) and entry.name != "check_leakage":
            table = entry.stage.open(Context(stage_name=entry.name, loader=registry.load))(table)
    return {one.column: table[one.column].to_numpy().astype(np.float64) for one in SOUGHT}


def sheet(scenes: list[Scene], scores: dict[str, NDArray[np.float64]]) -> Image.Image:
    """A row a score: the scenes that it puts first, then those that it puts last, each with its value."""
    width = LABEL_PX + 2 * SHOWN * (CELL_PX + GAP_PX) + 3 * GAP_PX
    made = Image.new("RGB", (width, HEAD_PX + len(SOUGHT) * (CELL_PX + LINE_PX + GAP_PX)), PAPER)
    draw, font = ImageDraw.Draw(made), ImageFont.load_default(12)
    for column, title in ((0, "highest"), (SHOWN, "lowest")):
        draw.text((_left(column), 6), title, FAINT, font)
    for row, one in enumerate(SOUGHT):
        top = HEAD_PX + row * (CELL_PX + LINE_PX + GAP_PX)
        label = f"{one.column.removeprefix('source_')}\nlooks for {one.what}"
        draw.multiline_text((GAP_PX, top + CELL_PX // 3), label, INK, font, spacing=4)
        order = np.argsort(-scores[one.column], kind="stable")
        for column, place in enumerate([*order[:SHOWN], *order[-SHOWN:]]):
            image = Image.fromarray(render(scenes[place], CELL_PX))
            made.paste(image, (_left(column), top))
            draw.text((_left(column), top + CELL_PX + 2), f"{scores[one.column][place]:.3g}", FAINT, font)
    return made


def _left(column: int) -> int:
    return LABEL_PX + column * (CELL_PX + GAP_PX) + (2 * GAP_PX if column >= SHOWN else 0)


def main() -> int:
    """Print a table, or draw the image."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("--scenes", type=int, default=200, help="%(default)s")
    parser.add_argument("--image", type=Path, help="draw this file")
    options = parser.parse_args()
    scenes = [scene_of(SEED, index) for index in range(options.scenes)]
    scores = scored(scenes)
    if options.image:
        sheet(scenes, scores).save(options.image, optimize=True)
        return 0
    print(
        "| score | looks for | from | scenes that have it | of these found | others found |\n|---|---|---|---|---|---|"
    )
    for one in SOUGHT:
        is_true = np.array([one.is_true(scene) for scene in scenes])
        found = scores[one.column] >= one.least
        shares = f"{found[is_true].mean():.0%} | {found[~is_true].mean():.0%}"
        print(f"| `{one.column}` | {one.what} | {one.least:g} | {is_true.sum()} of {len(scenes)} | {shares} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
