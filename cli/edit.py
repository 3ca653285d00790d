"""`editloom edit` and `editloom evaluate`. Exit codes: 0 done, 1 it could not be done, 2 wrong usage."""

import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from core.errors import EvaluationError, ModelError
from evaluation.edit_files import edit_files
from evaluation.editors import EditorChoice
from evaluation.masks import THRESHOLD, PhraseMasks
from models.placement import AUTO, DTYPES, Placement

ModelOption = Annotated[str, typer.Option("--model", help="Editor: a model id, such as path:FOLDER or hf:NAME@COMMIT")]


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

_edit = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
_evaluate = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def edit_main(argv: Sequence[str] | None = None) -> int:
    """Run `editloom edit` with the arguments after that name; the exit code."""
    return _run(_edit, "editloom edit", argv)


def evaluate_main(argv: Sequence[str] | None = None) -> int:
    """Run `editloom evaluate` with the arguments after that name; the exit code."""
    return _run(_evaluate, "editloom evaluate", argv)


@_edit.command(name="edit")
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
    if mask is not None and mask_model is not None:
        raise typer.BadParameter("--mask and --mask-model both say where the image may change; give one of them")
    if bool(mask_model) != bool(phrase.strip()):
        raise typer.BadParameter("--mask-model looks for --phrase; give both or neither")
    choice = EditorChoice(
        model=model, num_steps=steps, guidance_scale=guidance, sampling_ratio=ratio, seed=seed,
        masks=PhraseMasks(mask_model, mask_threshold) if mask_model else "none",
        model_settings={} if size_px is None else {"size_px": size_px},
    )  # fmt: skip
    placement = _placement(batch_size, device, dtype)
    written = edit_files(images, prompt, out, choice, mask=mask, phrase=phrase, placement=placement)
    _say("\n".join(map(str, written)))


@_evaluate.command(name="evaluate")
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
        placement=_placement(batch_size, device, dtype), progress=_progress(),
    )  # fmt: skip
    _say(scores.model_dump_json(indent=1) if as_json else scores.as_text())


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


def _placement(batch_size: int, device: str, dtype: str) -> Placement:
    try:
        return Placement(device=device, dtype=dtype, batch_size=batch_size)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _run(app: typer.Typer, name: str, argv: Sequence[str] | None) -> int:
    try:
        app(list(sys.argv[1:] if argv is None else argv), prog_name=name, standalone_mode=False)
    except (EvaluationError, OSError) as error:
        return _failed(name, str(error), 1)
    except KeyboardInterrupt:
        return _failed(name, "interrupted", 1)
    except ModelError as error:
        return _failed(name, str(error), 1)
    except Exception as error:
        if type(error).__name__ == "OutOfMemoryError":  # torch's, which is imported late
            return _failed(name, f"{str(error)[:200]}; lower --batch-size or --size-px", 1)
        if hasattr(error, "exit_code") and hasattr(error, "format_message"):  # a usage error
            return _failed(name, error.format_message() or f"see {name} --help", error.exit_code)
        raise
    return 0


def _failed(name: str, message: str, code: int) -> int:
    sys.stderr.write(f"{name}: {' '.join(message.split())}\n")
    return code


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _progress() -> Callable[[str, int, int], None] | None:
    """A line that rewrites itself, where a person looks on."""
    if not sys.stderr.isatty():
        return None

    def show(done: str, number: int, total: int) -> None:
        sys.stderr.write(f"\r{done} {number} of {total}" + ("\n" if number == total else ""))
        sys.stderr.flush()

    return show
