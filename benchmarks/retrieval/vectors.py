"""Unit vectors that are spread like CLIP embeddings, made by code: what the retrieval benchmark searches.

A vector is a common mean (any two images share it), a topic, a concept inside the topic and noise of its own:

    x = normalise(m + a t[topic] + b c[concept] + e z),    |m|^2, a^2, b^2, e^2 = 0.50, 0.15, 0.15, 0.20

with t, c and z drawn from one Gaussian of eigenvalues (i + 3)^-1.5 in a random basis, so that few directions hold most
of the variance. Random pairs then have a cosine of 0.51 +- 0.12, and of a million the nearest to a query 0.89. Concepts
are log-normally frequent. Their number (20,000) fits no number of lists that an index would choose, and no two vectors
are copies.

Two sets of queries are held out. `image`: further draws from the mixture. `edit`: what the stage `retrieve` asks,
the normalised mean of a held-out image and of a caption of another concept, where a caption lies apart from all
images (the modality gap: its own mean) and has noise of its own. The second set lies away from the data and is harder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.format import open_memmap

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]

NUM_TOPICS, NUM_CONCEPTS = 300, 20_000
SHARES = {"mean": 0.50, "topic": 0.15, "concept": 0.15, "noise": 0.20}
ROWS_PER_BLOCK = 50_000


class World:
    """The fixed parts of the mixture: means, topics, concepts, frequencies, basis.

    The same for the same seed, up to the rounding of sums on another kind of CPU.
    """

    def __init__(self, dim: int, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.dim = dim
        self._basis = np.linalg.qr(rng.standard_normal((dim, dim)))[0].astype(np.float32)
        spread = (np.arange(dim) + 3.0) ** -1.5
        self._scale = np.sqrt(spread / spread.sum()).astype(np.float32)
        self._image_mean = _unit(rng.standard_normal((1, dim)))
        self._text_mean = _unit(self._image_mean + rng.standard_normal((1, dim)) / np.sqrt(dim) * 2)
        topics = self._draw(rng, NUM_TOPICS)
        self._topic_of = rng.integers(0, NUM_TOPICS, NUM_CONCEPTS)
        own = self._draw(rng, NUM_CONCEPTS)
        self._concepts = np.sqrt(SHARES["topic"]) * topics[self._topic_of] + np.sqrt(SHARES["concept"]) * own
        frequency = rng.lognormal(0.0, 1.0, NUM_CONCEPTS)
        self._frequency = frequency / frequency.sum()

    def _draw(self, rng: np.random.Generator, count: int) -> Floats:
        raw = rng.standard_normal((count, self.dim), dtype=np.float32) * self._scale
        return np.asarray(raw @ self._basis, np.float32)

    def images(self, rng: np.random.Generator, count: int) -> Floats:
        """(count, D) unit vectors of images."""
        return self._vectors(rng, count, self._image_mean)

    def edits(self, rng: np.random.Generator, count: int) -> Floats:
        """(count, D) unit vectors: the mean of an image and of a caption of another concept."""
        return _unit(self.images(rng, count) + self._vectors(rng, count, self._text_mean))

    def _vectors(self, rng: np.random.Generator, count: int, mean: Any) -> Floats:
        concept = rng.choice(NUM_CONCEPTS, count, p=self._frequency)
        noise = np.sqrt(SHARES["noise"]) * self._draw(rng, count)
        return _unit(np.sqrt(SHARES["mean"]) * mean + self._concepts[concept] + noise)


def _unit(vectors: Any) -> Floats:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / lengths, np.float32)


def write_vectors(folder: Path, count: int, dim: int, num_queries: int) -> None:
    """`blocks/block-00000.npy` … (float16, 50,000 rows each) and the queries `image.npy`, `edit.npy` (float32)."""
    world = World(dim)
    (folder / "blocks").mkdir(parents=True, exist_ok=True)
    for number, start in enumerate(range(0, count, ROWS_PER_BLOCK)):
        rows = min(ROWS_PER_BLOCK, count - start)
        rng = np.random.default_rng([1, number])
        made = open_memmap(folder / "blocks" / f"block-{number:05d}.npy", "w+", np.float16, (rows, dim))
        made[:] = world.images(rng, rows)
        made.flush()
    np.save(folder / "image.npy", world.images(np.random.default_rng([2, 0]), num_queries))
    np.save(folder / "edit.npy", world.edits(np.random.default_rng([2, 1]), num_queries))
