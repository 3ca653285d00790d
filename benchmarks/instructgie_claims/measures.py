"""The measures of this benchmark beside those of the world benchmark.

| measure | what it is |
|---|---|
| fid | Fréchet distance, by zoo:dino, between the edited images and the true targets of a task, all kinds together |
| l1_selective | mean difference from the true target inside the selective area: the thing; 0 to 1 |
| spread_l1 | mean difference between the images of one edit in its wordings, two by two; 0 to 1; of paraphrases alone |
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from evaluation.benchmarks.pairs import CASES_FILE
from evaluation.frechet import frechet_distance, gaussian_of
from evaluation.images import open_rgb
from evaluation.run import OUTPUTS
from models import registry
from zoo.evaluation.edits import EditScores, KindScores
from zoo.export import model_id

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from models.protocols import Floats


RESAMPLES = 20


def with_further(scores: EditScores, cases: Path, out: Path) -> EditScores:
    """The scores with the further measures of the images below `out`, for the benchmark in the folder `cases`."""
    rows = [json.loads(line) for line in (cases / CASES_FILE).read_text(encoding="utf-8").splitlines()]
    images = {row["key"]: open_rgb(out / OUTPUTS / f"{row['key']}.png") for row in rows}
    values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        inside = np.asarray(open_rgb(cases / row["selective"]))[..., 0] >= 128
        difference = _difference(_pixels(images[row["key"]]), _pixels(open_rgb(cases / row["target"])))
        values[row["edit_type"]]["l1_selective"].append(float(difference[inside].mean()))
    for kind, spread in _spreads(rows, {key: _pixels(image) for key, image in images.items()}):
        values[kind]["spread_l1"].append(spread)
    encoder = registry.load("ImageEncoder", model_id("dino"))
    targets = [open_rgb(cases / row["target"]) for row in rows]
    edited_ND, target_ND = (encoder.encode_images(found) for found in (list(images.values()), targets))
    fid = frechet_distance(gaussian_of(edited_ND), gaussian_of(target_ND)), _fid_error(edited_ND, target_ND)
    return EditScores({kind: _added(one, values[kind], fid) for kind, one in scores.kinds.items()})


def _fid_error(edited_ND: Floats, target_ND: Floats) -> float:
    """The standard deviation of the distance over edits drawn with replacement."""
    rng, found = np.random.default_rng(0), []
    for _ in range(RESAMPLES):
        rows = rng.integers(len(edited_ND), size=len(edited_ND))
        found.append(frechet_distance(gaussian_of(edited_ND[rows]), gaussian_of(target_ND[rows])))
    return float(np.std(found))


def _spreads(rows: list[dict[str, Any]], pixels: dict[str, npt.NDArray[np.float64]]) -> list[tuple[str, float]]:
    """(kind, mean difference between its images) of each edit that has several wordings."""
    edits: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        edits[row["key"].partition("-")[0]].append(row)
    return [
        (found[0]["edit_type"], float(np.mean([
            _difference(pixels[one["key"]], pixels[other["key"]]).mean() for one, other in combinations(found, 2)
        ])))
        for found in edits.values() if len(found) > 1
    ]  # fmt: skip


def _added(one: KindScores, values: dict[str, list[float]], fid: tuple[float, float]) -> KindScores:
    """The scores with further ones; the distance, and its error, are those of all kinds."""
    return replace(
        one,
        mean={**one.mean, **{name: float(np.mean(found)) for name, found in values.items()}, "fid": fid[0]},
        std={**one.std, **{name: float(np.std(found)) for name, found in values.items()}, "fid": fid[1]},
        num={**one.num, **{name: len(found) for name, found in values.items()}, "fid": 1},
    )


def _pixels(image: Any) -> npt.NDArray[np.float64]:
    return np.asarray(image, np.float64) / 255


def _difference(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Absolute difference of two images, the mean over colours: (H, W)."""
    difference_HW: npt.NDArray[np.float64] = np.abs(one - other).mean(-1)
    return difference_HW
