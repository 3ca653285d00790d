"""Options that `editloom edit` and `editloom evaluate` share, and how a command prints its result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from models.placement import AUTO, DTYPES, Placement

if TYPE_CHECKING:
    from evaluation.masks import Masks

SeedOption = Annotated[int, typer.Option("--seed", min=0, max=2**63 - 1, help="Decides the noise")]
MaskModelOption = Annotated[
    str | None,
    typer.Option("--mask-model", help="Segmenter that finds what may change, such as zoo:clipseg; or a region head"),
]
ThresholdOption = Annotated[
    float | None,
    typer.Option("--mask-threshold", min=0, max=1, help="Probability to be in the mask  [default: 0.4, or the head's]"),
]
BatchOption = Annotated[int, typer.Option("--batch-size", min=1, help="Images at once")]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1 …")]
DtypeOption = Annotated[str, typer.Option("--dtype", help=f"{AUTO}, {', '.join(DTYPES)}")]
JsonOption = Annotated[bool, typer.Option("--json", help="Machine-readable result on stdout")]


def masks_of(mask_model: str | None, threshold: float | None, *, is_given: bool) -> Masks:
    """The source of masks that the options name."""
    from evaluation.masks import PhraseMasks
    from evaluation.segmenting import own_threshold

    if mask_model:
        return PhraseMasks(mask_model, own_threshold(mask_model) if threshold is None else threshold)
    return "given" if is_given else "none"


def placement(batch_size: int, device: str, dtype: str) -> Placement:
    """Where the models of a command run."""
    try:
        return Placement(device=device, dtype=dtype, batch_size=batch_size)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def say(text: str) -> None:
    """Print the result of a command."""
    print(text)  # noqa: T201
