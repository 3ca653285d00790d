"""Edits a benchmark, or takes outputs made elsewhere, and scores them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.errors import EvaluationError
from evaluation.baselines import baselines_of
from evaluation.edit_cases import run_edits
from evaluation.images import inside, sha256_of
from evaluation.judges import JudgeIds, load_judges
from evaluation.measure import measure
from evaluation.requests import TEXTS
from evaluation.scores import Scores, baseline_sections_of, now, sections_of, versions
from models import registry

if TYPE_CHECKING:
    from pathlib import Path

    from evaluation.benchmark import Benchmark, Sample
    from evaluation.edit_cases import Progress
    from evaluation.editors import EditorChoice
    from evaluation.measure import Measured
    from models.placement import Placement

OUTPUTS = "outputs"
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


def evaluate(
    benchmark: Benchmark,
    out: Path,
    *,
    editor: EditorChoice | None = None,
    outputs: Path | None = None,
    judges: JudgeIds | None = None,
    system: str = "",
    placement: Placement | None = None,
    progress: Progress | None = None,
    has_baselines: bool = True,
) -> Scores:
    """Score the images that `editor` makes below `out`/outputs, or those in `outputs`. Write the scores to `out`.

    Baselines are scored beside them unless `has_baselines` is false. Outputs that an earlier call with the same
    settings left in `out` are not made again. Raises EvaluationError for a benchmark or outputs that cannot be used,
    ModelError for models.
    """
    if (editor is None) == (outputs is None):
        raise EvaluationError("expected either an editor or a folder of outputs, not both and not neither")
    if not benchmark.samples:
        raise EvaluationError(f"{benchmark.name} holds nothing to score")
    shares: dict[str, str] = {}
    if editor is not None:
        shares = run_edits(benchmark.cases, out / OUTPUTS, editor, placement=placement, progress=progress)
    ids = judges or JudgeIds()
    files = _outputs_of(benchmark.samples, outputs or out / OUTPUTS)
    judging = load_judges(ids, placement)
    baselines = baselines_of(benchmark) if has_baselines else {}
    measured = measure(benchmark.samples, files, judging, baselines=baselines, views=benchmark.views, progress=progress)
    scores = Scores(
        benchmark=benchmark.name,
        dataset=benchmark.fingerprint(),
        system=system or (editor.name if editor else str(outputs)),
        editor=editor.described() if editor else None,
        judges={one: registry.revision(one) for one in ids.all()},
        views={name: view.__name__ for name, view in benchmark.views.items()},
        sections=sections_of(benchmark.samples, files, measured),
        baselines=baseline_sections_of(benchmark.samples, baselines, measured),
        notes=benchmark.notes,
        made_at=now(),
        versions=versions(),
    )
    scores.write(out, _rows(benchmark, files, shares, measured))
    return scores


def _rows(
    benchmark: Benchmark, outputs: dict[str, Path], shares: dict[str, str], measured: Measured
) -> list[dict[str, Any]]:
    """One row for each sample: texts of its case, facts of the benchmark, the output's hash, all measures."""
    cases = {case.key: case for case in benchmark.cases}
    return [
        {
            "key": one.key,
            "sections": list(one.sections),
            **{name: getattr(cases[one.key], name) for name in TEXTS},
            **one.facts,
            "edit_mask_frac": float(shares[one.key]) if shares.get(one.key) else None,
            "output_sha256": sha256_of(outputs[one.key]),
            **measured.rows[number],
            **{
                f"{name}.{metric}": value
                for name, rows in measured.baselines.items() for metric, value in rows[number].items()
            },
        }
        for number, one in enumerate(benchmark.samples)
    ]  # fmt: skip


def _outputs_of(samples: tuple[Sample, ...], folder: Path) -> dict[str, Path]:
    """The edited image of each sample. Raises EvaluationError when one is missing."""
    found: dict[str, Path] = {}
    missing: list[str] = []
    for one in samples:
        candidates = [inside(folder, f"{one.key}{suffix}", "the benchmark") for suffix in SUFFIXES]
        path = next((path for path in candidates if path.is_file()), None)
        if path is None:
            missing.append(one.key)
        else:
            found[one.key] = path
    if missing:
        raise EvaluationError(
            f"{folder} lacks {len(missing)} of {len(samples)} outputs, the first of them {missing[0]}.png; "
            "expected one image a case"
        )
    return found
