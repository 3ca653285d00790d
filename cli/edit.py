"""`editloom edit`: edit image files."""

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from cli.options import (
    BatchOption,
    DeviceOption,
    DtypeOption,
    MaskModelOption,
    ThresholdOption,
    masks_of,
    placement,
    say,
)
from cli.pairs_of_files import pairs_of
from core.settings import parse_pairs
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
    generator: Annotated[
        str | None, typer.Option("--generator", help="Who repaints, for editors that lead a generator: a model id")
    ] = None,
    source_caption: Annotated[
        str, typer.Option("--source-caption", help="What the images show now, for editors that take it")
    ] = "",
    target_caption: Annotated[
        str, typer.Option("--target-caption", help="What the edited images show, for editors that take it besides TEXT")
    ] = "",
    seed: Annotated[
        list[int] | None,
        typer.Option("--seed", min=0, max=2**63 - 1, help="Decides the noise; given once, or once an image"),
    ] = None,
    mask: Annotated[
        Path | None, typer.Option("--mask", help="Image of the same size, white or transparent where it may change")
    ] = None,
    mask_model: MaskModelOption = None,
    example: Annotated[
        list[Path] | None,
        typer.Option("--example", metavar="BEFORE AFTER", help="Images before and after such an edit; repeatable"),
    ] = None,
    phrase: Annotated[
        str, typer.Option("--phrase", help='What --mask-model looks for: "red car"; a region head takes TEXT')
    ] = "",
    mask_threshold: ThresholdOption = None, batch_size: BatchOption = 16, device: DeviceOption = AUTO,
    dtype: DtypeOption = AUTO,
) -> None:  # fmt: skip
    """Edit images. TEXT is the instruction or the caption of the edited image, whichever the editor needs.

    With --target-caption TEXT is the instruction. A mask says where an image may change, for editors that take one;
    examples show what TEXT means, for editors that take them.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    from evaluation.edit_files import FileEdit, edit_files
    from evaluation.editors import EditorChoice
    from evaluation.segmenting import reads_instructions

    if mask is not None and mask_model is not None:
        raise typer.BadParameter("--mask and --mask-model both say where the image may change; give one of them")
    reads_text = mask_model is not None and reads_instructions(mask_model)
    if bool(mask_model) != bool(phrase.strip()) and not reads_text:
        raise typer.BadParameter("--mask-model looks for --phrase; give both or neither")
    masks = masks_of(mask_model, mask_threshold, is_given=mask is not None)
    where = placement(batch_size, device, dtype)
    named = {} if generator is None else {"generator": generator}
    choice = EditorChoice.of_model(model, {**parse_pairs(settings or []), **named}, masks=masks)
    edit = FileEdit(
        text=text, source_caption=source_caption, target_caption=target_caption, mask=mask, phrase=phrase,
        seeds=tuple(seed or (0,)), examples=pairs_of(example or ()),
    )  # fmt: skip
    say("\n".join(map(str, edit_files(images, edit, out, choice, where))))
