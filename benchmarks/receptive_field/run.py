"""Effective receptive fields of the three hint encoders, at random initialisation, side by side.

`make bench-receptive-field`, on a CPU. For each encoder, at the widths of Stable Diffusion 1.5: the gradient of the
centre cell of the output to the input image, its absolute value summed over the image's channels, and the mean over
random images and random weights. The last layer, which is zero before a training, gets random weights too.

Draws an image, brighter where the gradient is larger (log scale over six decades below each encoder's own maximum), and
prints for each encoder which share of the image's area has any gradient, and which share holds 50 %, 90 % and 99 % of
all gradient, brightest pixels first.

Source  Luo et al. 2016, Understanding the Effective Receptive Field, section 3; Meng et al. 2024, InstructGIE,
figure 3.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402  run from a checkout
from PIL import Image, ImageDraw, ImageFont  # noqa: E402

from models.diffusion.visual_prompt.hint_encoders import make_hint_encoder  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from models.diffusion.visual_prompt.kinds import HintEncoderKind

TITLES: dict[HintEncoderKind, str] = {"conv": "convolutions", "vit": "ViT", "vmamba": "VMamba"}
OUT_CHANNELS, FACTOR = 320, 8
MASSES = (0.5, 0.9, 0.99)
DECADES = 6
PANEL_PX, GAP_PX, TITLE_PX = 256, 16, 28
PAPER, INK = (255, 255, 255), (30, 30, 30)


def main() -> None:
    """Measure, print, draw."""
    given = _arguments()
    given.out.mkdir(parents=True, exist_ok=True)
    fields = {kind: field(kind, given.size_px, given.inits, given.images) for kind in TITLES}
    text = "\n\n".join((_head(given), table(fields)))
    shares = {kind: {str(mass): area(one, mass) for mass in MASSES} for kind, one in fields.items()}
    (given.out / "fields.json").write_text(json.dumps(shares, indent=1) + "\n", encoding="utf-8")
    (given.out / "table.md").write_text(text + "\n", encoding="utf-8")
    draw(fields).save(given.image, optimize=True)
    print(text)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("--size-px", type=int, default=512, help="sides of the input image (%(default)s)")
    parser.add_argument("--inits", type=int, default=4, help="random initialisations (%(default)s)")
    parser.add_argument("--images", type=int, default=4, help="random images for each (%(default)s)")
    default = os.environ.get("OUT", str(ROOT / "runs" / "bench-receptive-field"))
    parser.add_argument("--out", type=Path, default=Path(default), help="folder of fields.json and table.md")
    image = ROOT / "docs" / "images" / "receptive-field.png"
    parser.add_argument("--image", type=Path, default=image, help="the image to draw (%(default)s)")
    return parser.parse_args()


def field(kind: HintEncoderKind, size_px: int, inits: int, images: int) -> Tensor:
    """The effective receptive field (H, W) of an encoder: the mean of |gradient|, with a sum of 1."""
    total_HW = torch.zeros(size_px, size_px, dtype=torch.float64)
    for seed in range(inits):
        print(f"{TITLES[kind]}, weights {seed + 1} of {inits} …", file=sys.stderr, flush=True)
        torch.manual_seed(seed)
        encoder = make_hint_encoder(kind, out_channels=OUT_CHANNELS, factor=FACTOR).requires_grad_(requires_grad=False)
        last: torch.nn.Conv2d = encoder.get_submodule("conv_out")  # type: ignore[assignment]
        last.reset_parameters()
        for _ in range(images):
            image_BCHW = torch.rand(1, 3, size_px, size_px, requires_grad=True)
            centre = size_px // FACTOR // 2
            (grad_BCHW,) = torch.autograd.grad(encoder(image_BCHW)[..., centre, centre].sum(), image_BCHW)
            total_HW += grad_BCHW[0].abs().sum(0)
    return total_HW / total_HW.sum()


def area(field_HW: Tensor, mass: float) -> float:
    """The smallest share of the pixels that holds this share of the field, 0 to 1."""
    held = field_HW.flatten().sort(descending=True).values.cumsum(0)
    return min(1.0, (int((held < mass * held[-1]).sum()) + 1) / len(held))


def reach(field_HW: Tensor) -> float:
    """The share of pixels with any gradient, 0 to 1."""
    return float((field_HW > 0).double().mean())


def table(fields: Mapping[HintEncoderKind, Tensor]) -> str:
    """A line for each encoder."""
    head = ["encoder", "area with any gradient", *(f"area of {100 * mass:g} % of it" for mass in MASSES)]
    lines = [
        [TITLES[kind], *map(_percent, (reach(one), *(area(one, mass) for mass in MASSES)))]
        for kind, one in fields.items()
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *lines))


def draw(fields: Mapping[HintEncoderKind, Tensor]) -> Image.Image:
    """A panel for each encoder with its name above."""
    width = GAP_PX + len(fields) * (PANEL_PX + GAP_PX)
    sheet = Image.new("RGB", (width, TITLE_PX + PANEL_PX + GAP_PX), PAPER)
    pen = ImageDraw.Draw(sheet)
    for place, (kind, field_HW) in enumerate(fields.items()):
        left = GAP_PX + place * (PANEL_PX + GAP_PX)
        text = f"{TITLES[kind]}: 99 % in {_percent(area(field_HW, MASSES[-1]))} of the area"
        pen.text((left, 6), text, INK, ImageFont.load_default(12))
        sheet.paste(panel(field_HW), (left, TITLE_PX))
    return sheet


def panel(field_HW: Tensor) -> Image.Image:
    """The field as a picture, black where there is no gradient."""
    side = min(PANEL_PX, len(field_HW))
    cells_HW = torch.nn.functional.adaptive_avg_pool2d(field_HW[None, None], side)[0, 0]
    shade_HW = (1 + (cells_HW / cells_HW.max()).log10() / DECADES).clamp(min=0)
    ramps = ((2, 0), (2, 0.6), (2.5, 1.5))  # slope and start of red, green and blue: black, red, yellow, white
    channels = [(shade_HW * slope - start).clamp(0, 1) for slope, start in ramps]
    pixels = (torch.stack(channels, -1) * 255).round().to(torch.uint8).numpy()
    return Image.fromarray(pixels).resize((PANEL_PX, PANEL_PX), Image.Resampling.NEAREST)


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _head(given: argparse.Namespace) -> str:
    date = dt.datetime.now(dt.UTC).date().isoformat()
    averaged = f"mean over {given.inits} initialisations with {given.images} images each"
    return f"{date}, torch {torch.__version__}: images of {given.size_px} px, a cell for {FACTOR} px, {averaged}"


if __name__ == "__main__":
    main()
