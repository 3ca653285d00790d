"""Datasets as `emit` writes them, of the miniature world's edits with their true masks."""

import hashlib
import io
import json
import random
import tarfile

import numpy as np
from PIL import Image

from zoo.dataset_shards import read_samples
from zoo.world import render, sample_edit, scene_of, thing_masks

KINDS = ("replace_noun", "change_colour")


def edit_of(index):
    scene = scene_of(5, index)
    return sample_edit(scene, random.Random(index), KINDS[index % 2])


def changed(scene, other, size_px=64):
    masks = thing_masks(scene, size_px)
    return np.any([m for t, m in zip(scene.things, masks, strict=True) if t not in other.things], axis=0)


def encoded(pixels, kind="JPEG", **options):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def sample_members(index, size_px=64):
    """Suffix -> bytes of sample `index`, the same at every call."""
    edit = edit_of(index)
    reported = {
        name: getattr(edit, name) for name in ("source_caption", "target_caption", "source_phrase", "target_phrase")
    }
    reported |= {"instruction": edit.instruction, "edit_type": edit.kind}
    images = {"source": (edit.source, edit.target), "target": (edit.target, edit.source)}
    members = {f"{s}.jpg": encoded(render(one, size_px), quality=95) for s, (one, _) in images.items()}
    for side, (one, other) in images.items():
        members[f"{side}_mask.png"] = encoded(changed(one, other, size_px).astype(np.uint8) * 255, "PNG")
    return {**members, "json": json.dumps(reported).encode()}


def write_tar(path, samples):
    """A tar of {key: members}."""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for key, members in samples.items():
            for suffix, content in members.items():
                info = tarfile.TarInfo(f"{key}.{suffix}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))


def write_list(folder, counts):
    """shards.json of the folder's tars. `counts` are what it claims."""
    shards = []
    for name, count in counts.items():
        content = (folder / name).read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        shards.append({"file": name, "samples": count, "bytes": len(content), "sha256": digest})
    (folder / "shards.json").write_text(json.dumps({"dataset": "tiny", "shards": shards}))
    return folder


def write_dataset(folder, counts=(4, 4), make=sample_members):
    """One tar for each count. Keys are `00007`, the sample's index."""
    folder.mkdir(parents=True, exist_ok=True)
    listed, index = {}, 0
    for number, count in enumerate(counts):
        name = f"{number:05d}.tar"
        write_tar(folder / name, {f"{i:05d}": make(i) for i in range(index, index + count)})
        listed[name], index = count, index + count
    return write_list(folder, listed)


def samples_of(folder):
    """Members by suffix, of each sample of a dataset in order."""
    return [members for _, members in read_samples(folder)]
