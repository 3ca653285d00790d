"""Sweeps one setting of an editor over a benchmark: outputs and scores of each value in a folder of its own.

InstructPix2Pix's trade-off curve sweeps its image guidance from 1.0 to 2.2 with 5,000 held-out edits, text guidance
7.5, 100 steps at 512 px, and CLIP ViT-L/14. Its CLIP sees each image stretched to 224 px; embeddings are made of length
1 and then subtracted. The published script hands its CLIP values from -1 to 1 where 0 to 1 are expected: here they are
as expected, so published curves are not exactly comparable.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from core.errors import SettingError, UsageError
from core.settings import parse_pairs
from evaluation.baselines import GROUND_TRUTH
from evaluation.curves.curve import PLOT_FILE, Curve, Place, Point
from evaluation.curves.drawing import draw_curves
from evaluation.editors import EditorChoice
from evaluation.images import inside
from evaluation.judges import short_name
from evaluation.run import evaluate
from evaluation.scores import now, versions
from evaluation.views import squared_224
from models import registry

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from evaluation.benchmark import Benchmark
    from evaluation.edit_cases import Progress
    from evaluation.judges import JudgeIds
    from evaluation.masks import Masks
    from evaluation.scores import Section
    from models.placement import Placement

MIN_VALUES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """The editors of a sweep, by value of the swept setting. Made by `of_model`."""

    setting: str
    choices: Mapping[Any, EditorChoice]

    @classmethod
    def of_model(
        cls, text: str, model_id: str, settings: Mapping[str, Any], *, seed: int = 0, masks: Masks = "none"
    ) -> Sweep:
        """The sweep that `text` asks for, as in `image_guidance_scale=1.0,1.5,2.0`; all other settings are fixed.

        Raises UsageError for a text that is no sweep, SettingError for values that the editor refuses.
        """
        name, values = _parsed(text)
        if name in settings:
            raise SettingError(f"--set {name} and --sweep {name} both decide one setting; leave one of them out")
        choices: dict[Any, EditorChoice] = {}
        for value in values:
            choice = EditorChoice.of_model(model_id, {**settings, name: value}, seed=seed, masks=masks)
            taken = choice.described()["settings"][name]
            if taken in choices:
                raise UsageError(f"--sweep {text!r} has the value {taken} twice; name each value once")
            choices[taken] = choice
        return cls(setting=name, choices=choices)


def run_sweep(
    benchmark: Benchmark,
    out: Path,
    sweep: Sweep,
    judges: JudgeIds,
    *,
    placement: Placement | None = None,
    progress: Progress | None = None,
    has_baselines: bool = True,
) -> Curve:
    """Edit and score the benchmark with each value. Write the curve of its first section to `out`, and its plot.

    A second call keeps the outputs that are there. Raises UsageError for judges or a benchmark that give no curve,
    EvaluationError and ModelError as `evaluate` does.
    """
    _check(benchmark, judges)
    (judge,) = judges.clip
    seen = replace(benchmark, views={**benchmark.views, "clip": squared_224})
    folders = {value: f"{sweep.setting}={value}" for value in sweep.choices}
    paths = {value: inside(out, name, "--sweep") for value, name in folders.items()}
    scores = {
        value: evaluate(
            seen, paths[value], editor=choice, judges=judges, placement=placement, progress=progress,
            has_baselines=has_baselines,
        )
        for value, choice in sweep.choices.items()
    }  # fmt: skip
    first = next(iter(scores.values()))
    section = next(iter(first.sections))
    editor = dict(first.editor or {})
    editor["settings"] = {name: value for name, value in editor["settings"].items() if name != sweep.setting}
    truth = first.baselines.get(GROUND_TRUTH, {}).get(section)
    curve = Curve(
        benchmark=first.benchmark, dataset=first.dataset, section=section, system=first.system, setting=sweep.setting,
        editor=editor, judge=judge, revision=registry.revision(judge), view=first.views["clip"],
        points=[
            Point(value=value, folder=folders[value], **_place(one.sections[section], judge).model_dump())
            for value, one in scores.items()
        ],
        truth=None if truth is None else _place(truth, judge), made_at=now(), versions=versions(),
    )  # fmt: skip
    curve.write(out)
    draw_curves([curve], out / PLOT_FILE)
    return curve


def _parsed(text: str) -> tuple[str, list[Any]]:
    """(setting, values) of `name=value,value`, each value in TOML's notation."""
    name, equals, values = text.partition("=")
    name, parts = name.strip(), [part.strip() for part in values.split(",") if part.strip()]
    if not equals or not name or "." in name or len(parts) < MIN_VALUES:
        raise UsageError(f"--sweep {text!r} is no sweep; expected a setting of the editor and values: name=1.0,1.5,2.0")
    return name, [parse_pairs([f"value={part}"])["value"] for part in parts]


def _check(benchmark: Benchmark, judges: JudgeIds) -> None:
    if len(judges.clip) != 1:
        raise UsageError(f"a curve is measured by one CLIP network, got {len(judges.clip)}; give --clip once")
    lacking = [one.key for one in benchmark.samples if one.source is None or not one.source_text or not one.target_text]
    if lacking:
        raise UsageError(
            f"a curve needs source image, source caption and target caption, which {len(lacking)} of "
            f"{len(benchmark.samples)} samples of {benchmark.name} lack, the first of them {lacking[0]}; "
            "take another benchmark, or --only a section that has them"
        )


def _place(section: Section, judge: str) -> Place:
    """The place of a section's means. The similarity to the source is `clip_i` where the source is the reference."""
    name = short_name(judge)
    similarity = f"clip_i_source@{name}"
    if similarity not in section.mean:
        similarity = f"clip_i@{name}"
    return Place(
        direction=section.mean[f"clip_direction@{name}"],
        similarity=section.mean[similarity],
        num=section.num[f"clip_direction@{name}"],
    )
