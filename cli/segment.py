"""`editloom segment`: show where an instruction changes an image."""

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from cli.options import BatchOption, DeviceOption, DtypeOption, ThresholdOption, placement, say
from models.placement import AUTO


def segment_command(
    images: Annotated[list[Path], typer.Argument(help="Images", show_default=False)],
    text: Annotated[
        str, typer.Argument(help="An instruction, or for a phrase segmenter the phrase to find", show_default=False)
    ],
    model: Annotated[str, typer.Option("--model", help="A trained region head, or a phrase segmenter: a model id")],
    out: Annotated[Path, typer.Option("--out", help="Folder for three PNG files an image")],
    threshold: ThresholdOption = None,
    batch_size: BatchOption = 16, device: DeviceOption = AUTO, dtype: DtypeOption = AUTO,
) -> None:  # fmt: skip
    """Show where TEXT changes each image: a map of probabilities, an outline, and the mask.

    Writes NAME.heat.png, NAME.outline.png and NAME.mask.png (white inside), and prints the share of each image inside.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    from evaluation.segment_files import segment_files
    from evaluation.segmenting import own_threshold

    level = own_threshold(model) if threshold is None else threshold
    found = segment_files(images, text, model, out, threshold=level, placement=placement(batch_size, device, dtype))
    say("\n".join(f"{one.mask}: {one.inside_frac:.1%} inside" for one in found))
