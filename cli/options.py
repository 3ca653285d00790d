"""Options that `editloom edit` and `editloom evaluate` share, and how a command prints its result."""

import math
import sys
from typing import Annotated

import typer

from models.placement import AUTO, DTYPES, Placement


def _finite(value: float) -> float:
    """Refuse infinity, which a least value lets pass."""
    if not math.isfinite(value):
        raise typer.BadParameter(f"{value} is no finite number")
    return value


RatioOption = Annotated[
    float, typer.Option("--ratio", min=0, max=1, help="How far the image is noised: 0 not at all, 1 wholly")
]
StepsOption = Annotated[
    int, typer.Option("--steps", min=1, help="Steps from pure noise; the ratio runs a part of them")
]
GuidanceOption = Annotated[
    float, typer.Option("--guidance", min=0, callback=_finite, help="Guidance scale of the text; 1 is none")
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Decides the noise")]
SizeOption = Annotated[
    int | None,
    typer.Option("--size-px", min=1, help="Longer side at which images are edited; default: the model's own"),
]
MaskModelOption = Annotated[
    str | None,
    typer.Option("--mask-model", help="Segmenter that finds what may change: a model id, such as zoo:clipseg"),
]
ThresholdOption = Annotated[float, typer.Option("--mask-threshold", min=0, max=1, help="Probability to be in the mask")]
BatchOption = Annotated[int, typer.Option("--batch-size", min=1, help="Images at once")]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1 …")]
DtypeOption = Annotated[str, typer.Option("--dtype", help=f"{AUTO}, {', '.join(DTYPES)}")]
JsonOption = Annotated[bool, typer.Option("--json", help="Machine-readable result on stdout")]


def placement(batch_size: int, device: str, dtype: str) -> Placement:
    """Where the models of a command run."""
    try:
        return Placement(device=device, dtype=dtype, batch_size=batch_size)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def say(text: str) -> None:
    """Print the result of a command."""
    sys.stdout.write(f"{text}\n")
