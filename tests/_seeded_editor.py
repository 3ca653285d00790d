"""An Editor of plain rules: it makes all pixels lighter by the seed, and fails where the instruction says so."""

import numpy as np
from PIL import Image

from models.protocols import EditAnswer


class SeededEditor:
    """`requests` holds all that it was asked. Instructions may say `refuse`, `do nothing`, `do nothing at times`."""

    needs = frozenset({"instruction"})
    uses = frozenset({"mask"})
    trained_on = frozenset()

    def __init__(self):
        self.requests = []

    def answer(self, requests, *, seeds):
        self.requests += requests
        return [self._one(request, seed) for request, seed in zip(requests, seeds, strict=True)]

    def edit(self, requests, *, seeds):
        return [one.image for one in self.answer(requests, seeds=seeds)]

    def _one(self, request, seed):
        if "refuse" in request.instruction:
            return EditAnswer(fault="refused", detail="HTTP 400: against the rules")
        is_idle = request.instruction == "do nothing" or ("at times" in request.instruction and seed % 2)
        step = 0 if is_idle else 1 + seed % 40
        pixels = np.minimum(255, np.asarray(request.image, np.int32) + step).astype(np.uint8)
        return EditAnswer(image=Image.fromarray(pixels), input_tokens=7, output_tokens=seed % 100, seconds=0.5)
