"""Exact edits of the miniature world as a dataset in the trainer's layout, with or without what a stage would cache."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

from PIL import Image

from models.placement import Placement
from models.registry import load, revision
from samples.members import JSON, member
from samples.stored_arrays import npy
from zoo.dataset_shards import write_shards
from zoo.world import KINDS
from zoo.write_edit_dataset import samples_of
from zoo.write_edits import EditOrder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    Sample = tuple[str, dict[str, bytes]]

SEED = 77
SAMPLES_PER_SHARD = 32


def write_data(folder: Path, model_id: str, size_px: int, count: int) -> None:
    """Write the datasets `plain` and `cached` below `folder`: the same edits, the second with latents and texts."""
    samples = [
        (key, dict(members))
        for key, members in samples_of(EditOrder(count, 0, KINDS, size_px, world_seed=SEED), with_regions=False)
    ]
    write_shards(folder / "plain", "plain", samples, SAMPLES_PER_SHARD)
    write_shards(folder / "cached", "cached", _with_arrays(samples, model_id, size_px), SAMPLES_PER_SHARD)


def _with_arrays(samples: list[Sample], model_id: str, size_px: int) -> Iterator[Sample]:
    """The samples with what `encode_latents` and `encode_texts` would add."""
    placement = Placement(device="cpu", dtype="float32", batch_size=32)
    latents, texts = (load(kind, model_id, placement) for kind in ("LatentEncoder", "TextConditioner"))
    pinned = revision(model_id)
    made_by = {
        "latent_model": model_id, "latent_revision": pinned, "latent_size_px": size_px, "text_model": model_id,
        "text_revision": pinned,
    }  # fmt: skip
    for key, members in samples:
        light = json.loads(members[JSON])
        images = [Image.open(io.BytesIO(members[f"{side}.png"])).convert("RGB") for side in ("source", "target")]
        source_Chw, target_Chw = latents.encode_latents(images)
        ((text_LD, pooled_D),) = texts.encode_prompts([light["instruction"]])
        arrays = {
            "source_latent": source_Chw, "target_latent": target_Chw, "instruction_emb": text_LD,
            "instruction_pooled_emb": pooled_D,
        }  # fmt: skip
        files = {member(name).suffix(): npy(values) for name, values in arrays.items() if values is not None}
        yield key, {**members, **files, JSON: json.dumps({**light, **made_by}).encode()}
