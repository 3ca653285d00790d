"""The miniature world as files: both layouts, the same bytes at every run, truth that can be drawn again."""

import hashlib
import io
import json
import tarfile
import threading
import urllib.request
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pyarrow.parquet as pq
import pytest
from _inputs import read_rows
from PIL import Image

from stages.read_webdataset import ReadWebdataset
from zoo.draw_world import world_image
from zoo.world import caption, facts_of, read_facts, render, scene_of
from zoo.write_world import main

SMALL = ["--shards", "2", "--scenes-per-shard", "9", "--seed", "7"]


def written(folder, *flags):
    assert main([str(folder), *SMALL, *flags]) == 0
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def samples_of(tar):
    with tarfile.open(tar) as opened:
        content = {member.name: opened.extractfile(member).read() for member in opened}
    keys = sorted({name.partition(".")[0] for name in content})
    return [(content[f"{key}.png"], content[f"{key}.txt"].decode(), json.loads(content[f"{key}.json"])) for key in keys]


@pytest.mark.parametrize("layout", ["webdataset", "laion"])
def test_the_same_arguments_write_the_same_bytes(tmp_path, layout):
    first = written(tmp_path / "first", "--layout", layout)
    assert written(tmp_path / "second", "--layout", layout) == first
    assert not any(name.endswith(".tmp") for name in first)


def test_another_seed_writes_other_scenes(tmp_path):
    assert written(tmp_path / "a") != written(tmp_path / "b", "--seed", "8")


def test_a_scene_does_not_depend_on_the_size_of_shards(tmp_path):
    written(tmp_path / "a")
    main([str(tmp_path / "b"), "--shards", "1", "--scenes-per-shard", "18", "--seed", "7"])
    few = [s for shard in sorted((tmp_path / "a").glob("*.tar")) for s in samples_of(shard)]
    many = samples_of(tmp_path / "b" / "00000.tar")
    assert [(image, text, m["world_index"]) for image, text, m in few] == [(i, t, m["world_index"]) for i, t, m in many]


def test_scenes_of_many_things_or_in_a_style_can_be_left_out(tmp_path):
    written(tmp_path, "--max-things", "1", "--plain")
    found = [m for shard in sorted(tmp_path.glob("*.tar")) for _, _, m in samples_of(shard)]
    scenes = [scene_of(m["world_seed"], m["world_index"]) for m in found]
    assert len({m["world_index"] for m in found}) == len(found) == 18
    assert all(len(scene.things) == 1 and scene.style is None for scene in scenes)


def test_the_truth_of_a_sample_is_drawn_again_from_its_metadata(tmp_path):
    written(tmp_path, "--size-px", "96", "--captions", "canonical")
    for image, text, metadata in samples_of(tmp_path / "00001.tar"):
        scene = scene_of(metadata["world_seed"], metadata["world_index"])
        assert (np.asarray(Image.open(io.BytesIO(image))) == render(scene, 96)).all()
        assert metadata["caption"] == text == caption(scene)
        assert (metadata["width"], metadata["height"], metadata["url"]) == (96, 96, None)


@pytest.mark.parametrize(("wording", "is_true"), [("canonical", True), ("varied", True), ("alt", False)])
def test_captions_are_as_ordered(tmp_path, wording, is_true):
    written(tmp_path, "--captions", wording)
    found = samples_of(tmp_path / "00000.tar") + samples_of(tmp_path / "00001.tar")
    true = [read_facts(text) == facts_of(scene_of(7, metadata["world_index"])) for _, text, metadata in found]
    assert all(true) == is_true


def test_the_stage_reads_every_sample_of_the_webdataset_layout(tmp_path):
    written(tmp_path)
    rows, notes = read_rows(ReadWebdataset(), tmp_path)
    assert len(rows) == 18
    assert {row["reject_reason"] for row in rows} == {None}
    assert notes == {}
    assert len({row["sample_id"] for row in rows}) == 18
    assert {json.loads(row["source_metadata"])["world_seed"] for row in rows} == {7}


def test_the_laion_layout_has_the_columns_of_laion_in_row_groups(tmp_path):
    written(tmp_path, "--layout", "laion")
    file = pq.ParquetFile(tmp_path / "metadata" / "part-00000.parquet")
    assert file.metadata.num_row_groups > 2
    types = dict(zip(file.schema_arrow.names, map(str, file.schema_arrow.types), strict=True))
    scores = dict.fromkeys(("similarity", "punsafe", "pwatermark"), "double")
    assert types == {"URL": "string", "TEXT": "string", "WIDTH": "int64", "HEIGHT": "int64", **scores}
    for row in file.read().to_pylist():
        assert all(0 <= row[name] <= 1 for name in scores)


def test_similarity_tells_true_alt_text_from_noise(tmp_path):
    main([str(tmp_path), "--layout", "laion", "--shards", "1", "--scenes-per-shard", "300", "--size-px", "16"])
    rows = pq.read_table(tmp_path / "metadata").to_pylist()
    true = [read_facts(r["TEXT"]).things == facts_of(scene_of(0, n)).things for n, r in enumerate(rows)]
    mean = {kind: np.mean([r["similarity"] for r, t in zip(rows, true, strict=True) if t == kind]) for kind in (0, 1)}
    assert mean[1] > mean[0] + 0.04


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def test_the_addresses_of_the_laion_layout_lead_to_its_images(tmp_path):
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "images")))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        written(tmp_path, "--layout", "laion", "--base-url", f"http://127.0.0.1:{server.server_port}/")
        rows = pq.read_table(tmp_path / "metadata").to_pylist()
        for index, row in enumerate(rows):
            with urllib.request.urlopen(row["URL"]) as answer:
                image = np.asarray(Image.open(io.BytesIO(answer.read())))
            assert (image == render(scene_of(7, index))).all()
            assert (row["HEIGHT"], row["WIDTH"]) == image.shape[:2]
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("flags", [["--shards", "0"], ["--scenes-per-shard", "0"], ["--size-px", "8"]])
def test_an_order_of_nothing_is_refused(tmp_path, flags, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([str(tmp_path / "out"), *flags])
    assert stopped.value.code == 2
    assert "needs at least one shard, one scene in each and 16 px" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_image_of_the_world_is_the_same_at_every_call():
    first = world_image()
    assert first.width > 900
    assert first.tobytes() == world_image().tobytes()
