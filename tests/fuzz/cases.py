"""A case of the fuzz target: a folder with input and manifest, and its expected result.

Everything that a case needs to be run again is in its folder: `manifest.toml`, `in/`, `case.json`, and `answers.json`
for the web server of cases that download.
"""

import io
import json
import random
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path

from _inputs import encoded, make_image

CAPTION = "a red car parked beside a wooden house"
MANIFEST = """name = "fuzz"
license = "apache-2.0"
[[stage]]
{source}
[[stage]]
use = "normalise_image"
shorter_side_px = 64
min_side_px = 32
[[stage]]
use = "filter_caption"
[[stage]]
use = "dedup"
max_distance = 0
[[stage]]
use = "emit"
report_samples = 4
"""


@dataclass(kw_only=True)
class Case:
    """One input with what must come of it, whatever else happens."""

    kind: str
    seed: int
    number: int
    shards: str = "in"
    what: list[str] = field(default_factory=list)
    """The operations that made it, for the reader."""
    accounted: list[str] = field(default_factory=list)
    """Source keys that must be outputs or rejects."""
    kept: list[str] = field(default_factory=list)
    """Source keys that must be outputs."""
    num_rows: int | None = None
    """Rows that the source must account for when it reads the input at all; None where that is not certain."""
    may_refuse: bool = False
    """True where the input as a whole may be refused with exit 1 or 2."""
    port: int = 0
    """Of the case's web server; 0 without one."""
    damage: list[list] = field(default_factory=list)
    """Of a finished run folder: [which file from 0 to 1, operation, seed]."""
    commands: list[list[str]] = field(default_factory=list)
    """The commands that are run on the damaged folder, besides `build`."""

    @property
    def name(self):
        return f"{self.kind}-{self.seed}-{self.number}"

    def save(self, folder):
        (folder / "case.json").write_text(json.dumps(asdict(self), indent=1) + "\n")


def load(folder):
    return Case(**json.loads((Path(folder) / "case.json").read_text()))


def rng_of(case):
    return random.Random(case.name)


def write_manifest(folder, source):
    text = MANIFEST.format(source=source)
    (folder / "manifest.toml").write_text(text)


@cache
def jpeg_of(number):
    """A healthy JPEG file, another image for every number."""
    return encoded(make_image(number), "JPEG", quality=90)


def some(rng, choices, most):
    """Between one and `most` of the choices, small numbers more often."""
    return rng.sample(choices, k=min(len(choices), most, rng.choice((1, 1, 1, 2, 2, 3, 4))))


def flipped(rng, raw, most=8):
    """(the bytes with some of their bits flipped, offset of the first)."""
    out = bytearray(raw)
    at = sorted(rng.randrange(len(out)) for _ in range(rng.randint(1, most)))
    for i in at:
        out[i] ^= 1 << rng.randrange(8)
    return bytes(out), at[0]


def mutated(rng, raw):
    """(damaged bytes, what was done, offset of the first byte that may differ)."""
    how = rng.choice(("flip", "flip", "cut", "zeros", "ones", "drop", "insert", "repeat", "swap", "noise"))
    at, size = rng.randrange(len(raw)), min(len(raw), rng.choice((1, 4, 64, 512, 4096)))
    if how == "flip":
        out, at = flipped(rng, raw)
        return out, how, at
    tail = raw[at + size :]
    pieces = {
        "cut": b"", "zeros": bytes(size) + tail, "ones": b"\xff" * size + tail, "drop": tail,
        "insert": rng.randbytes(size) + raw[at:], "repeat": raw[at : at + size] * rng.randint(2, 40) + tail,
        "swap": raw[at : at + size][::-1] + tail, "noise": rng.randbytes(size) + tail,
    }  # fmt: skip
    return raw[:at] + pieces[how], f"{how} {size} at {at}", at


def text_of(rng, size):
    """Odd text of up to `size` characters."""
    parts = (
        "a",
        "é",
        "e\u0301",
        "\u202e",
        "\0",
        "\r\n",
        "\u2028",
        '"',
        "'",
        "<b>",
        "😀",
        "\ufeff",
        "\x1b[31m",
        "字",
        "\\",
        "{}",
    )
    return "".join(rng.choice(parts) for _ in range(rng.randint(0, size)))


def image_bytes(image, image_format, **options):
    out = io.BytesIO()
    image.save(out, image_format, **options)
    return out.getvalue()
