"""`editloom evaluate`: score an editor, or ready outputs, on a benchmark."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from cli.options import (
    BatchOption,
    DeviceOption,
    DtypeOption,
    GuidanceOption,
    JsonOption,
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


def evaluate_command(
    protocol: Annotated[Literal["pairs", "magicbrush", "emu_edit"], typer.Argument(show_default=False)],
    folder: Annotated[Path, typer.Argument(help="The benchmark's files", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="Folder for outputs and scores; a later call goes on in it")],
    model: Annotated[str | None, typer.Option("--model", help="Editor: a model id, such as path:FOLDER")] = None,
    outputs: Annotated[Path | None, typer.Option("--outputs", help="Score these images instead of editing")] = None,
    system: Annotated[str, typer.Option("--system", help="Who made --outputs, for the result file")] = "",
    text: Annotated[
        Literal["instruction", "target_caption"] | None,
        typer.Option("--text", help="What the editor is given; default: target_caption for pairs, else instruction"),
    ] = None,
    ratio: RatioOption = 0.7, steps: StepsOption = 50, guidance: GuidanceOption = 7.5, seed: SeedOption = 0,
    given_masks: Annotated[bool, typer.Option("--given-masks", help="Edit within the benchmark's masks")] = False,
    mask_model: MaskModelOption = None, mask_threshold: ThresholdOption = THRESHOLD, size_px: SizeOption = None,
    clip: Annotated[list[str] | None, typer.Option("--clip", help="Model id for CLIP measures; repeatable")] = None,
    dino: Annotated[list[str] | None, typer.Option("--dino", help="Model id for DINO; repeatable")] = None,
    fid: Annotated[list[str] | None, typer.Option("--fid", help="Model id for Fréchet distances; repeatable")] = None,
    only: Annotated[list[str] | None, typer.Option("--only", help="Only this section; repeatable")] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only so many cases or sessions")] = None,
    split: Annotated[str | None, typer.Option("--split", help="Of emu_edit: test or validation")] = None,
    batch_size: BatchOption = 16, device: DeviceOption = AUTO, dtype: DtypeOption = AUTO, as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Edit the cases of a benchmark and score the results, or score images that another system made.

    Published tables are with CLIP open_clip:ViT-B-32/openai and DINO hf:facebook/dino-vits16@COMMIT.
    """
    from evaluation.editors import EditorChoice
    from evaluation.judges import JudgeIds
    from evaluation.run import evaluate

    if (model is None) == (outputs is None):
        raise typer.BadParameter("expected one of --model, which edits, and --outputs, which are there")
    if given_masks and mask_model:
        raise typer.BadParameter("--given-masks and --mask-model both say where images may change; give one of them")
    if split and protocol != "emu_edit":
        raise typer.BadParameter(f"--split belongs to emu_edit; {protocol} has no splits")
    benchmark = _read(protocol, folder, text, limit, split)
    masks: Any = PhraseMasks(mask_model, mask_threshold) if mask_model else "given" if given_masks else "none"
    choice = None if model is None else EditorChoice(
        model=model, num_steps=steps, guidance_scale=guidance, sampling_ratio=ratio, seed=seed, masks=masks,
        model_settings={} if size_px is None else {"size_px": size_px},
    )  # fmt: skip
    scores = evaluate(
        benchmark.only(only) if only else benchmark, out, editor=choice, outputs=outputs, system=system,
        judges=JudgeIds(clip=tuple(clip or ()), dino=tuple(dino or ()), fid=tuple(fid or ())),
        placement=placement(batch_size, device, dtype), progress=_progress(),
    )  # fmt: skip
    say(scores.model_dump_json(indent=1) if as_json else scores.as_text())


def _read(protocol: str, folder: Path, text: Any, limit: int | None, split: str | None) -> Any:
    given: dict[str, Any] = {"limit": limit, **({"text": text} if text else {})}
    if protocol == "pairs":
        from evaluation.benchmarks.pairs import read_pairs

        return read_pairs(folder, **given)
    if protocol == "magicbrush":
        from evaluation.benchmarks.magicbrush import read_magicbrush

        return read_magicbrush(folder, **given)
    from evaluation.benchmarks.emu_edit import read_emu_edit

    return read_emu_edit(folder, **given | ({"split": split} if split else {}))


def _progress() -> Callable[[str, int, int], None] | None:
    """A line that rewrites itself, where a person looks on."""
    if not sys.stderr.isatty():
        return None

    def show(done: str, number: int, total: int) -> None:
        sys.stderr.write(f"\r{done} {number} of {total}" + ("\n" if number == total else ""))
        sys.stderr.flush()

    return show
