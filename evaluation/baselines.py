"""Baselines: outputs that need no editor, scored beside every system on the same samples by the same judges.

| baseline | its output for a sample |
|---|---|
| copy_source | the image that the edit starts from, as it is: an editor that does nothing |
| ground_truth | the true result, where the benchmark has one: an editor that does everything right |

An edit that starts from another output (a later turn of a session) is copied from where its chain starts: the copy of
the last turn is the first source of the session, which is compared with the last true result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from evaluation.benchmark import Output

if TYPE_CHECKING:
    from evaluation.benchmark import Benchmark, EditCase
    from evaluation.images import StoredImage

COPY_SOURCE, GROUND_TRUTH = "copy_source", "ground_truth"


def baselines_of(benchmark: Benchmark) -> dict[str, dict[str, StoredImage]]:
    """Baseline -> key of a sample -> image. A baseline that no sample has an image for is left out."""
    cases = {case.key: case for case in benchmark.cases}
    starts = {one.key: _start(cases[one.key], cases) for one in benchmark.samples if one.key in cases}
    truths = {
        one.key: one.reference for one in benchmark.samples
        if one.reference is not None and one.reference not in (one.source, starts.get(one.key))
    }  # fmt: skip
    return {name: images for name, images in ((COPY_SOURCE, starts), (GROUND_TRUTH, truths)) if images}


def _start(case: EditCase, cases: dict[str, EditCase]) -> StoredImage:
    """The stored image at the start of the chain of edits that ends with this case."""
    source = case.source
    while isinstance(source, Output):
        source = cases[source.key].source
    return source
