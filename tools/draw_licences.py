# ruff: noqa: INP001  a script, in no package
"""Draw docs/images/licences.png: the licences of a small dataset and the verdict that follows from them.

The dataset is really built, with the miniature models, from one tar of `data/tiny` whose samples are given licences in
turn. Run it as `.venv/bin/python tools/draw_licences.py docs/images/licences.png`; it takes half a minute on two cores.
"""

from __future__ import annotations

import io
import json
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from core.licences.names import find  # noqa: E402
from core.licences.verdict import verdict_of  # noqa: E402
from pipeline.build.run import run_build  # noqa: E402
from pipeline.plan.manifest import load_manifest  # noqa: E402
from pipeline.plan.plan import make_plan  # noqa: E402
from pipeline.store.storage import Storage  # noqa: E402
from samples.licence_file import read_licences, shown_text  # noqa: E402

if TYPE_CHECKING:
    from core.licences.classes import LicenceClass
    from core.licences.uses import Use
    from samples.licence_file import DatasetLicences

GIVEN = ("CC BY 4.0", "https://creativecommons.org/licenses/by-sa/2.0/", "CC BY 4.0", None, "cc0-1.0")
"""Licences of the samples, in turn."""
MANIFEST = """
name = "example"
license = "cc-by-4.0"
[[stage]]
use = "read_webdataset"
[[stage]]
use = "normalise_image"
shorter_side_px = 64
min_side_px = 32
format = "png"
[[stage]]
use = "dedup"
max_distance = 0
[[stage]]
use = "caption"
model = "zoo:blip"
[[stage]]
use = "edit_caption_wordnet"
caption_column = "generated_caption"
[[stage]]
use = "embed"
model = "zoo:clip"
[[stage]]
use = "emit"
"""
COLOURS = {
    "public-domain": "#d9efd9", "permissive": "#d9efd9", "attribution": "#e3edcf", "share-alike": "#f5eac4",
    "use-restricted": "#f8ddbd", "non-commercial": "#f5cabb", "no-derivatives": "#f0b9b9", "unknown": "#d9d9d9",
}  # fmt: skip
WIDTH, BOX, LINE, PAD = 1240, 520, 24, 14
INK, QUIET, PAPER = "#202020", "#606060", "#ffffff"


def licensed(tar: Path, out: Path) -> None:
    """Copy a tar with a licence in the metadata of each sample."""
    number = 0
    with tarfile.open(tar) as given, tarfile.open(out, "w") as made:
        for member in given:
            content = given.extractfile(member).read()  # type: ignore[union-attr]  # the tar holds files only
            if member.name.endswith(".json"):
                licence = GIVEN[number % len(GIVEN)]
                content = json.dumps(json.loads(content) | ({"license": licence} if licence else {})).encode()
                number += 1
            member.size = len(content)
            made.addfile(member, io.BytesIO(content))


def built() -> DatasetLicences:
    """The licences of the example, built in a folder that is removed."""
    with tempfile.TemporaryDirectory() as folder:
        licensed(ROOT / "data/tiny/00000.tar", Path(folder) / "a.tar")
        manifest = Path(folder) / "example.toml"
        manifest.write_text(MANIFEST)
        plan = make_plan(load_manifest(manifest), f"{folder}/run", [f"{folder}/a.tar"])
        result = run_build(plan, Storage(plan.out), executor="inprocess", workers=None, address=None, quiet=True)
        assert result.ok, result
        return read_licences(f"{folder}/run/dataset")


def lines_of(use: Use) -> tuple[str, str, LicenceClass]:
    """(what, licence, class) of one box."""
    (licence,) = find(use.licence or "")
    return f"{use.role}: {use.what}", shown_text(use.licence), licence.licence_class


def draw(found: DatasetLicences) -> Image.Image:
    """The picture: every part in the colour of its class, arrows to the verdict from those that count."""
    verdict = verdict_of(found.uses)
    step = 2 * LINE + 2 * PAD + 12
    image = Image.new("RGB", (WIDTH, 2 * PAD + step * len(found.uses)), PAPER)
    pen = ImageDraw.Draw(image)
    font = ImageFont.load_default(17)
    facts = [f"verdict: {verdict.licence_class}", f"of what is known: {verdict.known_class}", "asked:"]
    facts += [*(f"  {ask}" for ask in verdict.asks), "unknown:", *(f"  {one}" for one in verdict.unknown)]
    height = LINE * len(facts) + 2 * PAD
    left, top = WIDTH - BOX - PAD, (image.height - height) // 2
    for number, use in enumerate(found.uses):
        y = PAD + step * number
        what, licence, licence_class = lines_of(use)
        pen.rounded_rectangle((PAD, y, PAD + BOX, y + step - 12), 8, fill=COLOURS[licence_class], outline=QUIET)
        pen.text((PAD + 12, y + PAD - 2), what, INK, font)
        pen.text((PAD + 12, y + PAD + LINE - 2), f"{licence}  ({licence_class})", QUIET, font)
        start, end = (PAD + BOX, y + (step - 12) // 2), (left, top + height // 2)
        if use.role.is_in_data:
            pen.line((start, end), QUIET, 2)
        else:
            pen.text((start[0] + 14, start[1] - 10), "only scores: not counted", QUIET, font)
    pen.rounded_rectangle((left, top, WIDTH - PAD, top + height), 8, COLOURS[verdict.licence_class], INK, 2)
    for number, fact in enumerate(facts):
        pen.text((left + 14, top + PAD + LINE * number), fact, INK, font)
    return image


if __name__ == "__main__":
    draw(built()).quantize(64).save(sys.argv[1], optimize=True)
