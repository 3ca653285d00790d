"""Small benchmarks in the layouts of the real ones, drawn from the miniature world, and ten-line models."""

import json
import random

import numpy as np
from PIL import Image

from zoo.world import caption, edit_mask, render, sample_edit, sample_sequence, scene_of
from zoo.write_edits import EditOrder, write_edits

SEED = 404


class FakeEditor:
    """Turns each image into its negative where it may change, and keeps the requests."""

    def __init__(self):
        self.asked = []

    needs = frozenset({"target_caption"})
    uses = frozenset({"mask"})

    def edit(self, requests, *, seeds):
        self.asked += [(one.target_caption, seed, one.image.size) for one, seed in zip(requests, seeds, strict=True)]
        edited = []
        for one in requests:
            mask = True if one.mask is None else one.mask[..., None]
            pixels = np.asarray(one.image)
            edited.append(Image.fromarray(np.where(mask, 255 - pixels, pixels).astype(np.uint8)))
        return edited


class FakeEncoder:
    """Mean colours of the four quarters as an embedding of images, and counts of letters as one of texts."""

    dim = 12

    def encode_images(self, images):
        small = [np.asarray(image.resize((2, 2), Image.Resampling.BOX), np.float32).ravel() for image in images]
        return np.stack([one / np.linalg.norm(one) for one in small])

    def encode_texts(self, texts):
        counts = [[1 + text.count(letter) for letter in "aeioubcdmnrt"] for text in texts]
        return np.stack([np.float32(one) / np.linalg.norm(one) for one in counts])


def save(pixels, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def pairs_folder(folder, count=4, kinds=("replace_noun", "change_colour")):
    write_edits(folder, EditOrder(count, 0, tuple(kinds)))
    return folder


def rows_of(folder):
    return [json.loads(line) for line in (folder / "cases.jsonl").read_text().splitlines()]


def put_rows(folder, rows):
    (folder / "cases.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def magicbrush_folder(folder, turns=(1, 3), has_images_folder=True):
    """One session for each number of turns, in the layout of the published test set."""
    images = folder / "images" if has_images_folder else folder
    sessions, local, whole = {}, {}, {}
    for number, num_turns in enumerate(turns):
        name = str(139 + number)
        steps = sample_sequence(scene_of(SEED, number), random.Random(number), num_turns)
        save(render(steps[0].source), images / name / f"{name}-input.png")
        sessions[name], local[name], whole[name] = [], {}, {}
        for turn, edit in enumerate(steps, start=1):
            output = f"{name}-output{turn}.png"
            save(render(edit.target), images / name / output)
            rgba = np.dstack([render(edit.source), np.where(edit_mask(edit), 0, 255).astype(np.uint8)])
            save(rgba, images / name / f"{name}-mask{turn}.png")
            before = f"{name}-input.png" if turn == 1 else f"{name}-output{turn - 1}.png"
            sessions[name].append(
                {"input": before, "output": output, "mask": f"{name}-mask{turn}.png", "instruction": edit.instruction}
            )
            local[name][output] = edit.target_phrase
            whole[name][output] = edit.target_caption
    for file, content in (("edit_sessions", sessions), ("local_descriptions", local), ("global_descriptions", whole)):
        (folder / f"{file}.json").write_text(json.dumps(content))
    return folder


def emu_rows(count=4):
    rows = []
    for index in range(count):
        edit = sample_edit(scene_of(SEED, index), random.Random(index), "change_colour")
        rows.append({
            "instruction": edit.instruction, "image": render(edit.source), "task": ("local", "texture")[index % 2],
            "split": "test", "idx": index, "hash": f"{index:032x}", "input_caption": caption(edit.source),
            "output_caption": edit.target_caption,
        })  # fmt: skip
    return rows


def emu_parquet(folder, rows, name="test-00000-of-00001.parquet", row_group_size=2):
    """As the Hub has it: images in a struct of bytes and path, in row groups."""
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq

    def stored(row):
        buffer = io.BytesIO()
        Image.fromarray(row["image"]).save(buffer, "PNG")
        return row | {"image": {"bytes": buffer.getvalue(), "path": f"{row['idx']}.png"}}

    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist([stored(row) for row in rows]), folder / name, row_group_size=row_group_size)
    return folder


def emu_images(folder, rows):
    """As files: `metadata.jsonl` and images."""
    lines = []
    for row in rows:
        save(row["image"], folder / f"{row['idx']}.png")
        lines.append(json.dumps({**row, "image": None, "file_name": f"{row['idx']}.png"}))
    (folder / "metadata.jsonl").write_text("\n".join(lines))
    return folder
