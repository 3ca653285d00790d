"""Input files of the source stages, in each layout, with faults that they have to reject."""

import io
import json
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
from _inputs import tar_of
from _stage_inputs import CAPTIONS, png
from _web import Answer, Web


def webdataset(tmp_path):
    path = tmp_path / "shard.tar"
    with tarfile.open(path, "w") as tar:
        for number, caption in enumerate(CAPTIONS):
            members = [("png", png(number)), ("json", b'{"url": "https://example.org/1"}')]
            members += [] if caption is None else [("txt", caption.encode())]
            for suffix, content in members:
                info = tarfile.TarInfo(f"{number:04d}.{suffix}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return [str(path)]


def image_folder(tmp_path):
    lines = []
    for number, caption in enumerate(CAPTIONS):
        (tmp_path / f"{number}.png").write_bytes(png(number))
        lines.append(json.dumps({"file_name": f"{number}.png", "text": caption}))
    (tmp_path / "metadata.jsonl").write_text("\n".join(lines))
    return [str(tmp_path)]


def laion(tmp_path):
    """A table of URLs on a web that stays as long as the tests do."""
    web = Web({f"/{n}.png": Answer(png(n), headers={"Content-Type": "image/png"}) for n in (0, 2, 4)})
    found = [{"URL": web.url(f"/{n}.png"), "TEXT": caption} for n, caption in enumerate(CAPTIONS)]
    pq.write_table(pa.Table.from_pylist(found), tmp_path / "part.parquet")
    return [str(tmp_path)]


TRIPLES = [
    {"input": "a cat", "edit": "add a hat", "output": "a cat in a hat"},
    {"input": "a red car", "edit": "make it blue", "output": "a blue car", "inverse_edit": "make it red"},
    {"input": "a dog", "output": "two dogs"},
    {"edit": "add a dog", "output": "a dog"},
]


def edit_table(tmp_path):
    """HQ-Edit's layout, with texts that lack, an image that is empty and one that is not there."""
    images = [[{"bytes": png(4 * n + side), "path": None} for n in range(len(TRIPLES))] for side in (0, 1)]
    lacking = [{**TRIPLES[0], "input_image": {"bytes": b"", "path": None}, "output_image": images[1][0]},
               {**TRIPLES[0], "input_image": None, "output_image": images[1][0]}]  # fmt: skip
    found = [{**row, "input_image": a, "output_image": b} for row, a, b in zip(TRIPLES, *images, strict=True)]
    names = ("input_image", "input", "edit", "inverse_edit", "output", "output_image")
    columns = {name: [row.get(name) for row in found + lacking] for name in names}
    pq.write_table(pa.table(columns), tmp_path / "part.parquet")
    return [str(tmp_path)]


def edit_tars(tmp_path):
    """ImgEdit's layout: a table of single edits and one of sessions, some of whose images are not in their tar."""
    turns = [{"input_images": [f"t/{n}.png"], "output_images": [f"t/{n + 1}.png"], "prompt": f"edit {n}"}
             for n in range(4)]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(turns), tmp_path / "single_part0.parquet")
    pq.write_table(pa.Table.from_pylist([{"data": turns[:2]}, {"data": turns[2:]}]), tmp_path / "session_part0.parquet")
    (tmp_path / "t.tar").write_bytes(tar_of(*((f"t/{n}.png", png(n)) for n in range(4))))
    return [str(tmp_path)]


def edit_lines(tmp_path):
    """Pico-Banana's layout: edits, a session, an image that is not there, and a line that is no JSON."""
    for number in range(4):
        (tmp_path / f"{number}.png").write_bytes(png(number))
    found = [{"local_input_image": f"{n}.png", "output_image": f"{n + 1}.png", "text": f"edit {n}"} for n in range(4)]
    files = [{"id": "edit_turn1", "url": "1.png"}, {"id": "final_image", "url": "2.png"}]
    session = {"local_input_image": "0.png", "files": files, "metadata_edit_turn_prompts": ["one", "two"]}
    (tmp_path / "sft.jsonl").write_text("\n".join([*map(json.dumps, [*found, session]), "no JSON", ""]))
    return [str(tmp_path / "sft.jsonl")]


def edit_texts(tmp_path):
    (tmp_path / "human.jsonl").write_text("\n".join([*map(json.dumps, TRIPLES), "no JSON", ""]))
    return [str(tmp_path / "human.jsonl")]
