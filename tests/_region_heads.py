"""A saved region head of the least size over zoo:clip, as a training leaves it."""

import torch

from models.regions.head_file import RegionConfig, make_head, save_head
from models.registry import revision


def save_region_head(folder, bias=0.0, scale=1.0, **changes):
    """The model id. `bias` is added to all logits: above 5 the whole image is in the region, below -5 nothing.

    With a larger `scale` patches differ more.
    """
    torch.manual_seed(0)
    config = RegionConfig(**{
        "dim": 128, "num_heads": 4, "hidden": 8, "clip_model": "zoo:clip", "clip_revision": revision("zoo:clip"),
        "patch_layer": -1, "generator": "zoo:sd-inpaint", "threshold": 0.5, **changes,
    })  # fmt: skip
    head = make_head(config)
    with torch.no_grad():
        head.region[3].weight.mul_(scale)
        head.region[3].bias.add_(bias)
    folder.mkdir(parents=True, exist_ok=True)
    save_head(head, config, folder)
    return f"path:{folder}"
