"""How true the data of the tiny InstructGIE build is, and a sheet of it.

`make bench-instructgie-data`. Builds manifests/tiny/instructgie.toml and reads its dataset: what is a pair worth, does
a group hold one request only, and is anything held out also trained on? `--image FILE` draws the first grids of some
groups, with the selective area over the edited image.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.ultraedit_data.readers import READERS  # noqa: E402  the repository is not a package
from benchmarks.ultraedit_data.truth import edit_fault, verdict  # noqa: E402
from zoo.dataset_shards import read_samples  # noqa: E402
from zoo.world import read_facts  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Sequence

    Sample = tuple[dict[str, Any], dict[str, bytes]]
    """Light columns, and members by suffix."""

OUT = ROOT / "runs" / "tiny-instructgie"
CELL_PX, GAP_PX, TEXT_PX, ROWS = 96, 6, 330, 6
TINT = (255, 90, 0)


def samples_of(dataset: Path) -> list[Sample]:
    """All samples of a dataset."""
    return [(json.loads(members["json"]), members) for _, members in read_samples(dataset)]


def image_of(content: bytes) -> Image.Image:
    """The image in RGB."""
    return Image.open(io.BytesIO(content)).convert("RGB")


def request_of(light: dict[str, Any]) -> tuple[Any, ...]:
    """The change that the captions of a pair have, whatever its wording: kind, and what came."""
    before, after = read_facts(light["source_caption"]), read_facts(light["target_caption"])
    named = light["source_phrase"].rpartition(" ")[2] if light["edit_type"] != "change_background" else ""
    come = Counter(after.things) - Counter(before.things)
    (colour, noun) = next(iter(come), ("", ""))
    value = {"change_colour": colour, "replace_noun": noun, "change_background": after.place}.get(light["edit_type"])
    return light["edit_type"], named, value


def figures_of(samples: Sequence[Sample]) -> dict[str, Any]:
    """All figures, by name."""
    groups: defaultdict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        groups[sample[0]["instruction_group"]].append(sample)
    light = [one for one, _ in samples]
    sources, targets = ([image_of(members[f"{side}.png"]) for _, members in samples] for side in ("source", "target"))
    figures: dict[str, Any] = {
        "pairs": len(samples),
        "instructions": len(groups),
        "pairs by split": dict(Counter(one["split"] for one in light)),
        "groups of one request": _share(len({request_of(one) for one, _ in found}) == 1 for found in groups.values()),
        "wordings merged": len({one["instruction"] for one in light})
        - len({one["unified_instruction"] for one in light}),
        "edits of captions true": _share(edit_fault(one) is None for one in light),
        "examples a pair": float(np.mean([len(one["example_ids"]) for one in light])),
        "selective area": float(np.mean([one["selective_frac"] for one in light])),
        "pairs with a selective area": _share(one["selective_frac"] > 0 for one in light),
    }
    for name, read in READERS.items():
        judged = [
            verdict(one["source_caption"], one["target_caption"], before, after)
            for one, before, after in zip(light, read(sources), read(targets), strict=True)
        ]
        figures[f"pairs that show their edit, by {name}"] = _share(one.shows for one in judged)
        figures[f"and keep all else, by {name}"] = _share(one.shows and one.keeps for one in judged)
    return figures | leaks_of(samples)


def leaks_of(samples: Sequence[Sample]) -> dict[str, int]:
    """Instructions and images that are held out and trained on."""
    texts: defaultdict[str, set[str]] = defaultdict(set)
    images: defaultdict[str, set[bytes]] = defaultdict(set)
    for light, members in samples:
        texts[light["split"]].add(light["unified_instruction"])
        images[light["split"]] |= {members["source.png"], members["target.png"]}
    held_out = images["in_domain"] | images["out_of_domain"]
    return {
        "held-out instructions trained on": len(texts["train"] & texts["out_of_domain"]),
        "held-out images trained on": len(images["train"] & held_out),
    }


def _share(values: Any) -> float:
    return round(float(np.mean([bool(one) for one in values])), 3)


def sheet_of(samples: Sequence[Sample]) -> Image.Image:
    """Grids of some pairs: the example, the query, the edited image with its selective area, and the texts."""
    width = 5 * (CELL_PX + GAP_PX) + GAP_PX + TEXT_PX
    sheet = Image.new("RGB", (width, 24 + len(samples) * (CELL_PX + GAP_PX) + GAP_PX), (255, 255, 255))
    draw = ImageDraw.Draw(sheet)
    for column, name in enumerate(("example, before", "example, after", "query", "edited", "selective area")):
        draw.text((_left(column), 5), name, (120, 120, 126), ImageFont.load_default(12))
    for row, (light, members) in enumerate(samples):
        top = 24 + row * (CELL_PX + GAP_PX)
        target = image_of(members["target.png"])
        tinted = Image.composite(
            Image.blend(target, Image.new("RGB", target.size, TINT), 0.6), target, _mask(members["selective_mask.png"])
        )
        shown = [image_of(members[f"{name}.png"]) for name in ("example_source", "example_target", "source", "target")]
        for column, image in enumerate([*shown, tinted]):
            sheet.paste(image.resize((CELL_PX, CELL_PX), Image.Resampling.NEAREST), (_left(column), top))
        lines = [light["instruction"], f"read as: {light['unified_instruction']}", light["split"].replace("_", "-")]
        draw.multiline_text((_left(5), top + 8), "\n".join(lines), (40, 40, 44), ImageFont.load_default(13), spacing=8)
    return sheet


def _mask(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content)).convert("L")


def _left(column: int) -> int:
    return GAP_PX + column * (CELL_PX + GAP_PX)


def chosen(samples: Sequence[Sample]) -> list[Sample]:
    """Pairs of different groups, one of each type of edit in turn, with one of each split that is held out."""
    by_turn: defaultdict[tuple[str, str], list[Sample]] = defaultdict(list)
    seen: set[str] = set()
    for sample in samples:
        if sample[0]["instruction_group"] not in seen:
            seen.add(sample[0]["instruction_group"])
            by_turn[sample[0]["split"], sample[0]["edit_type"]].append(sample)
    return [found[turn] for turn in range(ROWS) for _, found in sorted(by_turn.items()) if turn < len(found)][:ROWS]


def main(argv: Sequence[str] | None = None) -> int:
    """Print the figures, or draw the sheet. Return 0."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("--out", type=Path, default=OUT, help="run folder of the build (%(default)s)")
    parser.add_argument("--image", type=Path, help="draw a sheet into this file, and measure nothing")
    given = parser.parse_args(argv)
    samples = samples_of(given.out / "dataset")
    if given.image:
        sheet_of(chosen(samples)).save(given.image, optimize=True)
        print(given.image)
        return 0
    for name, value in figures_of(samples).items():
        print(f"| {name} | {value if not isinstance(value, float) else round(value, 3)} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
