"""`editloom evaluate`: score an editor, or ready outputs, on a benchmark."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.options import (
    BatchOption,
    DeviceOption,
    DtypeOption,
    JsonOption,
    MaskModelOption,
    SeedOption,
    ThresholdOption,
    masks_of,
    placement,
    say,
)
from core.errors import SettingError
from core.settings import checked, parse_pairs
from evaluation.benchmarks import BENCHMARKS, find_benchmark
from models.placement import AUTO

SECTION = "benchmark"
"""Settings below this name are the benchmark's, all others the editor's."""


def evaluate_command(
    benchmark: Annotated[str, typer.Argument(help=f"One of {', '.join(BENCHMARKS)}", show_default=False)],
    folder: Annotated[Path, typer.Argument(help="The benchmark's files", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="Folder for outputs and scores; a later call continues in it")],
    model: Annotated[str | None, typer.Option("--model", help="Editor: a model id, such as path:FOLDER")] = None,
    outputs: Annotated[Path | None, typer.Option("--outputs", help="Score these images instead of editing")] = None,
    system: Annotated[str, typer.Option("--system", help="Who made --outputs, for the result file")] = "",
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="A setting of the editor (num_steps=25) or the benchmark (benchmark.split=test); repeatable"
        ),
    ] = None,
    sweep: Annotated[
        str | None,
        typer.Option("--sweep", help="Measure a trade-off curve over a setting: image_guidance_scale=1.0,1.4,1.8"),
    ] = None,
    seed: SeedOption = 0,
    given_masks: Annotated[bool, typer.Option("--given-masks", help="Edit within the benchmark's masks")] = False,
    mask_model: MaskModelOption = None, mask_threshold: ThresholdOption = None,
    clip: Annotated[list[str] | None, typer.Option("--clip", help="Model id for CLIP measures; repeatable")] = None,
    dino: Annotated[list[str] | None, typer.Option("--dino", help="Model id for DINO; repeatable")] = None,
    fid: Annotated[list[str] | None, typer.Option("--fid", help="Model id for Fréchet distances; repeatable")] = None,
    only: Annotated[list[str] | None, typer.Option("--only", help="Only this section; repeatable")] = None,
    baselines: Annotated[
        bool, typer.Option("--baselines/--no-baselines", help="Score copies of the sources and the true results too")
    ] = True,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only so many cases or sessions")] = None,
    batch_size: BatchOption = 16, device: DeviceOption = AUTO, dtype: DtypeOption = AUTO, as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Edit the cases of a benchmark and score the results, or score images that another system made.

    Published tables are with CLIP open_clip:ViT-B-32/openai and DINO hf:facebook/dino-vits16@COMMIT.
    """
    from evaluation.curves.sweep import Sweep, run_sweep
    from evaluation.editors import EditorChoice
    from evaluation.judges import JudgeIds
    from evaluation.run import evaluate

    if (model is None) == (outputs is None):
        raise typer.BadParameter("expected one of --model, which edits, and --outputs, which are there")
    if given_masks and mask_model:
        raise typer.BadParameter("--given-masks and --mask-model both say where images may change; give one of them")
    if sweep is not None and model is None:
        raise typer.BadParameter("--sweep is over a setting of an editor, and --outputs has none; give --model")
    of_editor, of_benchmark = _sections(settings or [], has_editor=model is not None)
    reader = checked(find_benchmark(benchmark), of_benchmark, f"benchmark {benchmark}")
    masks = masks_of(mask_model, mask_threshold, is_given=given_masks)
    swept = choice = None
    if model is not None and sweep is not None:
        swept = Sweep.of_model(sweep, model, of_editor, seed=seed, masks=masks)
    elif model is not None:
        choice = EditorChoice.of_model(model, of_editor, seed=seed, masks=masks)
    read = reader.read(folder, limit)
    cases = read.only(only) if only else read
    judges = JudgeIds(clip=tuple(clip or ()), dino=tuple(dino or ()), fid=tuple(fid or ()))
    where, shown = placement(batch_size, device, dtype), _progress()
    result = (
        run_sweep(cases, out, swept, judges, placement=where, progress=shown, has_baselines=baselines)
        if swept is not None
        else evaluate(
            cases, out, editor=choice, outputs=outputs, system=system, judges=judges,
            placement=where, progress=shown, has_baselines=baselines,
        )
    )  # fmt: skip
    say(result.model_dump_json(indent=1) if as_json else result.as_text())


def _sections(pairs: list[str], *, has_editor: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """(settings of the editor, settings of the benchmark). Raises SettingError for settings of no editor."""
    of_editor = parse_pairs(pairs)
    of_benchmark = of_editor.pop(SECTION, {})
    if not isinstance(of_benchmark, dict):
        raise SettingError(f"--set {SECTION}={of_benchmark} is no setting; expected {SECTION}.key=value")
    if of_editor and not has_editor:
        raise SettingError(
            f"--set {next(iter(of_editor))} is a setting of an editor, and --outputs has none; leave it out"
        )
    return of_editor, of_benchmark


def _progress() -> Callable[[str, int, int], None] | None:
    """A line that rewrites itself, on a terminal only."""
    if not sys.stderr.isatty():
        return None

    def show(done: str, number: int, total: int) -> None:
        sys.stderr.write(f"\r{done} {number} of {total}" + ("\n" if number == total else ""))
        sys.stderr.flush()

    return show
