"""`editloom edit`: edit image files."""

from pathlib import Path
from typing import Annotated

import typer

from cli.options import (
    BatchOption,
    DeviceOption,
    DtypeOption,
    MaskModelOption,
    SeedOption,
    ThresholdOption,
    masks_of,
    placement,
    say,
)
from core.settings import parse_pairs
from evaluation.masks import THRESHOLD
from models.placement import AUTO


def edit_command(
    images: Annotated[list[Path], typer.Argument(help="Images to edit", show_default=False)],
    text: Annotated[
        str, typer.Argument(help="What to do or what the edited image shows, as the editor needs", show_default=False)
    ],
    model: Annotated[str, typer.Option("--model", help="Editor: a model id, such as path:FOLDER or hf:NAME@COMMIT")],
    out: Annotated[Path, typer.Option("--out", help="Folder, or file when there is one image")],
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="A setting of the editor, such as num_steps=25; repeatable")
    ] = None,
    source_caption: Annotated[
        str, typer.Option("--source-caption", help="What the images show now, for editors that take it")
    ] = "",
    seed: SeedOption = 0,
    mask: Annotated[
        Path | None, typer.Option("--mask", help="Image of the same size, white or transparent where it may change")
    ] = None,
    mask_model: MaskModelOption = None,
    phrase: Annotated[str, typer.Option("--phrase", help='What --mask-model looks for: "red car"')] = "",
    mask_threshold: ThresholdOption = THRESHOLD, batch_size: BatchOption = 16, device: DeviceOption = AUTO,
    dtype: DtypeOption = AUTO,
) -> None:  # fmt: skip
    """Edit images. TEXT is the instruction or the caption of the edited image, whichever the editor needs.

    With a mask, for editors that take one, the rest of the image is kept.
    """
    from evaluation.edit_files import FileEdit, edit_files
    from evaluation.editors import EditorChoice

    if mask is not None and mask_model is not None:
        raise typer.BadParameter("--mask and --mask-model both say where the image may change; give one of them")
    if bool(mask_model) != bool(phrase.strip()):
        raise typer.BadParameter("--mask-model looks for --phrase; give both or neither")
    masks = masks_of(mask_model, mask_threshold, is_given=mask is not None)
    where = placement(batch_size, device, dtype)
    choice = EditorChoice.of_model(model, parse_pairs(settings or []), seed=seed, masks=masks)
    edit = FileEdit(text=text, source_caption=source_caption, mask=mask, phrase=phrase)
    say("\n".join(map(str, edit_files(images, edit, out, choice, where))))
