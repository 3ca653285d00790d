"""Deals the samples of a training to its datasets: a pure function of the seed, the weights and a sample's number.

Sample number n has its turn in slot n mod S, S being the number of streams. In each slot, datasets alternate so that
after any number of turns each has had its share to within one turn a dataset, and exactly its share after as many turns
as the weights add up to (Beatty sequences: of t turns, floor((t w + phase) / total) are of the first dataset; the other
datasets share the rest in the same way). Phases are spread over the slots: of the S numbers of one turn, the first
dataset has its share to within one sample, and each of three or more to within a few.

A dataset of V streams, V a divisor of S, reads number n in its stream n mod V, at the place that counting gives: how
many earlier numbers went to that stream. With one dataset that is n div V, the order of `trainer.order`. Where R x W
divides every V, each process and worker so has streams of its own of every dataset. Imports nothing heavy.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import lcm
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def whole_weights(weights: Sequence[float]) -> tuple[int, ...]:
    """Whole numbers in the proportions of the weights, taken as the decimal numbers that they are written as."""
    exact = [Fraction(str(weight)) for weight in weights]
    unit = lcm(*(weight.denominator for weight in exact))
    return tuple(int(weight * unit) for weight in exact)


@dataclass(frozen=True)
class Mix:
    """Which dataset, by its place in `weights`, and which place in it each sample of a training has.

    `weights` are whole numbers above 0, `streams` the number of streams of each dataset, divisors of `num_slots`.
    """

    weights: tuple[int, ...]
    streams: tuple[int, ...]
    num_slots: int
    seed: int

    def dataset_of(self, number: int) -> int:
        """The dataset that sample `number` is of."""
        turn, slot = divmod(number, self.num_slots)
        for dataset in range(len(self.weights) - 1):
            before, after = self._taken(dataset, slot, turn), self._taken(dataset, slot, turn + 1)
            if after > before:
                return dataset
            turn -= before
        return len(self.weights) - 1

    def position(self, number: int, dataset: int) -> int:
        """How many samples before `number` the dataset's stream of that number gives."""
        streams = self.streams[dataset]
        slots = range(number % streams, self.num_slots, streams)
        return sum(self._count(dataset, slot, (number - slot - 1) // self.num_slots + 1) for slot in slots)

    def _count(self, dataset: int, slot: int, turns: int) -> int:
        """How many of the slot's first `turns` are the dataset's."""
        for other in range(dataset):
            turns -= self._taken(other, slot, turns)
        return self._taken(dataset, slot, turns)

    def _taken(self, dataset: int, slot: int, turns: int) -> int:
        """How many of the slot's first `turns` that no dataset before it took are the dataset's."""
        return (turns * self.weights[dataset] + self._phases[dataset][slot]) // sum(self.weights[dataset:])

    @cached_property
    def _phases(self) -> list[list[int]]:
        """For each dataset the phase of each slot, from 0 to the weight that is left, in equal steps, permuted."""
        found = []
        for dataset in range(len(self.weights)):
            total = sum(self.weights[dataset:])
            phases = [place * total // self.num_slots for place in range(self.num_slots)]
            random.Random(f"{self.seed}/mix/{dataset}").shuffle(phases)
            found.append(phases)
        return found
