"""The miniature world under several BLAS kernels: pixels, masks, captions, edits and files are the same bytes."""

from _kernels import printed_by_kernel

SCENES = """
import hashlib
from dataclasses import replace
from zoo.world import STYLES, caption, render, scene_of, thing_masks
for style in (None, *STYLES):
    scenes = [replace(scene_of(5, index), style=style) for index in range(60)]
    for parts in (map(render, scenes), (render(scene, 200) for scene in scenes[:20]), map(thing_masks, scenes)):
        print(style, hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest())
    print([caption(scene) for scene in scenes])
"""
FILES = """
import contextlib, hashlib, tempfile
from pathlib import Path
from zoo import write_edits, write_world
with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    with contextlib.redirect_stdout(None):
        for layout in ("webdataset", "laion"):
            order = ["--layout", layout, "--shards", "1", "--scenes-per-shard", "40", "--seed", "1"]
            write_world.main([str(folder / layout), *order])
        write_edits.main([str(folder / "edits"), "--count", "14"])
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        print(path.relative_to(folder), hashlib.sha256(path.read_bytes()).hexdigest())
"""


def test_scenes_of_every_style_are_the_same_under_every_kernel():
    printed = printed_by_kernel(SCENES)
    assert printed["SKYLAKEX"] == printed["HASWELL"]
    assert printed["ZEN"] == printed["HASWELL"]


def test_written_scenes_and_edits_are_the_same_under_every_kernel():
    printed = printed_by_kernel(FILES)
    assert len(printed["HASWELL"].splitlines()) > 40
    assert printed["SKYLAKEX"] == printed["HASWELL"]
    assert printed["ZEN"] == printed["HASWELL"]
