"""Edits of the miniature world with the instruction that undoes them and no edited image, and objectives of UIP2P."""

import json

import torch
from _datasets import edit_of, sample_members, write_dataset

from samples.shards import read_shards
from trainer.batch import collate
from trainer.data import first_samples
from trainer.decode import Decoder
from trainer.recipe import TrainContext, make_recipe
from trainer.recipes.uip2p.recipe import Uip2p

CTX = TrainContext(device=torch.device("cpu"))
NO_DROPOUT = {"text_dropout": 0.0, "image_dropout": 0.0, "both_dropout": 0.0}
OFF = {"lambda_clip": 0.0, "lambda_attn": 0.0, "lambda_sim": 0.0, "lambda_recon": 0.0}
ONLY = {
    "direction": {"lambda_clip": 1.0}, "attention": {"lambda_attn": 1.0}, "similarity": {"lambda_sim": 1.0},
    "reconstruction": {"lambda_recon": 1.0}, "identity": {"identity_loss": True, "lambda_identity": 1.0},
}  # fmt: skip
"""Loss of a cycle -> settings that switch it on, over OFF, with the weight 1."""


def reversed_members(index):
    """Members of sample `index`: source image and five texts."""
    members = sample_members(index)
    light = {**json.loads(members["json"]), "reverse_instruction": edit_of(index).reverse_instruction}
    return {"source.jpg": members["source.jpg"], "json": json.dumps(light).encode()}


def first_batch(folder, count=4, size_px=64):
    """The first samples of a dataset that is written into `folder`."""
    decoder = Decoder(size_px=size_px, required=Uip2p.reads, optional=Uip2p.reads_if_present)
    dataset = read_shards(write_dataset(folder, (count,), reversed_members))
    return collate(first_samples(dataset, decoder, count), decoder, "recipe uip2p")


def settings(**more):
    given = {"data": "d", "model": "zoo:sd", "out": "o", "size_px": 64, "clip_model": "zoo:clip"}
    return make_recipe(Uip2p, {**given, **more})


def trained(objective):
    """Name -> parameter of all that the objective trains."""
    known = dict(objective.modules["unet"].named_parameters())
    return {name: known[name.removeprefix("unet.")] for group in objective.groups for name in group.names}


def stir(objective):
    """The objective with what it trains moved off the zeros of new channels and adapters, and with gradients."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for _, parameter in sorted(trained(objective).items()):
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.02)
    for parameter in trained(objective).values():
        parameter.requires_grad_(requires_grad=True)
    return objective
