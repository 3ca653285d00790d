"""Fakes for the synthesis of pairs: images of one colour, which the seed of a candidate decides."""

import weakref

import numpy as np
from PIL import Image

from models.protocols import PairCandidate

SIZE = (24, 16)
"""Width and height of a pair that is drawn without an anchor."""


class PlainPairs:
    """A PairSynthesizer. A source is plain, in the anchor's mean colour; with a region it is the anchor.

    The target differs from it, inside of the region, by the seed's last 7 bits.

    `settings` are those that it was loaded with, `requests` what it prepared, `calls` the number of pairs of each call.
    `alive` counts the images of earlier calls that somebody still holds, at each call.
    """

    def __init__(self, **settings):
        self.settings = settings
        self.calls, self.alive, self.requests = [], [], []
        self._drawn = []

    def prepare(self, requests):
        self.requests += requests
        return list(requests)

    def synthesise(self, prepared, candidates):
        assert all(isinstance(one, PairCandidate) for one in candidates)
        self.alive.append(sum(image() is not None for image in self._drawn))
        self.calls.append(len(candidates))
        pairs = [self._pair(*both) for both in zip(prepared, candidates, strict=True)]
        self._drawn = [weakref.ref(image) for pair in pairs for image in pair]
        return pairs

    def _pair(self, request, candidate):
        source = request.anchor or Image.new("RGB", SIZE, (60, 60, 60))
        if request.region is None:
            source = Image.new("RGB", source.size, mean_colour(source))
        target = np.array(source)
        inside = slice(None) if request.region is None else request.region
        target[inside] = np.minimum(255, target[inside].astype(int) + candidate.seed % 128)
        return source.copy(), Image.fromarray(target)


class ColourEncoder:
    """An ImageTextEncoder and an ImageEncoder. An image's vector is its mean colour, a text's that of its length."""

    dim = 3

    def __init__(self):
        self.num_images = self.num_texts = 0

    def encode_images(self, images):
        assert all(image.mode == "RGB" for image in images)
        self.num_images += len(images)
        return unit_rows([mean_colour(image) for image in images])

    def encode_texts(self, texts):
        self.num_texts += len(texts)
        return unit_rows([(len(text), 20, 20) for text in texts])


def mean_colour(image):
    return tuple(int(one) for one in np.asarray(image).reshape(-1, 3).mean(0))


def unit_rows(vectors):
    found = np.array(vectors, np.float32).reshape(-1, 3) + 1
    return found / np.linalg.norm(found, axis=1, keepdims=True)


class Loader:
    """The loader of a context: the fakes by protocol, kept to be asked afterwards."""

    def __init__(self):
        self.encoder = ColourEncoder()
        self.synthesizer = None

    def __call__(self, protocol, model_id, **settings):
        if protocol == "PairSynthesizer":
            self.synthesizer = PlainPairs(**settings)
            return self.synthesizer
        return self.encoder
