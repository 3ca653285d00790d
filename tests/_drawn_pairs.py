"""Pairs drawn by prompt-to-prompt from random checkpoints, and what a network is called with meanwhile."""

from contextlib import contextmanager

import numpy as np
import torch
from _checkpoints import make_image
from _held_maps import pixels

from models.protocols import PairCandidate, PairRequest

CAPTIONS = ("a red cat", "a blue cat")
ANCHOR = make_image(40, 30, 1)
CANDIDATE = PairCandidate(seed=7, num_steps=5, strength=0.6, cross_attention_frac=0.8, self_attention_frac=0.5)


def request_of(anchor=ANCHOR, captions=CAPTIONS, **more):
    return PairRequest(source_caption=captions[0], target_caption=captions[1], anchor=anchor, **more)


def one_pair(model, candidate=CANDIDATE, **more):
    return model.synthesise(model.prepare([request_of(**more)]), [candidate])[0]


def latents_of(model, request, candidate):
    with torch.inference_mode():
        return model._sampler.sample(model.prepare([request]), [candidate])


def assert_close(found, expected):
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def difference(one, other):
    assert one.size == other.size
    return np.abs(pixels(one) - pixels(other)).max()


def region_of(image, columns):
    region = np.zeros((image.height, image.width), np.bool_)
    region[:, columns] = True
    return region


RIGHT, CORE = region_of(ANCHOR, slice(20, None)), region_of(ANCHOR, slice(30, None))


def one_pair_of(model, request, candidate):
    return model.synthesise(model.prepare([request]), [candidate])[0]


@contextmanager
def hooked(model, function):
    """Call `function` before each call of the network."""
    hook = model._pipeline.unet.register_forward_pre_hook(function)
    try:
        yield
    finally:
        hook.remove()


@contextmanager
def seen_by(model):
    """(latents, timestep) that the network is called with, call by call."""
    seen = []
    with hooked(model, lambda _module, given: seen.append(given[:2])):
        yield seen
