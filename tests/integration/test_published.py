"""The manifests that convert published datasets, in very small: what they emit is the world's truth, and complete."""

import io
import json
import os
from itertools import islice

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from _builds import build
from _datasets import samples_of

from samples.stored_images import mask_array, rgb_image
from zoo.published.parts import turns
from zoo.world import KINDS, edit_mask, render
from zoo.write_edits import EditOrder
from zoo.write_published import LAYOUTS, main

COUNT, SEED = 6, 4
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
ARRAYS = {"source_latent.npy": (4, 16, 16), "target_latent.npy": (4, 16, 16), "instruction_emb.npy": (32, 128)}
REGION = {"region_latent.npy": (4, 16, 16)}
WITH_REGIONS, WITH_SESSIONS = ("ultraedit", "magicbrush"), ("magicbrush", "imgedit", "pico-banana")


@pytest.fixture(scope="module", params=LAYOUTS)
def converted(request, tmp_path_factory):
    """(layout, its dataset) of a build from files of that layout."""
    layout, folder = request.param, tmp_path_factory.mktemp(request.param)
    assert main([str(folder / "in"), "--layout", layout, "--count", str(COUNT), "--seed", str(SEED)]) == 0
    manifest = f"manifests/tiny/convert-{layout}.toml"
    flags = ("--executor", "inprocess")
    code, _, printed = build(folder / "run", *flags, shards=folder / "in", manifest=manifest, env=ENVIRONMENT)
    assert code == 0, printed[-2000:]
    return layout, folder / "run" / "dataset"


def test_every_edit_is_there_and_none_is_rejected(converted):
    _, dataset = converted
    assert len(samples_of(dataset)) == COUNT
    assert pq.read_table(dataset / "rejects.parquet").num_rows == 0


def test_arrays_have_the_shapes_that_their_models_make(converted):
    layout, dataset = converted
    expected = ARRAYS | REGION if layout in WITH_REGIONS else ARRAYS
    for sample in samples_of(dataset):
        shapes = {
            name: np.load(io.BytesIO(data), allow_pickle=False).shape
            for name, data in sample.items()
            if name.endswith(".npy")
        }
        assert shapes == expected
        record = json.loads(sample["json"])
        made_by = ("latent_model", "latent_size_px", "text_model")
        assert [record[name] for name in made_by] == ["zoo:sd", 64, "zoo:sd"]


def test_pixels_and_regions_are_those_of_the_edits(converted):
    layout, dataset = converted
    if layout in WITH_SESSIONS:
        pytest.skip("its edits are turns of sessions, which the next test looks at")
    edits = [edit for _, edit in EditOrder(COUNT, 0, KINDS, world_seed=SEED).edits()]
    for number, (sample, edit) in enumerate(zip(samples_of(dataset), edits, strict=True)):
        for name, scene in (("source.png", edit.source), ("target.png", edit.target)):
            assert np.abs(np.asarray(rgb_image(sample[name]), int) - render(scene)).max() <= 12
        has_region = layout == "ultraedit" and number % 2 == 1
        region_HW = mask_array(sample["region_mask.png"])
        assert (region_HW == edit_mask(edit)).all() if has_region else region_HW.all()


def test_turns_of_a_session_follow_each_other(converted):
    layout, dataset = converted
    if layout not in WITH_SESSIONS:
        pytest.skip("it has no sessions")
    table = pq.read_table(dataset / "samples.parquet")
    places = list(zip(table["session_id"].to_pylist(), table["turn"].to_pylist(), strict=True))
    assert len(set(places)) == COUNT
    assert max(turn for _, turn in places) > 1
    by_place = dict(zip(places, samples_of(dataset), strict=True))
    for (session, turn), sample in by_place.items():
        if turn > 1:
            assert sample["source.png"] == by_place[session, turn - 1]["target.png"]
        if layout == "magicbrush":
            assert not mask_array(sample["region_mask.png"]).all()


def test_every_row_is_an_edit_of_the_world(converted):
    _, dataset = converted
    order = EditOrder(COUNT, 0, KINDS, world_seed=SEED)
    known = {}
    for edit in [*(edit for _, edit in order.edits()), *(edit for _, _, edit in islice(turns(order), COUNT))]:
        known.setdefault(edit.instruction, []).append(edit)
    for sample in samples_of(dataset):
        record = json.loads(sample["json"])
        found = [np.asarray(rgb_image(sample[name]), int) for name in ("source.png", "target.png")]
        assert any(
            np.abs(found[0] - render(edit.source)).max() <= 12 and np.abs(found[1] - render(edit.target)).max() <= 12
            for edit in known[record["instruction"]]
        )
        assert record["instructions"][0] == record["instruction"]


def test_pairs_that_do_not_show_their_edit_are_left_out(tmp_path):
    folder = tmp_path / "in"
    flags = ["--layout", "ultraedit", "--count", "20", "--seed", str(SEED)]
    assert main([str(folder), *flags]) == 0
    (path,) = folder.glob("*.parquet")
    rows = pq.read_table(path)
    images = rows["edited_image"].to_pylist()
    sources = rows["source_image"].to_pylist()
    images[0] = sources[0]  # nothing was edited
    images[7], images[14] = images[14], images[7]  # of each other's edit
    position = rows.schema.get_field_index("edited_image")
    column = pa.array(images, rows.schema.field(position).type)
    pq.write_table(rows.set_column(position, "edited_image", column), path)
    flags = ("--executor", "inprocess")
    manifest = "manifests/tiny/refilter.toml"
    code, _, printed = build(tmp_path / "run", *flags, shards=folder, manifest=manifest, env=ENVIRONMENT)
    assert code == 0, printed[-2000:]
    kept = pq.read_table(tmp_path / "run" / "dataset" / "samples.parquet")
    wrong = {rows["edit_prompt"][number].as_py() for number in (0, 7, 14)}
    assert not wrong & set(kept["instruction"].to_pylist())
    assert kept.num_rows >= 14
