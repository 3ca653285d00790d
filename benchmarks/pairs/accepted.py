"""Accepted pairs a second: the stage `synthesise_pair` against a loop written as the released script works.

The same records, models, range of settings, filter, and most pairs a record on both sides. The loop draws all
candidates and keeps the best that pass; the stage stops at the first that suffice. The stage's time has everything that
it does besides: all scores, PNG files, rows, thumbnails' hashes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import torch
from diffusers import DiffusionPipeline

from benchmarks.pairs.records import Record, Search, make_records
from benchmarks.pairs.released import ReleasedLoop
from benchmarks.pairs.rounds import clocked, take_turns
from models.model_ids import fetch, find
from models.placement import Placement
from models.registry import load
from pipeline.context import Context
from samples.columns import REJECT_REASON
from stages.candidates.stage import WaveSpeed
from stages.pair_scores.filters import FILTERS, FilterName
from stages.synthesise_pair import SynthesisePair

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

DIFFUSION, CLIP, DINO = "zoo:sd", "zoo:clip", "zoo:dino"
PRESET: FilterName = "ultraedit-free"
PAIRS_PER_WAVE = 32


def against_released(num_records: int, device: str, num_rounds: int) -> dict[str, Any]:
    """One row of the table."""
    placement = Placement(device=device, dtype="float32", batch_size=PAIRS_PER_WAVE)
    records = make_records(num_records)
    search = _published_search()
    sides = {
        "loop": _counted(_loop(placement, search), records),
        "stage": _counted(_stage(placement, search), records),
    }  # fmt: skip
    found = take_turns(sides, num_rounds)
    rates = {name: side["accepted"] / side["seconds"] for name, side in found.items()}
    return {
        "what": "accepted pairs a second, against the released loop", "num_records": num_records, "device": device,
        "max_candidates": search.max_candidates, "keep": search.keep, "filter": PRESET, "sides": found,
        "per_second": rates, "ratio": rates["stage"] / rates["loop"],
    }  # fmt: skip


def _published_search() -> Search:
    published = FILTERS[PRESET]
    least = {name: bounds.min for name, bounds in published.bounds.items() if bounds.min is not None}
    unet = load_pipeline().unet.config
    return Search(size_px=unet.sample_size * 4, bounds=least, keep=published.keep)


def load_pipeline() -> Any:
    """The pipeline of `zoo:sd` as diffusers loads it, in float32."""
    pipeline: Any = DiffusionPipeline.from_pretrained(
        fetch(find(DIFFUSION)).location, dtype=torch.float32, use_safetensors=True
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _counted(run: Callable[[Sequence[Record]], tuple[int, int]], records: list[Record]) -> Callable[[], dict[str, Any]]:
    """A side of the comparison: its seconds, its accepted pairs, and the candidates that it drew."""

    def side() -> dict[str, Any]:
        counts: list[tuple[int, int]] = []
        spent = clocked(lambda: counts.append(run(records)))
        accepted, drawn = counts[0]
        return {**spent, "accepted": accepted, "drawn": drawn}

    return side


def _loop(placement: Placement, search: Search) -> Callable[[Sequence[Record]], tuple[int, int]]:
    pipeline = load_pipeline().to(placement.torch_device())
    encoders = load("ImageTextEncoder", CLIP, placement), load("ImageEncoder", DINO, placement)
    loop = ReleasedLoop(pipeline, *encoders, search)

    def run(records: Sequence[Record]) -> tuple[int, int]:
        accepted = sum(len(loop.accepted(record, seed)) for seed, record in enumerate(records))
        return accepted, len(records) * search.max_candidates

    return run


def _stage(placement: Placement, search: Search) -> Callable[[Sequence[Record]], tuple[int, int]]:
    stage = SynthesisePair(
        model=DIFFUSION,
        encoder=CLIP,
        image_encoder=DINO,
        preset=PRESET,
        keep=search.keep,
        max_candidates=search.max_candidates,
        num_steps=search.num_steps,
        strength=search.strength,
        attention_frac=search.attention_frac,
        speed=WaveSpeed(pairs_per_wave=PAIRS_PER_WAVE),
    )

    def loader(protocol: str, model_id: str, **settings: Any) -> Any:
        return load(protocol, model_id, placement, **settings)

    function = stage.open(Context(stage_name="synthesise_pair", loader=loader))

    def run(records: Sequence[Record]) -> tuple[int, int]:
        made = function(_table(records))
        accepted = sum(reason is None for reason in made[REJECT_REASON].to_pylist())
        drawn = sum(len(found) for found in made["candidates"].to_pylist() if found)
        return accepted, drawn

    return run


def _table(records: Sequence[Record]) -> pa.Table:
    return pa.table(
        {
            "sample_id": [f"{number:016x}-e1" for number in range(len(records))],
            "source_images": [[record.anchor] for record in records],
            "source_format": ["jpg"] * len(records),
            "source_caption": [record.source_caption for record in records],
            "target_caption": [record.target_caption for record in records],
        }
    )
