"""Pairs by the miniature models through the engine: the same rows however they are batched, split, or interrupted."""

import io
import json
import tarfile
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from _builds import tars
from _fakes import Scripted, id_of, plan_of, rows_of, run
from PIL import Image

from pipeline.plan.inputs import shards_of_files
from pipeline.plan.manifest import StageEntry
from pipeline.stage import SourceStage
from pipeline.store.storage import Storage
from samples.columns import COLUMNS, SAMPLE_ID
from samples.stored_images import mask_png, rgb_image
from stages.candidates.stage import WaveSpeed
from stages.emit import Emit
from stages.score_edit import ScoreEdit
from stages.synthesise_pair import SynthesisePair
from stages.synthesise_region import SynthesiseRegion
from zoo.world import edit_mask, render
from zoo.write_edits import EditOrder

pytestmark = pytest.mark.usefixtures("one_thread")

NUM_EDITS = 5
SIZE_PX = 64
EDITS = [edit for _, edit in EditOrder(NUM_EDITS, 0, ("change_colour", "replace_noun"), SIZE_PX).edits()]
SHARDS = {"a": ["0", "1", "2"], "b": ["3", "4"]}
MODELS = {"model": "zoo:sd", "encoder": "zoo:clip", "image_encoder": "zoo:dino"}
SETTINGS = MODELS | {
    "num_steps": (3, 4), "strength": 0.9, "keep": 1, "max_candidates": 3, "preset": None,
    "bounds": {"pair_image_cos": {"min": 0.9}},
}  # fmt: skip
LIGHT = (
    "candidate_number", "synthesis_seed", "synthesis_num_steps", "attention_frac", "soft_ring_frac", "anchor_id",
    "width_px", "height_px", "source_format", "target_format",
)  # fmt: skip
"""Columns that are the same to the last bit."""


class ReadOrders(SourceStage):
    """Edits of drawn scenes by their numbers, a line of a shard each, with a region as `build_region` would give it."""

    version: ClassVar = 1
    writes: ClassVar = (
        "source_raw", "source_sha256", "source_size_bytes", "source_images", "source_format", "source_caption",
        "target_caption", "region_mask_png", "core_mask_png", "is_whole_image", "duplicate_cluster_id",
    )  # fmt: skip

    def list_shards(self, inputs):
        return shards_of_files(inputs, (".lines",))

    def open(self, ctx):
        def read(shard):
            with Path(shard.uri).open(encoding="utf-8") as lines:
                rows = [order(int(line)) for line in lines]
            arrays = {name: pa.array([row[name] for row in rows], COLUMNS[name].type) for name in rows[0]}
            yield pa.table(arrays)

        return read


def order(number):
    edit = EDITS[number]
    core_HW = edit_mask(edit, SIZE_PX)
    region_HW = core_HW | np.roll(core_HW, 3, 0) | np.roll(core_HW, 3, 1)
    buffer = io.BytesIO()
    Image.fromarray(render(edit.source, SIZE_PX)).save(buffer, "PNG")
    return {
        SAMPLE_ID: id_of(str(number)), "source_raw": buffer.getvalue(), "source_sha256": "0" * 64,
        "source_size_bytes": 1, "source_images": [buffer.getvalue()], "source_format": "png",
        "source_caption": edit.source_caption, "target_caption": edit.target_caption,
        "region_mask_png": mask_png(region_HW), "core_mask_png": mask_png(core_HW), "is_whole_image": False,
        "duplicate_cluster_id": "x",
    }  # fmt: skip


def chain(cls, wave=32, rows_per_batch=128, rows_per_forward=16, **settings):
    """A plan's stages: orders, pairs, the same scores again under their own stage, the dataset."""
    stage = cls(**SETTINGS, **settings, speed=WaveSpeed(pairs_per_wave=wave))
    run_on = {"rows_per_batch": rows_per_batch, "rows_per_forward": rows_per_forward}
    return ReadOrders(), StageEntry(name="synthesise", stage=stage, run_on=run_on), Emit(report_samples=0)


def built(tmp_path, stages, shards=SHARDS):
    plan = plan_of(tmp_path, stages, shards)
    result = run(plan)
    assert result.ok, result
    return plan


def samples(tmp_path, stages, shards=SHARDS):
    """(rows of samples.parquet by id, members of the tars by name)."""
    plan = built(tmp_path, stages, shards)
    folder = tmp_path / "run" / "dataset"
    assert plan.out == str(tmp_path / "run")
    rows = pq.read_table(folder / "samples.parquet").to_pylist()
    return {row[SAMPLE_ID]: row for row in rows}, members(folder)


def members(folder):
    found = {}
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            found |= {one.name: tar.extractfile(one).read() for one in tar}
    return found


@pytest.mark.parametrize(("cls", "source"), [(SynthesisePair, None), (SynthesiseRegion, "photograph")])
def test_rows_do_not_depend_on_batches_waves_or_shards(tmp_path, cls, source):
    settings = {} if source is None else {"source": source, "ring_share": 0.5}
    rows, files = samples(tmp_path / "one", chain(cls, **settings))
    split = {"a": ["4"], "b": ["3", "0"], "c": ["2", "1"]}
    others, other_files = samples(tmp_path / "two", chain(cls, 3, 2, 3, **settings), split)
    assert 0 < len(rows) == len(others)
    assert rows.keys() == others.keys()
    for own, row in rows.items():
        names = [name for name in LIGHT if name in row]
        assert [others[own][name] for name in names] == [row[name] for name in names]
        assert others[own]["pair_image_cos"] == pytest.approx(row["pair_image_cos"], abs=1e-3)
    assert files.keys() == other_files.keys()
    for name, content in files.items():
        if name.endswith(".png"):
            one, other = (np.asarray(rgb_image(file), int) for file in (content, other_files[name]))
            assert np.abs(one - other).max() <= 2, name


def test_the_candidates_of_a_rejected_edit_are_kept_with_the_reject(tmp_path):
    rows, _ = samples(tmp_path, chain(SynthesisePair))
    rejects = pq.read_table(tmp_path / "run" / "dataset" / "rejects.parquet").to_pylist()
    assert rejects
    assert len(rows) + len(rejects) == NUM_EDITS
    for reject in rejects:
        assert reject["reject_reason"] == "no_candidate_passed"
        candidates = json.loads(reject["row"])["candidates"]
        assert [one["number"] for one in candidates] == [1, 2, 3]
        assert all(one["seed"] and one["pair_image_cos"] < 0.9 and not one["is_kept"] for one in candidates)


def test_an_interrupted_build_goes_on_to_the_same_bytes(tmp_path):
    whole = built(tmp_path / "whole", chain(SynthesisePair))
    broken = plan_of(tmp_path / "broken", chain(SynthesisePair), SHARDS)
    storage = Storage(broken.out)
    assert not run(broken, Scripted(storage, {("synthesise", "b"): ["stop"]})).ok
    assert run(broken).ok
    assert tars(broken.out) == tars(whole.out) != {}


def test_score_edit_gives_a_drawn_pair_the_scores_it_has(tmp_path):
    *synthesis, sink = chain(SynthesiseRegion)
    again = StageEntry(name="score_edit", stage=ScoreEdit(encoder="zoo:clip", image_encoder="zoo:dino"))
    plan = built(tmp_path, (*synthesis, again, sink))
    drawn, scored = (
        {row[SAMPLE_ID]: row for shard in SHARDS for row in rows_of(plan, name, shard)}
        for name in ("synthesise", "score_edit")
    )
    assert scored
    for own, row in scored.items():
        for name in ScoreEdit.writes:
            assert row[name] == pytest.approx(drawn[own][name], abs=1e-4), name
