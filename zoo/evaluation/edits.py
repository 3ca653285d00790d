"""The world benchmark: how well an editor follows instructions, on held-out edits whose true result is known.

| measure | what it is |
|---|---|
| read_back | share of edited images of which zoo:blip writes the facts of the true target; of `move` its side as well |
| l1, l1_outside | mean difference from the true target, as a whole and where the edit may change nothing; 0 to 1 |
| ssim_outside | structural similarity to the source where the edit may change nothing |
| clip_direction | by zoo:clip: cosine of the change of the image and the change of the captions |
| clip_i | by zoo:clip: cosine with the true target |
| clip_t | by zoo:clip: cosine with the caption of the true target |

Three rows need no editor: the source itself, the true target, and the true target after an autoencoder, which is the
most that an editor in its latent space can reach.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from evaluation.benchmarks.pairs import CASES_FILE, Pairs
from evaluation.images import open_rgb, save_png
from evaluation.json_files import read_lines
from evaluation.judges import JudgeIds
from evaluation.run import OUTPUTS, evaluate
from evaluation.scores import SAMPLES_FILE
from models import registry
from models.model_ids import find
from zoo.export import model_id
from zoo.world import KINDS, read_facts
from zoo.world.captions import read_position
from zoo.write_edits import EditOrder, write_edits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from evaluation.benchmark import Benchmark, Sample
    from evaluation.editors import EditorChoice
    from zoo.world import EditKind

    Progress = Callable[[str, int, int], None]

NUM_CASES = 500
MEASURED = {"l1": "l1", "l1_outside": "l1_outside", "ssim_outside": "ssim_not_m", "clip_direction": "clip_direction",
            "clip_i": "clip_i", "clip_t": "clip_t"}  # fmt: skip
"""Measure -> its name in `evaluation.measure`."""
MEASURES = ("read_back", *MEASURED)
IMAGES_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class KindScores:
    """The edits of one kind, for each measure: mean, standard deviation and how many edits have it."""

    mean: dict[str, float]
    std: dict[str, float]
    num: dict[str, int]


@dataclass(frozen=True, slots=True)
class EditScores:
    """The scores of one editor, by kind of edit."""

    kinds: dict[str, KindScores]

    def mean(self, measure: str, kinds: Iterable[str] = KINDS) -> float:
        """The mean over all edits of these kinds, or nan where none of them has the measure."""
        found = self._with(measure, kinds)
        total = sum(one.num[measure] for one in found)
        return sum(one.mean[measure] * one.num[measure] for one in found) / total if total else math.nan

    def error(self, measure: str, kinds: Iterable[str] = KINDS) -> float:
        """The standard error of `mean`, as the edits are a sample of each kind's, or nan."""
        found = self._with(measure, kinds)
        total = sum(one.num[measure] for one in found)
        return math.sqrt(sum(one.std[measure] ** 2 * one.num[measure] for one in found)) / total if total else math.nan

    def _with(self, measure: str, kinds: Iterable[str]) -> list[KindScores]:
        return [self.kinds[kind] for kind in kinds if kind in self.kinds and measure in self.kinds[kind].mean]

    def as_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {kind: asdict(one) for kind, one in self.kinds.items()}

    @classmethod
    def of_json(cls, known: dict[str, Any]) -> Self:
        """What `as_json` gave."""
        return cls({kind: KindScores(**one) for kind, one in known.items()})


def write_cases(folder: Path, count: int = NUM_CASES, kinds: Sequence[EditKind] = KINDS) -> Benchmark:
    """The first `count` held-out edits, of these kinds in turn, written to `folder` unless they are there."""
    wanted = [kinds[number % len(kinds)] for number in range(count)]
    path = folder / CASES_FILE
    if not path.is_file() or [row.get("edit_type") for _, row in read_lines(path)] != wanted:
        write_edits(folder, EditOrder(count, 0, tuple(kinds)))
    return Pairs().read(folder)


def score_editor(cases: Benchmark, out: Path, editor: EditorChoice, progress: Progress | None = None) -> EditScores:
    """Edit all cases below `out`/outputs, or resume there, and score them. Raises as `evaluation.run.evaluate`."""
    evaluate(cases, out, editor=editor, judges=_judges(), progress=progress, has_baselines=False)
    return _scores(cases, out)


def score_images(cases: Benchmark, out: Path, images: Iterable[Image.Image], system: str) -> EditScores:
    """Score ready images, one a sample in order, which are written below `out`/outputs."""
    for sample, image in zip(cases.samples, images, strict=True):
        save_png(image, out / OUTPUTS / f"{sample.key}.png")
    evaluate(cases, out, outputs=out / OUTPUTS, judges=_judges(), system=system, has_baselines=False)
    return _scores(cases, out)


def sources(cases: Benchmark) -> list[Image.Image]:
    """The images of an editor that changes nothing."""
    return [open_rgb(sample.source) for sample in cases.samples if sample.source is not None]


def truths(cases: Benchmark) -> list[Image.Image]:
    """The true targets."""
    return [open_rgb(sample.reference) for sample in cases.samples if sample.reference is not None]


def through_autoencoder(images: Sequence[Image.Image], model: str) -> list[Image.Image]:
    """The images encoded and decoded by the autoencoder of a diffusers checkpoint: mode of the posterior, float32."""
    import torch
    from diffusers import AutoencoderKL

    weights = find(model)
    load: Any = AutoencoderKL.from_pretrained
    vae = load(weights.location, subfolder="vae", torch_dtype=torch.float32, **weights.pretrained_arguments()).eval()
    decoded: list[Image.Image] = []
    for start in range(0, len(images), IMAGES_AT_ONCE):
        pixels_BHWC = np.stack([np.asarray(image.convert("RGB")) for image in images[start : start + IMAGES_AT_ONCE]])
        pixels_BCHW = torch.from_numpy(pixels_BHWC).permute(0, 3, 1, 2).float() / 127.5 - 1
        with torch.inference_mode():
            found_BCHW = vae.decode(vae.encode(pixels_BCHW).latent_dist.mode()).sample
        found_BHWC = ((found_BCHW.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
        decoded += [Image.fromarray(one) for one in found_BHWC]
    return decoded


def is_read_back(sample: Sample, text: str) -> bool:
    """True where a caption of the edited image has the facts of the true target's caption, and of `move` its side."""
    is_moved, wanted = sample.facts["edit_type"] == "move", sample.target_text or ""
    return read_facts(text) == read_facts(wanted) and (not is_moved or read_position(text) == read_position(wanted))


def _judges() -> JudgeIds:
    return JudgeIds(clip=(model_id("clip"),))


def _scores(cases: Benchmark, out: Path) -> EditScores:
    """Means over the rows that `evaluate` left in `out`, with what zoo:blip reads on the outputs."""
    rows = pq.read_table(out / SAMPLES_FILE).to_pylist()
    images = [open_rgb(out / OUTPUTS / f"{sample.key}.png") for sample in cases.samples]
    texts = registry.load("Captioner", model_id("blip")).caption(images)
    values: dict[str, dict[str, list[float]]] = {}
    for row, sample, text in zip(rows, cases.samples, texts, strict=True):
        of_kind = values.setdefault(sample.facts["edit_type"], {})
        of_kind.setdefault("read_back", []).append(float(is_read_back(sample, text)))
        plain = {name.partition("@")[0]: value for name, value in row.items()}
        for name, theirs in MEASURED.items():
            if plain.get(theirs) is not None:
                of_kind.setdefault(name, []).append(plain[theirs])
    return EditScores({kind: _of_kind(found) for kind, found in values.items()})


def _of_kind(values: dict[str, list[float]]) -> KindScores:
    return KindScores(
        mean={name: float(np.mean(found)) for name, found in values.items()},
        std={name: float(np.std(found)) for name, found in values.items()},
        num={name: len(found) for name, found in values.items()},
    )


def as_markdown(rows: dict[str, EditScores], kinds: Sequence[str] = KINDS) -> str:
    """Two tables: all measures of each row, and the share read back by kind."""
    lines = ["| | " + " | ".join(MEASURES) + " |", "|---" * (len(MEASURES) + 1) + "|"]
    lines += [f"| {name} | " + " | ".join(f"{row.mean(m, kinds):.3f}" for m in MEASURES) + " |"
              for name, row in rows.items()]  # fmt: skip
    lines += ["", "| read back | " + " | ".join(kinds) + " |", "|---" * (len(kinds) + 1) + "|"]
    lines += [f"| {name} | " + " | ".join(f"{row.mean('read_back', [kind]):.2f}" for kind in kinds) + " |"
              for name, row in rows.items()]  # fmt: skip
    return "\n".join(lines) + "\n"
