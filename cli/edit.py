"""`editloom edit`: edit image files."""

from pathlib import Path
from typing import Annotated

import typer

from cli.options import (
    BatchOption,
    DeviceOption,
    DtypeOption,
    GuidanceOption,
    MaskModelOption,
    RatioOption,
    SeedOption,
    SizeOption,
    StepsOption,
    ThresholdOption,
    placement,
    say,
)  # fmt: skip
from evaluation.masks import THRESHOLD, PhraseMasks
from models.placement import AUTO

ModelOption = Annotated[str, typer.Option("--model", help="Editor: a model id, such as path:FOLDER or hf:NAME@COMMIT")]


def edit_command(
    images: Annotated[list[Path], typer.Argument(help="Images to edit", show_default=False)],
    prompt: Annotated[str, typer.Argument(help="What the edited image shows", show_default=False)],
    model: ModelOption,
    out: Annotated[Path, typer.Option("--out", help="Folder, or file when there is one image")],
    ratio: RatioOption = 0.7, steps: StepsOption = 50, guidance: GuidanceOption = 7.5, seed: SeedOption = 0,
    mask: Annotated[
        Path | None, typer.Option("--mask", help="Image of the same size, white or transparent where it may change")
    ] = None,
    mask_model: MaskModelOption = None,
    phrase: Annotated[str, typer.Option("--phrase", help='What --mask-model looks for: "red car"')] = "",
    mask_threshold: ThresholdOption = THRESHOLD, size_px: SizeOption = None, batch_size: BatchOption = 16,
    device: DeviceOption = AUTO, dtype: DtypeOption = AUTO,
) -> None:  # fmt: skip
    """Edit images with a text-to-image model: noised part of the way and denoised to the prompt (SDEdit).

    With a mask the rest of the image is kept (iEdit-M).
    """
    from evaluation.edit_files import edit_files
    from evaluation.editors import EditorChoice

    if mask is not None and mask_model is not None:
        raise typer.BadParameter("--mask and --mask-model both say where the image may change; give one of them")
    if bool(mask_model) != bool(phrase.strip()):
        raise typer.BadParameter("--mask-model looks for --phrase; give both or neither")
    choice = EditorChoice(
        model=model, num_steps=steps, guidance_scale=guidance, sampling_ratio=ratio, seed=seed,
        masks=PhraseMasks(mask_model, mask_threshold) if mask_model else "none",
        model_settings={} if size_px is None else {"size_px": size_px},
    )  # fmt: skip
    where = placement(batch_size, device, dtype)
    written = edit_files(images, prompt, out, choice, mask=mask, phrase=phrase, placement=where)
    say("\n".join(map(str, written)))
