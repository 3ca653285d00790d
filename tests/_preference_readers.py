"""How trainers of preferences read their data, restated from their sources: what each would train on, given an export.

Each reader gives rows as dicts: `chosen` and `rejected` as RGB images, `text`, and what else the trainer reads.
"""

import io
import json
from pathlib import Path

from PIL import Image

IMAGES = (".jpg", ".jpeg", ".png", ".webp")


def rgb(file):
    """An image from bytes or a path."""
    with Image.open(io.BytesIO(file) if isinstance(file, bytes) else file) as image:
        return image.convert("RGB")


def table_of(out, cache):
    """The split `train` of a folder, as `datasets` loads it."""
    from datasets import load_dataset

    return load_dataset(str(out), split="train", cache_dir=str(cache))


def diffusers_dpo(out, cache):
    """huggingface/diffusers: diffusion_dpo/train_diffusion_dpo.py at 071190d (preprocess_train, tokenize_captions)."""
    for row in table_of(out, cache):
        images = [rgb(row[name]) for name in ("jpg_0", "jpg_1")]
        if row["label_0"] == 0:
            images.reverse()
        yield {"chosen": images[0], "rejected": images[1], "text": row["caption"], "label_0": row["label_0"]}


def simpletuner_dpo(out):
    """bghira/SimpleTuner: flow_dpo/distiller.py at 1b1d39b (`_conditioning_latents`, `_mask_for_loss`).

    The rejected image is that of the first strict reference; files of a sample have one path below their folders
    (multiaspect/sampler.py at 0c39032).
    """
    backends = {one["id"]: one for one in json.loads((out / "multidatabackend.json").read_text())}
    (preferred,) = [one for one in backends.values() if one["dataset_type"] == "image"]
    sets = [backends[name] for name in preferred["conditioning_data"]]
    assert all(one["dataset_type"] == "conditioning" for one in sets)
    assert {one["source_dataset_id"] for one in sets} == {preferred["id"]}
    folders = {kind: next((one["instance_data_dir"] for one in sets if one["conditioning_type"] == kind), None)
               for kind in ("reference_strict", "mask")}  # fmt: skip
    root = Path(preferred["instance_data_dir"])
    for path in sorted(p for p in root.rglob("*") if p.suffix in IMAGES):
        below = path.relative_to(root)
        rejected = rgb(Path(folders["reference_strict"], below))
        assert rejected.size == rgb(path).size, "the trainer stops where the two have latents of other shapes"
        mask = folders["mask"] and Image.open(Path(folders["mask"], below)).convert("L")
        text = path.with_suffix(".txt").read_text().strip()
        yield {"chosen": rgb(path), "rejected": rejected, "text": text, "mask": mask, "id": path.stem}


def editreward(out, cache):
    """TIGER-Lab/EditReward-Data at 32910be, votes as AgPerry/EditReward-Data-100 at 75a2d1e describes them."""
    for row in table_of(out, cache):
        side, other = {"leftvote": ("left", "right"), "rightvote": ("right", "left")}[row["vote_type"]]
        yield {
            "chosen": row[f"{side}_output_image"], "rejected": row[f"{other}_output_image"], "text": row["instruction"],
            "source": row["source_img"], "side": side, "id": row["key"],
            "scores": (row[f"{side}_overall_score"], row[f"{other}_overall_score"]),
        }  # fmt: skip
